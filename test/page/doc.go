// Package page tests the status page in a real browser, Debian's Chromium: over a real daemon with simulated servers, and
// over a stage with more servers than a test can run. With MRCPROXY_SCREENSHOTS=FOLDER it keeps what it sees.
package page
