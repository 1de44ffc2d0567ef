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
	line    []waiter
}

type waiter struct {
	id     transaction.ID
	call   *call
	asking bool // the Admitter, for a place
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
	return l != nil && len(l.line) > 0
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
	if len(l.line) >= length {
		return false
	}
	l.line = append(l.line, waiter{id: id, call: c})
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
	l.line = slices.DeleteFunc(l.line, func(w waiter) bool { return w.call == c })
}

// asks notes whether a call that waits asks the Admitter for a place: it keeps its own in the line, and is not first meanwhile.
func (q *queues) asks(c *call, asking bool) {
	q.mu.Lock()
	defer q.mu.Unlock()
	line := c.wait.queue.line
	if i := slices.IndexFunc(line, func(w waiter) bool { return w.call == c }); i >= 0 {
		line[i].asking = asking
	}
}

// first is who has waited the longest, of those for whom nothing is asked.
func (q *queues) first(l *queue) (waiter, bool) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if i := slices.IndexFunc(l.line, func(w waiter) bool { return !w.asking }); i >= 0 {
		return l.line[i], true
	}
	return waiter{}, false
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
		n[l.cluster] += len(l.line)
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
	if c.wait.queue != nil { // it was not admitted, and keeps its place
		p.queues.asks(c, false)
		return true
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
	if pr == nil || pr.Data.call != c {
		p.queues.leave(c, p.now())
		return true
	}
	if c.wait.queue != l { // it has left the line meanwhile
		return true
	}
	w := p.worker()
	defer p.guard(w, "queue")
	now := p.now()
	lease, waits := p.pick(c, now), false
	if lease == nil && c.refusal.Full() && now < c.wait.until {
		return false
	}
	if lease != nil {
		lease, waits = p.admit(pr, p.kept(w, pr), lease, now)
	}
	if waits {
		p.queues.asks(c, true)
	} else {
		p.moveOn(s, w, pr, lease, now)
	}
	p.arm(s, pr)
	return waits || c.wait.queue == nil // else it was not admitted, and nor will the next be
}
