package probe

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"syscall"
	"testing"

	"mrcproxy/health"
)

// server answers every OPTIONS alike.
type server struct {
	code int
	err  error
	got  Dest
}

func (s *server) Options(_ context.Context, d Dest) (int, error) {
	s.got = d
	return s.code, s.err
}

var dest = Dest{URI: "sip:10.1.1.180:8060", Network: "udp", Addr: netip.MustParseAddrPort("10.1.1.180:8060")}

func TestOptionsCodes(t *testing.T) {
	only200 := func(code int) bool { return code == 200 }
	everything := func(int) bool { return true }
	for _, c := range []struct {
		code int
		up   func(int) bool
		want health.Result
	}{
		{200, nil, health.Result{OK: true, Code: 200}},
		{404, nil, health.Result{OK: true, Code: 404}},
		{603, nil, health.Result{OK: true, Code: 603}},
		{408, nil, health.Result{Code: 408, Reason: "OPTIONS answered 408"}},
		{500, nil, health.Result{Code: 500, Reason: "OPTIONS answered 500"}},
		{503, nil, health.Result{Draining: true, Code: 503, Reason: "OPTIONS answered 503"}},
		{503, everything, health.Result{Draining: true, Code: 503, Reason: "OPTIONS answered 503"}},
		{500, everything, health.Result{OK: true, Code: 500}},
		{404, only200, health.Result{Code: 404, Reason: "OPTIONS answered 404"}},
	} {
		s := &server{code: c.code}
		got := Options{Sender: s}.Probe(t.Context(), health.Target{Info: Info{Dest: dest, Up: c.up}})
		if got != c.want || s.got != dest {
			t.Errorf("%d: %+v, want %+v; sent to %+v", c.code, got, c.want, s.got)
		}
	}
}

func TestOptionsUpCodes(t *testing.T) {
	o := Options{Sender: &server{code: 500}, UpCodes: func(t health.Target, code int) bool { return t.Key == 1 && code == 500 }}
	for key, want := range map[uint32]bool{1: true, 2: false} {
		if got := o.Probe(t.Context(), health.Target{Key: key, Info: Info{Dest: dest}}); got.OK != want {
			t.Errorf("target %d: %+v", key, got)
		}
	}
	only200 := func(code int) bool { return code == 200 }
	if got := o.Probe(t.Context(), health.Target{Key: 1, Info: Info{Dest: dest, Up: only200}}); got.OK {
		t.Errorf("the target's own codes come first: %+v", got)
	}
}

func TestOptionsReasons(t *testing.T) {
	dial := func(err error) error { return &net.OpError{Op: "dial", Net: "tcp", Err: err} }
	for _, c := range []struct {
		err  error
		want string
	}{
		{context.DeadlineExceeded, "OPTIONS unanswered"},
		{fmt.Errorf("wait: %w", context.DeadlineExceeded), "OPTIONS unanswered"},
		{&net.OpError{Op: "read", Err: os.ErrDeadlineExceeded}, "OPTIONS unanswered"},
		{context.Canceled, "OPTIONS cancelled"},
		{dial(os.NewSyscallError("connect", syscall.ECONNREFUSED)), "connection refused"},
		{dial(os.NewSyscallError("connect", syscall.EHOSTUNREACH)), "no route to host"},
		{dial(os.NewSyscallError("connect", syscall.ETIMEDOUT)), "connection timed out"},
		{dial(os.ErrDeadlineExceeded), "connection timed out"},
		{errors.New("queue full"), "OPTIONS failed: queue full"},
	} {
		got := Options{Sender: &server{code: 200, err: c.err}}.Probe(t.Context(), health.Target{Info: Info{Dest: dest}})
		if got != (health.Result{Reason: c.want}) {
			t.Errorf("%v: %+v, want %q", c.err, got, c.want)
		}
	}
}

func TestOptionsWithoutDestination(t *testing.T) {
	got := Options{}.Probe(t.Context(), health.Target{Info: "x"})
	if got.OK || got.Draining || got.Reason == "" {
		t.Errorf("%+v", got)
	}
}
