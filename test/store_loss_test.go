package test

import (
	"context"
	"strings"
	"sync"
	"testing"
	"time"

	"mrcproxy/internal/sim"
)

// TestTogetherWithoutRedis: Redis is killed, stands still, loses its data and is restarted, while sessions come and go. No INVITE
// waits for it for more than 100 ms, no session fails, and the counts are exact again within two periods of its return.
func TestTogetherWithoutRedis(t *testing.T) {
	x := newSeveral(t, 3, 4, 50, usual, "on_store_loss: share\n")
	const held = 10
	var hold sync.WaitGroup
	ctx, hangUp := context.WithCancel(t.Context())
	defer hangUp()
	kept := make(chan outcome, len(x.daemons)*held)
	var clients []*sim.Client
	for i, d := range x.daemons {
		c := d.lab.simClient(sim.ClientOptions{})
		clients = append(clients, c)
		for range held {
			hold.Go(func() { kept <- session(ctx, c, time.Hour) })
		}
		await(t, "the sessions are there", 5*time.Second, func() bool { return x.there() == (i+1)*held })
	}
	for _, way := range []struct {
		name       string
		away, back func()
	}{
		{"killed", x.redis.Kill, x.redis.Run},
		{"paused", x.redis.Pause, x.redis.Resume},
		{"flushed", x.redis.Flush, func() {}},
		{"restarted", func() { x.redis.Kill(); x.redis.Run() }, func() {}},
	} {
		t.Run(way.name, func(t *testing.T) {
			var loads []*load
			for _, c := range clients {
				loads = append(loads, x.load(c, 10, 700*time.Millisecond))
			}
			for i, at := range []func(){way.away, way.back} {
				<-time.After(time.Second)
				at()
				if i == 1 {
					break
				}
			}
			back := time.Now()
			var stall time.Duration
			for _, g := range loads {
				mustSucceed(t, g.end())
				stall = max(stall, g.clock.Longest())
			}
			x.agreed(len(x.daemons)*held, time.Until(back.Add(2*period)), x.daemons...)
			x.exact()
			for _, d := range x.daemons {
				m := d.metrics()
				all, soon := m["mrcproxy_store_admission_duration_seconds_count"], m[`mrcproxy_store_admission_duration_seconds_bucket{le="0.1"}`]
				if all == 0 || all != soon && stall < usual { // else the daemons may have been held up as the load was
					t.Errorf("%v of %v INVITEs waited no longer than 100 ms", soon, all)
				}
			}
		})
	}
	for _, d := range x.daemons {
		m := d.metrics()
		if m["mrcproxy_store_losses_total"] < 2 || m["mrcproxy_store_resets_total"] < 3 || m[`mrcproxy_store_admissions_total{by="alone",result="admitted"}`] == 0 {
			t.Errorf("%v losses, %v resets, %v admitted alone", m["mrcproxy_store_losses_total"], m["mrcproxy_store_resets_total"], m[`mrcproxy_store_admissions_total{by="alone",result="admitted"}`])
		}
		if !d.logged("the store is lost") || !d.logged("the store answers") || !d.logged("the store has lost its data") || d.logged("DATA RACE") || d.logged(`"panic"`) {
			t.Error("the log does not tell of it as it should")
		}
	}
	hangUp()
	hold.Wait()
	close(kept)
	for o := range kept {
		if !o.good() {
			t.Errorf("a held session ended with %+v", o.Result)
		}
	}
	x.agreed(0, 2*period, x.daemons...)
}

// TestTogetherUneven: one of three daemons has most of the sessions when Redis is lost. It goes on with as many; what was free
// is divided among all; and the servers never have more than their capacity.
func TestTogetherUneven(t *testing.T) {
	t.Parallel()
	x := newSeveral(t, 3, 2, 50, unhurried, "on_store_loss: share\n")
	var peers []*rawPeer
	for _, d := range x.daemons {
		peers = append(peers, d.lab.dial("udp", 5))
	}
	fill := func(daemon int) (n int) {
		t.Helper()
		for peers[daemon].ask(rawRequest{}).code == 200 { // without its ACK: it lasts for 32 s
			n++
		}
		return n
	}
	var held []*dialog
	for range 80 {
		held = append(held, peers[0].establish(rawRequest{}))
	}
	x.agreed(80, 2*period, x.daemons...)
	x.redis.Kill()
	for i := range x.daemons {
		if n := fill(i); n != 6 { // a third of 10 at each of two servers
			t.Errorf("daemon %d took %d without Redis", i, n)
		}
	}
	for _, s := range held[:20] {
		s.bye()
	}
	if n := fill(1) + fill(2); n != 0 {
		t.Errorf("the others took %d of the places that were given back", n)
	}
	if n := fill(0); n != 20 {
		t.Errorf("daemon 0 took %d in 20 places that it has given back", n)
	}
	x.redis.Run()
	x.agreed(98, 2*period, x.daemons...)
	x.exact()
	if n := fill(1); n != 2 {
		t.Errorf("%d were taken when Redis was back, of the last 2 places", n)
	}
	for i, s := range x.servers {
		if st := s.Stats(); st.Refused != 0 || st.Sessions != 50 {
			t.Errorf("server %d: %+v", i, st)
		}
	}
}

// TestTogetherReject: without Redis nothing is let in, at once, until a reload says otherwise.
func TestTogetherReject(t *testing.T) {
	t.Parallel()
	x := newSeveral(t, 1, 1, 2, unhurried, "on_store_loss: reject\n")
	d := x.daemons[0]
	p := d.lab.dial("udp", 5)
	s := p.establish(rawRequest{})
	x.redis.Kill()
	d.await("the loss is noticed", 5*time.Second, func() bool { return d.metrics()["mrcproxy_store_up"] == 0 })
	a := p.ask(rawRequest{})
	if a.code != 480 || a.value("Retry-After") != "5" || !strings.Contains(a.value("Reason"), "limits of all instances cannot be checked") {
		t.Errorf("want 480 with Retry-After and Reason, got\n%s", a.head)
	}
	d.write(strings.Replace(d.config(), "on_store_loss: reject", "on_store_loss: open", 1))
	if code, text := d.post("/-/reload"); code != 200 {
		t.Fatalf("reload: %d %s", code, text)
	}
	p.establish(rawRequest{}).bye()
	s.bye()
	d.freed()
}
