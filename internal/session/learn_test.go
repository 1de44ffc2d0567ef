package session

import (
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"mrcproxy/balancer"
)

// learning is a table that can learn sessions at the server of b.
func learning(t *testing.T, b *balancer.Balancer) (*Table, *log) {
	t.Helper()
	tb, l := ticking(t, 0)
	tb.opts.Adopt = func(id uint32, _ string) *balancer.Lease {
		if backend := b.Lookup(id); backend != nil {
			return b.Adopt(backend)
		}
		return nil
	}
	return tb, l
}

// TestLearn: a session that the table lost is counted again, once, beyond the capacity if need be.
func TestLearn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := backends(t, 1)
		tb, l := learning(t, b)
		add(t, tb, b, "held", 0)
		server := b.Backends()[0].ID()
		key := Key([]byte("lost"), nil, server)
		if !tb.Learn(key, server, &Session{CallID: "lost"}, 90*time.Second) || tb.Len() != 2 || held(b) != 2 {
			t.Fatalf("%d sessions, %d leases", tb.Len(), held(b))
		}
		if tb.Learn(key, server, &Session{CallID: "lost"}, 0) || tb.Learn(key+2, server+1, &Session{CallID: "no server"}, 0) {
			t.Error("learned twice, or at a server that there is not")
		}
		if tb.Len() != 2 || held(b) != 2 {
			t.Errorf("%d sessions, %d leases", tb.Len(), held(b))
		}
		time.Sleep(3 * time.Minute)
		equal(t, l.String(), "lost expired")
	})
}

// TestEndedIsNotLearned: an ACK that was overtaken by its BYE does not bring the session back, and the BYE's retransmission
// is not another end.
func TestEndedIsNotLearned(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := backends(t, 10)
		tb, l := learning(t, b)
		server := b.Backends()[0].ID()
		key := add(t, tb, b, "a", 0)
		tb.End(key, ByeClient)
		for i := range 3 {
			if tb.Learn(key, server, &Session{CallID: "a"}, 0) {
				t.Error("learned")
			}
			tb.EndUnknown(key, server, &Session{CallID: "a"})
			time.Sleep(15 * time.Second)
			tb.End(add(t, tb, b, fmt.Sprint(i), 0), Gone) // what else ends meanwhile does not matter
		}
		equal(t, l.String(), "a bye_client, 0 gone, 1 gone, 2 gone")
		time.Sleep(time.Minute)
		for i := range 300 { // in every shard
			tb.End(add(t, tb, b, fmt.Sprint("other", i), 0), Gone)
		}
		tb.EndUnknown(key, server, &Session{CallID: "late"})
		equal(t, l.ends[len(l.ends)-1], "late bye_unknown")
		if tb.Len() != 0 || held(b) != 0 {
			t.Errorf("%d sessions, %d leases", tb.Len(), held(b))
		}
	})
}

// TestNoAck is RFC 3261 13.3.1.4: a 2xx without an ACK is no session, though the server's own BYE is lost.
func TestNoAck(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := backends(t, 10)
		tb, l := ticking(t, 0)
		for _, id := range []string{"never", "acked", "refreshed"} {
			if !tb.Add(Key([]byte(id), nil, 1), &Session{CallID: id, Lease: lease(t, b)}, 10*time.Minute) {
				t.Fatal(id)
			}
		}
		time.Sleep(20 * time.Second)
		if !tb.Confirm(Key([]byte("acked"), nil, 1)) || !tb.Refresh(Key([]byte("refreshed"), nil, 1), 10*time.Minute) || tb.Confirm(7) {
			t.Error("not there, or there")
		}
		time.Sleep(18 * time.Second)
		equal(t, l.String(), "")
		time.Sleep(4 * time.Second)
		equal(t, l.String(), "never no_ack")
		time.Sleep(10 * time.Minute)
		equal(t, l.String(), "never no_ack, acked expired")
		time.Sleep(20 * time.Second)
		equal(t, l.String(), "never no_ack, acked expired, refreshed expired")
	})
}

