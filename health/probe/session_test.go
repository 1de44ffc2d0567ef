package probe

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"mrcproxy/internal/mrcp"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// fake is a Caller whose server answers as told.
type fake struct {
	err    error
	code   int
	sdp    string
	byeErr error
	byes   int
}

func (f *fake) Local(Dest) netip.Addr { return netip.Addr{} }

func (f *fake) Invite(context.Context, Dest, []byte) (Dialog, error) {
	if f.err != nil {
		return nil, f.err
	}
	return f, nil
}

func (f *fake) Answer() (int, []byte) { return f.code, []byte(f.sdp) }

func (f *fake) Bye(ctx context.Context) (int, error) {
	f.byes++
	if err := ctx.Err(); err != nil {
		return 0, err
	}
	return 200, f.byeErr
}

type timeout struct{}

func (timeout) Error() string { return "no_response" }
func (timeout) Timeout() bool { return true }

// serve takes one MRCP connection and hands the lines that come to answer, which gives what is said; "" hangs up. The SDP
// names its address.
func serve(t *testing.T, answer func(line string) string) (sdp string) {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		c, err := ln.Accept()
		if err != nil {
			return
		}
		defer c.Close()
		for r := bufio.NewReader(c); ; {
			line, err := r.ReadString('\n')
			if err != nil {
				return
			}
			if !strings.HasPrefix(line, "MRCP/2.0 ") {
				continue
			}
			said := answer(line)
			if said == "" {
				return
			}
			_, _ = io.WriteString(c, said)
		}
	}()
	t.Cleanup(func() {
		_ = ln.Close()
		<-done
	})
	port := ln.Addr().(*net.TCPAddr).Port
	return strings.NewReplacer("127.0.0.11", "127.0.0.1", "1544", fmt.Sprint(port)).Replace(unimrcp)
}

func message(start string) string {
	for n := len(start) + len("MRCP/2.0  \r\n\r\n"); ; n++ {
		if s := fmt.Sprintf("MRCP/2.0 %d %s\r\n\r\n", n, start); len(s) == n {
			return s
		}
	}
}

