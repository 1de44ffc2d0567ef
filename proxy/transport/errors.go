package transport

import (
	"errors"
	"fmt"
	"syscall"
)

// Errors of Send and Handler.Closed; compare with errors.Is.
var (
	ErrGone      = errors.New("transport: connection is gone")
	ErrSlow      = errors.New("transport: peer does not read, its queue is full")
	ErrStopped   = errors.New("transport: not running")
	ErrFlow      = errors.New("transport: flow names no listener or no address")
	ErrConns     = errors.New("transport: too many connections")
	ErrTimeout   = errors.New("transport: connection not made in time")
	ErrHandshake = errors.New("transport: TLS handshake failed") // wraps what was wrong: x509's and tls's errors, the peer's alert, ErrTimeout
	ErrBusy      = errors.New("transport: no room in the socket's send buffer")
	ErrMalformed = errors.New("transport: stream framing lost")
	ErrPartial   = errors.New("transport: message not completed in time")
	ErrMute      = errors.New("transport: no message came on a new connection")
	ErrIdle      = errors.New("transport: connection idle for too long")
	ErrHungUp    = errors.New("transport: connection closed on request")
	ErrMemory    = errors.New("transport: connections hold too many bytes")

	// ErrTooLarge is for a datagram that no network could carry; smaller ones
	// are fragmented where they must be.
	ErrTooLarge = fmt.Errorf("transport: message does not fit a datagram: %w", syscall.EMSGSIZE)
)