// TestRestore: what was written down ends when it would have, and what is there already stays as it is.
func TestRestore(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := backends(t, 100)
		tb, l := ticking(t, time.Hour)
		began := time.Now().Add(-50 * time.Minute)
		restore := func(id string, expires time.Time) bool {
			return tb.Restore(Key([]byte(id), nil, 1), &Session{CallID: id, Start: began, Lease: lease(t, b)}, expires)
		}
		if !restore("soon", time.Now().Add(time.Minute)) || !restore("longest", time.Time{}) || !restore("over", time.Now().Add(-time.Second)) {
			t.Error("not taken")
		}
		tb.Tick()
		equal(t, l.String(), "over expired")
		if restore("soon", time.Time{}) || restore("over", time.Time{}) {
			t.Error("taken twice, or after its end")
		}
		time.Sleep(55 * time.Second)
		equal(t, l.String(), "over expired")
		time.Sleep(10 * time.Second)
		equal(t, l.String(), "over expired, soon expired")
		time.Sleep(9 * time.Minute)
		equal(t, l.String(), "over expired, soon expired, longest max_session")
	})
}

// TestChanges: a session is written down once, again when it is refreshed, and struck out only if it was written.
func TestChanges(t *testing.T) {
	b := backends(t, 100)
	tb := NewTable(Options{OnEnd: func(*Session, Reason) {}, Journaled: true})
	want := func(puts, ends string) {
		t.Helper()
		put, gone := tb.Changes(false)
		equal(t, ids(put), puts)
		equal(t, ids(gone), ends)
	}
	want("", "")
	a := add(t, tb, b, "a", time.Minute)
	tb.Refresh(a, time.Hour)
	tb.End(add(t, tb, b, "short", 0), ByeClient)
	want("a", "")
	want("", "")
	tb.Refresh(a, time.Hour)
	want("a", "")
	tb.Refresh(a, time.Hour)
	tb.End(a, ByeClient)
	want("", "a")
	if !tb.Restore(Key([]byte("r"), nil, 1), &Session{CallID: "r", Lease: lease(t, b)}, time.Time{}) {
		t.Fatal("not taken")
	}
	tb.Changes(false)
	tb.End(Key([]byte("r"), nil, 1), Gone)
	want("", "r")
}

func ids(l []*Session) (s string) {
	for _, one := range l {
		s += one.CallID
	}
	return s
}

// TestList pages through the sessions, the oldest first.
func TestList(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := backends(t, 100)
		tb := NewTable(Options{OnEnd: func(*Session, Reason) {}})
		for i := range 20 {
			id := string(rune('a' + i))
			s := &Session{Kind: tb.Kind(Kind{Route: "r"}), CallID: id, Start: time.Now(), Lease: lease(t, b)}
			if !tb.Add(Key([]byte(id), nil, 1), s, time.Minute) {
				t.Fatal(id)
			}
			if got := time.Until(s.Expires()); got != 80*time.Second || s.Confirmed() || s.Kind != tb.Kind(Kind{Route: "r"}) {
				t.Errorf("expires in %v, confirmed %v", got, s.Confirmed())
			}
			time.Sleep(time.Millisecond)
		}
		odd := func(s *Session) bool { return s.CallID[0]%2 == 1 }
		for _, c := range []struct {
			match         func(*Session) bool
			offset, limit int
			page          string
			total         int
		}{
			{nil, 0, 3, "abc", 20}, {nil, 18, 3, "st", 20}, {nil, 20, 3, "", 20}, {nil, 99, 3, "", 20}, {nil, -1, -1, "", 20},
			{odd, 0, 3, "ace", 10}, {odd, 9, 9, "s", 10},
		} {
			page, total := tb.List(c.match, c.offset, c.limit)
			if ids(page) != c.page || total != c.total {
				t.Errorf("%d, %d: %s of %d, want %s of %d", c.offset, c.limit, ids(page), total, c.page, c.total)
			}
		}
		n := 0
		tb.Each(func(s *Session) bool {
			n++
			tb.End(s.Key(), Gone) // outside of the locks
			return n < 15
		})
		if n != 15 || tb.Len() != 5 {
			t.Errorf("%d visited, %d left", n, tb.Len())
		}
	})
}

// TestEndedWhileLearned: a BYE that is answered while another message of the session has it learned has the last word.
func TestEndedWhileLearned(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := backends(t, 10)
		tb, l := learning(t, b)
		server := b.Backends()[0].ID()
		key := Key([]byte("a"), nil, server)
		adopt := tb.opts.Adopt
		tb.opts.Adopt = func(id uint32, resource string) *balancer.Lease {
			tb.opts.Adopt = adopt
			tb.EndUnknown(key, server, &Session{CallID: "a"})
			return adopt(id, resource)
		}
		if tb.Learn(key, server, &Session{CallID: "a"}, 0) || tb.Len() != 0 || held(b) != 0 {
			t.Errorf("learned: %d sessions, %d leases", tb.Len(), held(b))
		}
		equal(t, l.String(), "a bye_unknown")
	})
}
