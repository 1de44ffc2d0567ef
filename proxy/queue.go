package proxy

import (
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"mrcproxy/balancer"
	"mrcproxy/proxy/transaction"
)

// queues are the INVITEs that wait for a place: first come, first served, among those that ask for the same. They wait as
// transactions, without a goroutine. A place comes free when a session ends, when a second is over (max_cps), or when a server
// is back; whatever it was, the next tick of the timers finds it. Its mu is taken below a shard's lock, and held for no
// other.
type queues struct {
	waiting atomic.Int64 // so that nothing is locked while nobody waits
	mu      sync.Mutex
	by      map[string]*queue
}

// queue is those who wait for the same.
type queue struct {
	cluster string
	line    []waiter // those who have left are taken out when they are first
	live    int      // who has not
}

type waiter struct {
	id   transaction.ID
	call *call
}

// wait is a call's place in a queue.
type wait struct {
	queue  *queue           // nil: it does not wait
	since  transaction.Time // it waits
	until  transaction.Time // it is ready to; 0 before it ever was
	waited time.Duration    // before, in all
	note   string           // why it cannot
}

// lineOf names the queue for what a call asks for.
func lineOf(r *balancer.Request) string { return fmt.Sprint(r.Cluster, r.Resources, r.Reserve) }

// busy reports whether others wait for the same, who come first.
func (q *queues) busy(r *balancer.Request) bool {
	if q.waiting.Load() == 0 {
		return false
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	l := q.by[lineOf(r)]
	return l != nil && l.live > 0
}

// join puts a call at the end of its queue; false when that has its length.
func (q *queues) join(id transaction.ID, c *call, now transaction.Time, length int) bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	name := lineOf(&c.ask)
	l := q.by[name]
	if l == nil {
		l = &queue{cluster: c.ask.Cluster}
		q.by[name] = l
	}
	if l.live >= length {
		return false
	}
	l.line = append(l.line, waiter{id, c})
	l.live++
	c.wait.queue, c.wait.since = l, now
	q.waiting.Add(1)
	return true
}

// leave takes a call out of its queue, if it is in one.
func (q *queues) leave(c *call, now transaction.Time) {
	l := c.wait.queue
	if l == nil {
		return
	}
	c.wait.queue = nil
	c.wait.waited += time.Duration(now-c.wait.since) * time.Millisecond
	q.waiting.Add(-1)
	q.mu.Lock()
	defer q.mu.Unlock()
	l.live--
}

// first is who has waited the longest.
func (q *queues) first(l *queue) (waiter, bool) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if len(l.line) == 0 {
		return waiter{}, false
	}
	return l.line[0], true
}

// pop takes the first out, who has left.
func (q *queues) pop(l *queue) {
	q.mu.Lock()
	defer q.mu.Unlock()
	l.line = slices.Delete(l.line, 0, 1)
}

func (q *queues) all() []*queue {
	q.mu.Lock()
	defer q.mu.Unlock()
	var all []*queue
	for name, l := range q.by {
		if len(l.line) == 0 {
			delete(q.by, name)
			continue
		}
		all = append(all, l)
	}
	return all
}

// Queued is how many INVITEs wait for a place, by cluster.
func (p *Proxy) Queued() map[string]int {
	p.queues.mu.Lock()
	defer p.queues.mu.Unlock()
	n := make(map[string]int)
	for name, c := range p.routing.Load().Clusters {
		if c.Queue > 0 {
			n[name] = 0
		}
	}
	for _, l := range p.queues.by {
		n[l.cluster] += l.live
	}
	return n
}

// queueUp has a call wait for a place, if its cluster has a queue and it has not waited for long enough.
func (p *Proxy) queueUp(pr *pair, now transaction.Time) bool {
	c, r := pr.Data.call, p.routing.Load()
	cl := r.Clusters[c.ask.Cluster]
	if c.wait.until == 0 {
		c.wait.until = min(now+cl.Queue.Milliseconds(), c.deadline)
	}
	if now >= min(c.wait.until, c.deadline) || p.stopping.Load() || len(c.attempts) >= min(r.Failover.MaxAttempts, maxAttempts) {
		return false
	}
	if !p.queues.join(pr.ID, c, now, cl.QueueLength) {
		c.wait.note = fmt.Sprintf("%d wait already", cl.QueueLength)
		return false
	}
	return true
}

// serveQueues gives places that have come free to those who wait.
func (p *Proxy) serveQueues() {
	if p.queues.waiting.Load() == 0 {
		return
	}
	for _, l := range p.queues.all() {
		for p.serveFirst(l) {
		}
	}
}

// serveFirst places the call that has waited the longest; false: there is none, or still no place for it.
func (p *Proxy) serveFirst(l *queue) bool {
	first, ok := p.queues.first(l)
	if !ok {
		return false
	}
	s := p.txs.ShardOf(first.id)
	s.Lock()
	defer s.Unlock()
	pr, c := s.Get(first.id), first.call
	if pr == nil || pr.Data.call != c || c.wait.queue != l {
		p.queues.pop(l)
		return true
	}
	w := p.worker()
	defer p.guard(w, "queue")
	now := p.now()
	lease := p.pick(c, now)
	if lease == nil && c.refusal.Full() && now < c.wait.until {
		return false
	}
	p.queues.leave(c, now)
	p.queues.pop(l)
	waits := false
	if lease != nil {
		lease, waits = p.admit(pr, p.kept(w, pr), lease, now)
	}
	if !waits {
		p.moveOn(s, w, pr, lease, now)
	}
	p.arm(s, pr)
	return c.wait.queue == nil // else it was not admitted, and nor will the next be
}
