package proxy

import (
	"slices"
	"testing"
	"time"
)

// TestSteps: of an INVITE that is drawn it is told when it was picked for and sent, in vain and not; of others nothing.
func TestSteps(t *testing.T) {
	for _, sample := range []float64{0, 1} {
		s := two
		s.routing = func(r *Routing) { r.Sample = sample }
		inLab(t, s, func(l *lab) {
			c, a, b := l.udp(freeswitch), l.udp(serverA), l.udp(serverB)
			c.invite("fs-recog-udp-01-INVITE")
			l.until(500 * time.Millisecond)
			for a.next() != nil {
			}
			c.recv("100")
			d := l.accept(c, b, "fs-recog-udp-03-200-INVITE")
			l.wait(20 * time.Second)
			d.bye()
			got := l.obs.invites[0].Steps
			if sample == 0 {
				if got != nil {
					t.Errorf("not drawn, but %+v", got)
				}
				return
			}
			if got.Trace == ([16]byte{}) {
				t.Error("it has no trace id")
			}
			at := func(times ...time.Time) (since []time.Duration) {
				for _, one := range times {
					since = append(since, one.Sub(l.start))
				}
				return since
			}
			want := []time.Duration{0, 0, 0, 500 * time.Millisecond, 500 * time.Millisecond, 500 * time.Millisecond}
			if times := at(got.Received, got.Routed, got.Attempts[0].Begin, got.Attempts[0].End, got.Attempts[1].Begin, got.Attempts[1].End); !slices.Equal(times, want) {
				t.Errorf("received, routed, and attempts at %v, want %v", times, want)
			}
			if len(got.Attempts) != 2 || len(got.Picks) != 2 {
				t.Errorf("%d attempts, %d picks", len(got.Attempts), len(got.Picks))
			}
		})
	}
}
