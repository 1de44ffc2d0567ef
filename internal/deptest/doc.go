// Package deptest holds the tests of what no compiler checks: that packages import only what the table in
// docs/architecture.md lets them, that docs/dependencies.md explains every dependency, that docs/conformance.md names code
// and tests that exist, that the XML examples in the docs are well formed, and that the Dockerfile builds with the Go
// version of go.mod an image that does not run as root. It has no code of its own, and nothing imports it.
package deptest
