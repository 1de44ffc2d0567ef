package transport

import (
	"errors"
	"strings"
	"testing"
	"time"
)

// A peer that reads nothing is closed when its queue is full, and delays no
// other, nor the sender.
func TestTCPSlowPeer(t *testing.T) {
	s, r := start(t, Options{MaxPending: 256 << 10})
	slow, fast := connect(t, s.Addr(1)), connect(t, s.Addr(1))
	write(t, slow, message(1))
	slowFlow := await(t, r.got).from
	write(t, fast, message(2))
	fastFlow := await(t, r.got).from

	big := []byte(strings.Repeat("x", 10000))
	var err error
	for i := 0; err == nil; i++ {
		if i > 10000 {
			t.Fatal("no end")
		}
		begun := time.Now()
		_, err = s.Send(slowFlow, big)
		if took := time.Since(begun); took > time.Second {
			t.Fatalf("send took %v", took)
		}
		if st := s.Stats(); st.Pending > 256<<10 {
			t.Fatalf("%d bytes pending", st.Pending)
		}
		if i%10 == 0 {
			if _, err := s.Send(fastFlow, []byte(message(i))); err != nil {
				t.Fatal(err)
			}
			expect(t, fast, message(i))
		}
	}
	if !errors.Is(err, ErrSlow) {
		t.Errorf("send: %v", err)
	}
	if got := await(t, r.closed); got.conn != slowFlow.Conn || !errors.Is(got.err, ErrSlow) {
		t.Errorf("%+v", got)
	}
	none(t, r.closed)
	settle(t, s)
	if st := s.Stats(); st.Open != 1 || st.Slow != 1 {
		t.Errorf("%+v", st)
	}
}

// A peer that reads late gets everything, whole and in order.
func TestTCPQueueInOrder(t *testing.T) {
	s, r := start(t, Options{MaxPending: 64 << 20})
	c := connect(t, s.Addr(1))
	write(t, c, message(0))
	flow := await(t, r.got).from
	const n = 2000
	body := strings.Repeat("x", 8000)
	var want strings.Builder
	for i := range n {
		m := message(i) + body
		want.WriteString(m)
		if _, err := s.Send(flow, []byte(m)); err != nil {
			t.Fatal(err)
		}
	}
	if s.Stats().Pending == 0 {
		t.Error("nothing was queued")
	}
	expect(t, c, want.String())
	if _, err := s.Send(flow, []byte("end")); err != nil {
		t.Fatal(err)
	}
	expect(t, c, "end")
	settle(t, s)
}
