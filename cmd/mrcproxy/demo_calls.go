package main

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"sync"
	"time"

	"mrcproxy/internal/sim"
)

// What a session must keep to: FreeSWITCH's callers wait no longer for the INVITE's answer, and it blocks on a BYE.
const (
	inviteLimit = 5 * time.Second
	byeLimit    = 3 * time.Second
	holdMin     = 500 * time.Millisecond
	holdMax     = 3 * time.Second
)

// calls are the clients that place sessions, and what became of these.
type calls struct {
	h        *house
	sources  []source
	byServer map[string]*server // by host:port
	active   sync.WaitGroup

	mu      sync.Mutex
	counts  counts
	served  map[*server]int // sessions it had
	setups  []time.Duration // INVITE to 200
	failed  []failure       // the first of them
	lastEnd time.Time
}

// counts of sessions; started is ok, failed and active ones together.
type counts struct {
	started, active, ok, failed int
	lost                        int // of ok: ended with their server
}

// source is one FreeSWITCH profile: a resource and a transport.
type source struct {
	cluster, network string
	client           *sim.Client
}

// failure tells of a failed session.
type failure struct {
	At      float64 `json:"at_seconds"`
	Cluster string  `json:"cluster"`
	Network string  `json:"transport"`
	Server  string  `json:"server,omitempty"`
	CallID  string  `json:"call_id"`
	Why     string  `json:"why"`
}

const maxFailures = 20

var userAgents = map[string]string{"asr": "ASR_MRCP_CLIENT_FS_DEMO", "tts": "TTS_MRCP_CLIENT_FS_DEMO"}

// newCalls opens the clients: one for each cluster and transport.
func newCalls(h *house) (*calls, error) {
	c := &calls{h: h, byServer: map[string]*server{}, served: map[*server]int{}}
	for _, s := range h.servers {
		c.byServer[s.sim.Addr().String()] = s
	}
	for i, network := range []string{"udp", "tcp"} { // in the order of listen
		for _, cluster := range []string{"asr", "tts"} {
			client, err := sim.NewClient(sim.ClientOptions{
				Proxy: h.app.SIP(i), Network: network, Bind: netip.AddrPortFrom(h.app.SIP(i).Addr(), 0),
				UserAgent: userAgents[cluster], Resource: resources[cluster],
			})
			if err != nil {
				c.close()
				return nil, err
			}
			c.sources = append(c.sources, source{cluster, network, client})
		}
	}
	return c, nil
}

func (c *calls) close() {
	for _, s := range c.sources {
		_ = s.client.Close() // always nil
	}
}

// place begins sessions until ctx ends.
func (c *calls) place(ctx context.Context) {
	mean := time.Second / time.Duration(c.h.o.rate)
	timer := time.NewTimer(0)
	defer timer.Stop()
	next := time.Now()
	for wait(ctx, timer) {
		src := c.sources[rand.IntN(len(c.sources))]
		hold := holdMin + rand.N(holdMax-holdMin)
		c.begin()
		c.active.Go(func() { c.session(src, hold) })
		next = next.Add(mean/2 + rand.N(mean))
		timer.Reset(time.Until(next))
	}
}

// drain ends the sessions that are held and waits for them, for so long at most: what has not ended then has failed.
func (c *calls) drain(most time.Duration) {
	for _, s := range c.sources {
		s.client.Drain()
	}
	end := time.AfterFunc(most, c.close)
	defer end.Stop()
	c.active.Wait()
}

func (c *calls) begin() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.counts.started++
	c.counts.active++
}

// session places one and judges it.
func (c *calls) session(src source, hold time.Duration) {
	begun := time.Now()
	r := src.client.Session(context.Background(), hold) // drain ends it
	now := time.Now()
	s := c.byServer[r.Server]
	down := s != nil && s.failedWithin(begun.Add(r.Setup), now)
	v := judge(&r, down)

	c.mu.Lock()
	defer c.mu.Unlock()
	c.counts.active--
	c.lastEnd = now
	if r.Code/100 == 2 {
		c.setups = append(c.setups, r.Setup)
		if s != nil {
			c.served[s]++
		}
	}
	if v.why == "" {
		c.counts.ok++
		if v.lost {
			c.counts.lost++
		}
		return
	}
	c.counts.failed++
	if len(c.failed) < maxFailures {
		c.failed = append(c.failed, failure{round(c.h.since(begun).Seconds()), src.cluster, src.network, r.Server, r.CallID, v.why})
	}
}

// verdict on a session: why it failed, or "". lost: it was ok, and ended with its server.
type verdict struct {
	why  string
	lost bool
}

// judge decides as the command's help says. down: its server was killed or silent at some time between the 200 and the end.
func judge(r *sim.Result, down bool) verdict {
	switch {
	case errors.Is(r.Err, sim.ErrRouteTransport):
		return verdict{why: r.Err.Error()}
	case r.Code == 0:
		return verdict{why: fmt.Sprintf("no answer to INVITE: %v", r.Err)}
	case r.Code/100 != 2:
		return verdict{why: fmt.Sprintf("INVITE answered %d", r.Code)}
	case r.Setup > inviteLimit:
		return verdict{why: fmt.Sprintf("200 to INVITE after %v", r.Setup.Round(time.Millisecond))}
	case r.ServerBye && down:
		return verdict{lost: true}
	case r.ServerBye:
		return verdict{why: "BYE from a server that was not killed"}
	case r.ByeCode == 0:
		return verdict{why: fmt.Sprintf("no answer to BYE: %v", r.Err)}
	case r.ByeTook > byeLimit:
		return verdict{why: fmt.Sprintf("%d to BYE after %v", r.ByeCode, r.ByeTook.Round(time.Millisecond))}
	case r.ByeCode/100 == 2:
		return verdict{}
	case r.ByeCode == 481 && down:
		return verdict{lost: true}
	}
	return verdict{why: fmt.Sprintf("BYE answered %d", r.ByeCode)}
}

// now is the counts at this moment.
func (c *calls) now() counts {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.counts
}
