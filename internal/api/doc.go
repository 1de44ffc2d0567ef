// Package api is the language of /api/v1: what the daemon answers and what it is asked, as docs/openapi.yaml has it, and a
// client of it. It owns these types and nothing else: it decides nothing and knows no part of the daemon.
package api
