package test

import (
	"context"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"
)

// stalls notes when the machine has kept the test itself from running: it has kept the others, too. end ends that.
func (c *chaos) stalls() (end func()) {
	const much = 500 * time.Millisecond
	ctx, cancel := context.WithCancel(c.t.Context())
	var watch sync.WaitGroup
	watch.Go(func() {
		tick := time.NewTicker(20 * time.Millisecond)
		defer tick.Stop()
		for last := time.Now(); ctx.Err() == nil; last = time.Now() {
			select {
			case <-ctx.Done():
			case <-tick.C:
			}
			if now := time.Now(); now.Sub(last) > much {
				c.note("machine", last, now)
			}
		}
	})
	return func() {
		cancel()
		watch.Wait()
	}
}

func (c *chaos) note(what string, from, to time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.broken = append(c.broken, window{what, from, to})
}

// was reports whether something was broken at a time between the two.
func (c *chaos) was(what string, from, to time.Time) bool {
	for _, w := range c.broken {
		if w.what == what && w.from.Before(to) && w.to.After(from) {
			return true
		}
	}
	return false
}

// judge holds what became of the calls against what was broken meanwhile.
func (c *chaos) judge(all []attempt) {
	c.t.Helper()
	failed, lost, shared, moved, again, bad := 0, 0, 0, 0, 0, 0
	all = c.undisturbed(all)
	for _, a := range all {
		why := c.wrong(a)
		// A server that is away has the client ask one proxy after the other, too: what is told of is a proxy that was.
		if bye := a.until.Add(-a.ByeTook); a.Moved > 0 && c.was(a.proxy, bye, a.until) && !c.was(serverOf(a), bye, a.until) {
			moved++
			if a.ByeCode != 200 {
				again++
			}
		}
		switch {
		case a.Code == 480 && why == "":
			shared++
		case a.Code != 200:
			failed++
		case !a.good() || a.ServerBye || a.Bye < 0:
			lost++
		}
		if why != "" {
			if bad++; bad <= 10 {
				c.t.Errorf("%s, at %s by %s, until %s: %+v", why, a.Began.Format("15:04:05.000"), a.proxy, a.until.Format("15:04:05.000"), a.Result)
			}
		}
	}
	if bad > 0 {
		c.t.Errorf("%d of %d calls went wrong for no reason", bad, len(all))
		for _, w := range c.broken {
			c.t.Logf("%s was broken from %s to %s", w.what, w.from.Format("15:04:05.000"), w.to.Format("15:04:05.000"))
		}
	}
	c.t.Logf("%d INVITEs: %d failed at a broken proxy, %d refused by a share, %d sessions lost with their server; %d ended by another proxy, %d of them for the second time", len(all), failed, shared, lost, moved, again)
	if failed > len(all)/8 {
		c.t.Errorf("%d of %d INVITEs failed: more than an eighth", failed, len(all))
	}
	if again > 2+moved/2 {
		c.t.Errorf("of %d sessions whose proxy was away %d were not ended by another", moved, again)
	}
}

// undisturbed leaves out the calls during which the machine was held up.
func (c *chaos) undisturbed(all []attempt) []attempt {
	n := len(all)
	all = slices.DeleteFunc(all, func(a attempt) bool { return c.was("machine", a.Began.Add(-time.Second), a.until.Add(time.Second)) })
	if len(all) < n {
		c.t.Logf("the machine is busy: %d of %d calls cannot be judged", n-len(all), n)
	}
	return all
}

// wrong says what is wrong with a call; "" when all went well, or what was broken explains it.
func (c *chaos) wrong(a attempt) string {
	const (
		settle = time.Second     // for what was broken to work again, and for what it had begun
		probes = 3 * time.Second // until a proxy that was away takes its servers for living again: two probes, half a second apart
	)
	if a.Code != 200 {
		switch {
		case c.was(a.proxy, a.Began.Add(-probes), a.until):
		case a.Code == 480 && strings.Contains(a.Reason, "full over all instances") && c.was("redis", a.Began.Add(-3*period), a.until):
		default:
			return "a call failed"
		}
		return ""
	}
	whole := a.good() && !a.ServerBye && a.Bye > -20*time.Millisecond // it has lasted as long as it was to
	// A BYE before may have got through, and its answer not; and a proxy that is just back says 481 where it still hears that the
	// server cannot be reached, and goes on sending the BYE.
	if whole && (a.ByeCode == 200 || a.Moved > 0 || c.was(a.proxy, a.until.Add(-a.ByeTook-settle), a.until)) {
		return ""
	}
	set := a.Began.Add(a.Setup)
	if c.was(serverOf(a), a.Began.Add(-settle), a.until) || c.was(a.proxy, a.Began.Add(-settle), set.Add(settle)) { // its 200 or its ACK
		return ""
	}
	return "a session was lost"
}

// serverOf is the server of a session, as in window.
func serverOf(a attempt) string {
	host, _, _ := strings.Cut(a.Server, ":")
	n, _ := strconv.Atoi(host[strings.LastIndexByte(host, '.')+1:])
	return serverName(n)
}