// TestSessionFailures: each way to fail has its name, and a session that was established is ended.
func TestSessionFailures(t *testing.T) {
	ok := func(said string) func(*testing.T) *fake {
		return func(t *testing.T) *fake {
			return &fake{code: 200, sdp: serve(t, func(string) string { return said })}
		}
	}
	for _, c := range []struct {
		name   string
		caller func(*testing.T) *fake
		method string
		want   Failure
		detail string
	}{
		{"all well", ok(message("1 200 COMPLETE")), mrcp.GetParams, OK, ""},
		{"silence", func(*testing.T) *fake { return &fake{err: timeout{}} }, mrcp.GetParams, Unanswered, "INVITE not answered: no_response"},
		{"unreachable", func(*testing.T) *fake { return &fake{err: errors.New("connection")} }, mrcp.GetParams, Unreachable, "INVITE: connection"},
		{"full", func(*testing.T) *fake { return &fake{code: 406} }, mrcp.GetParams, Refused, "INVITE answered 406"},
		{"no such resource", func(*testing.T) *fake { return &fake{code: 404} }, mrcp.GetParams, Rejected, "INVITE answered 404"},
		{"no SDP", func(*testing.T) *fake { return &fake{code: 200} }, mrcp.GetParams, BadAnswer, "no control channel"},
		{"407", ok(message("1 407 COMPLETE")), mrcp.GetParams, MethodFailed, "GET-PARAMS answered 407 method or operation failed"},
		{"hung up", ok(""), mrcp.GetParams, ChannelLost, "the server closed the MRCP connection during GET-PARAMS"},
		{"another protocol", ok("HTTP/1.1 400 Bad Request\r\n\r\n"), mrcp.GetParams, BadMRCP, "in answer to GET-PARAMS: not an MRCPv2 message"},
		{"another request's answer", ok(message("2 200 COMPLETE")), mrcp.GetParams, MethodUnanswered, "GET-PARAMS not answered in time"},
		{"complete without event", ok(message("1 200 COMPLETE")), mrcp.Recognize, NotCompleted, "RECOGNIZE was answered 200 COMPLETE without RECOGNITION-COMPLETE"},
		{"never complete", ok(message("1 200 IN-PROGRESS")), mrcp.Recognize, NotCompleted, "RECOGNIZE not completed in time"},
		{"no cause", ok(message("1 200 IN-PROGRESS") + message("RECOGNITION-COMPLETE 1 COMPLETE")), mrcp.Recognize, BadCause, "RECOGNITION-COMPLETE without Completion-Cause"},
		{"nothing listens", func(t *testing.T) *fake {
			ln, err := net.Listen("tcp", "127.0.0.1:0")
			if err != nil {
				t.Fatal(err)
			}
			defer ln.Close()
			return &fake{code: 200, sdp: strings.NewReplacer("127.0.0.11", "127.0.0.1", "1544", fmt.Sprint(ln.Addr().(*net.TCPAddr).Port)).Replace(unimrcp)}
		}, mrcp.GetParams, ChannelRefused, "connection refused"},
		{"BYE unanswered", func(t *testing.T) *fake {
			f := ok(message("1 200 COMPLETE"))(t)
			f.byeErr = timeout{}
			return f
		}, mrcp.GetParams, ByeUnanswered, "BYE: no_response"},
		{"failed, and BYE unanswered", func(t *testing.T) *fake {
			f := ok(message("1 407 COMPLETE"))(t)
			f.byeErr = timeout{}
			return f
		}, mrcp.GetParams, MethodFailed, "GET-PARAMS answered 407"},
	} {
		t.Run(c.name, func(t *testing.T) {
			f := c.caller(t)
			ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
			defer cancel()
			r := Session{Caller: f}.Probe(ctx, here(), &Deep{Resource: mrcp.SpeechRecog, Method: c.method, Grammar: "builtin:speech/transcribe"})
			if r.Failure != c.want || !strings.Contains(r.Detail, c.detail) || (c.want == OK) != (r.Detail == "") {
				t.Errorf("%v: %s, want %v: %s", r.Failure, r.Detail, c.want, c.detail)
			}
			if wantByes := map[bool]int{true: 1}[f.code == 200]; f.byes != wantByes {
				t.Errorf("%d BYEs", f.byes)
			}
			if r.Code != f.code || r.Took[StepSIP] == 0 || (r.Took[StepBye] != 0) != (f.code == 200) {
				t.Errorf("%+v", r)
			}
		})
	}
}

func here() Dest {
	return Dest{URI: "sip:127.0.0.1:5060", Network: "udp", Addr: netip.MustParseAddrPort("127.0.0.1:5060")}
}

// TestSessionCancelled: a caller that goes away says nothing about the server, and the BYE is sent all the same.
func TestSessionCancelled(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	f := &fake{code: 200, sdp: serve(t, func(string) string {
		cancel()
		return message("9 200 PENDING")
	})}
	if r := (Session{Caller: f}).Probe(ctx, here(), &Deep{Resource: mrcp.SpeechRecog, Method: mrcp.GetParams}); r.Failure != Cancelled || f.byes != 1 {
		t.Errorf("%+v, %d BYEs", r, f.byes)
	}
}

// TestRequests: what is asked, to the letter.
func TestRequests(t *testing.T) {
	var asked []string
	f := &fake{code: 200, sdp: serve(t, func(line string) string {
		_, line, _ = strings.Cut(strings.TrimPrefix(strings.TrimSpace(line), "MRCP/2.0 "), " ")
		asked = append(asked, line)
		return message("1 200 IN-PROGRESS") + message("START-OF-INPUT 1 IN-PROGRESS") + message("SPEAK-COMPLETE 7 COMPLETE") + message("1 501 COMPLETE")
	})}
	r := Session{Caller: f}.Probe(t.Context(), here(), &Deep{Resource: mrcp.SpeechSynth, Method: mrcp.Speak, Text: "hello", Language: "en-US"})
	if r.Failure != MethodFailed || len(asked) != 1 || asked[0] != "SPEAK 1" {
		t.Errorf("%+v, asked %q", r, asked)
	}
}
