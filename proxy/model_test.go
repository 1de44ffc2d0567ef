package proxy

import (
	"cmp"
	"container/heap"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"mrcproxy/internal/session"
	"mrcproxy/proxy/transport"
)

// TestModel runs the proxy among user agents that follow RFC 3261 and do what chance tells them, over a network that loses,
// repeats and overtakes datagrams and breaks connections, in virtual time. It checks at every step what must hold.
// MRCPROXY_MODEL_SEEDS (10) and MRCPROXY_MODEL_STEPS (2000) say how much of it; MRCPROXY_MODEL_SEED is the first seed. A run
// that breaks a rule is made again with the call concerned alone, or else with all, and told message by message.
func TestModel(t *testing.T) {
	seeds, steps, first := number("MRCPROXY_MODEL_SEEDS", 10), number("MRCPROXY_MODEL_STEPS", 2000), number("MRCPROXY_MODEL_SEED", 1)
	total := tally{}
	for seed := first; seed < first+seeds; seed++ {
		w := runModel(t, plan{seed: uint64(seed), steps: steps})
		total.add(w)
		if w.broken == "" {
			continue
		}
		t.Errorf("seed %d, step %d, call %d: %s", seed, w.steps, w.brokenTalk, w.broken)
		explain(t, w, plan{seed: uint64(seed), steps: steps, calls: w.next, trace: w.brokenTalk})
		if t.Failed() && seed-first > 2 {
			break
		}
	}
	t.Logf("%d seeds, %d steps each: %+v", seeds, steps, total)
}

// explain makes the run again to tell what happened.
func explain(t *testing.T, was *world, p plan) {
	if was.brokenTalk >= 0 {
		p.only = map[int]bool{was.brokenTalk: true}
		if w := runModel(t, p); w.broken != "" {
			t.Logf("the call alone does it, too: %s\n%s", w.broken, strings.Join(w.lines, "\n"))
			return
		}
		p.only = nil
	}
	p.calls, p.untilStep = 0, was.steps
	w := runModel(t, p)
	if w.broken == "" {
		t.Logf("it does not show again")
	}
	t.Logf("among the others: %s\n%s", w.broken, strings.Join(w.lines, "\n"))
}

func number(name string, otherwise int) int {
	if n, err := strconv.Atoi(os.Getenv(name)); err == nil {
		return n
	}
	return otherwise
}

// plan says what to run.
type plan struct {
	seed      uint64
	steps     int          // no call starts after that many
	calls     int          // when not 0, in the place of steps: so many calls start
	only      map[int]bool // when not nil, of those only these
	trace     int          // the call to tell about, -1: none but what concerns all
	untilStep int
}

// tally is what a run was made of.
type tally struct{ Steps, Calls, Sessions, Refused, FailedOver, Late int }

func (y *tally) add(w *world) {
	y.Steps += w.steps
	y.Calls += len(w.talks)
	y.Sessions += len(w.l.ended)
	y.Refused += len(w.l.obs.invites) - len(w.l.ended)
	y.FailedOver += len(w.l.obs.failedOver)
	y.Late += len(w.l.obs.late)
}

// world is one run.
type world struct {
	plan
	steps    int // made
	l        *lab
	p        *Proxy
	dice     *rand.Rand // of what happens to boxes and connections
	start    time.Time
	queue    events
	seq      int
	next     int // call
	done     bool
	clients  []*box
	servers  []*box
	boxes    map[boxKey]*box
	nobody   *box
	wires    map[uint64]*wire
	lastWire uint64
	talks    map[string]*talk
	tags     int
	placing  int // initial INVITEs that the proxy has got
	capacity int
	deadline time.Duration
	emitted  []emission // since the proxy was last given something

	broken     string
	brokenTalk int
	lines      []string
}

func runModel(t *testing.T, p plan) (w *world) {
	synctest.Test(t, func(t *testing.T) {
		w = newWorld(t, p)
		w.run()
	})
	return w
}

func newWorld(t *testing.T, p plan) *world {
	w := &world{plan: p, dice: rand.New(rand.NewPCG(p.seed, 1<<40)), boxes: map[boxKey]*box{}, wires: map[uint64]*wire{}, talks: map[string]*talk{}}
	w.nobody = &box{w: w, name: "nobody", dialogs: map[string]*leg{}}
	s := setup{longest: 3 * time.Minute}
	for i, proto := range []transport.Proto{transport.UDP, transport.TCP, transport.UDP, transport.TCP}[:2+w.dice.IntN(3)] {
		h := w.box(fmt.Sprintf("s%d", i), proto, fmt.Sprintf("127.0.0.%d:8060", 11+i), false)
		uri := "sip:" + h.addr.String()
		if proto == transport.TCP {
			uri += ";transport=tcp"
		}
		s.servers = append(s.servers, uri)
	}
	for i, proto := range []transport.Proto{transport.UDP, transport.TCP, transport.UDP, transport.TCP} {
		w.box(fmt.Sprintf("c%d", i), proto, fmt.Sprintf("127.0.0.%d:5090", 131+i), true)
	}
	w.capacity = []int{0, 0, 10, 50}[w.dice.IntN(4)]
	s.capacity = w.capacity
	s.routing = func(r *Routing) {
		f := &r.Failover
		f.T1 = []time.Duration{100, 200, 500}[w.dice.IntN(3)] * time.Millisecond
		f.FirstResponse = []time.Duration{300, 500, 1500}[w.dice.IntN(3)] * time.Millisecond
		f.Answer = []time.Duration{1000, 3000}[w.dice.IntN(2)] * time.Millisecond
		f.Deadline = []time.Duration{2, 4, 8}[w.dice.IntN(3)] * time.Second
		f.MaxAttempts = 1 + w.dice.IntN(5)
		w.deadline = f.Deadline
	}
	w.l = newLab(t, s)
	w.p = w.l.p
	w.l.table = session.NewTable(session.Options{Longest: s.longest, OnEnd: w.ended, Adopt: w.l.adopt})
	w.p.sessions = w.l.table
	w.p.net = w
	w.start = time.Now()
	return w
}

func (w *world) box(name string, proto transport.Proto, addr string, client bool) *box {
	h := &box{w: w, name: name, proto: proto, addr: netip.MustParseAddrPort(addr), client: client, port: 40000, dialogs: map[string]*leg{}}
	w.boxes[boxKey{proto, h.addr}] = h
	if client {
		w.clients = append(w.clients, h)
	} else {
		w.servers = append(w.servers, h)
	}
	return h
}

func (w *world) now() time.Duration { return time.Since(w.start) }

// event is something that happens at a time.
type event struct {
	at  time.Duration
	seq int
	do  func()
}

type events []event

func (e events) Len() int { return len(e) }
func (e events) Less(i, j int) bool {
	return e[i].at < e[j].at || e[i].at == e[j].at && e[i].seq < e[j].seq
}
func (e events) Swap(i, j int) { e[i], e[j] = e[j], e[i] }
func (e *events) Push(x any)   { *e = append(*e, x.(event)) }
func (e *events) Pop() any {
	last := len(*e) - 1
	x := (*e)[last]
	*e = (*e)[:last]
	return x
}

func (w *world) at(at time.Duration, do func()) {
	w.seq++
	heap.Push(&w.queue, event{max(at, w.now()), w.seq, do})
}

// broke ends the run: a rule is broken, for a call or for nil.
func (w *world) broke(t *talk, format string, args ...any) {
	if w.broken != "" {
		return
	}
	w.broken, w.brokenTalk = fmt.Sprintf(format, args...), -1
	if t != nil {
		w.brokenTalk = t.n
	}
	w.log(t, "BROKEN: %s", w.broken)
}

// log tells what happens to the call that is traced.
func (w *world) log(t *talk, format string, args ...any) {
	if (w.calls == 0 && w.untilStep == 0) || t != nil && t.n != w.trace {
		return
	}
	w.lines = append(w.lines, fmt.Sprintf("%8.3f  ", w.now().Seconds())+fmt.Sprintf(format, args...))
}

// run goes from event to event, and from tick to tick of the proxy's clock, until nothing is left to happen.
func (w *world) run() {
	rate := []float64{2, 8, 25}[w.dice.IntN(3)]
	w.calling(rate)
	w.trouble()
	idle := 0
	for n := 1; w.broken == "" && idle < 20000; n++ { // 200 s: sessions of those who died reach their longest time
		next := time.Duration(n) * tick
		for len(w.queue) > 0 && w.queue[0].at < next && w.broken == "" {
			e := heap.Pop(&w.queue).(event)
			time.Sleep(e.at - w.now())
			e.do()
			w.steps++
			w.check()
		}
		time.Sleep(next - w.now())
		if w.p.Transactions() > 0 {
			w.tick()
		}
		if n%100 == 0 {
			w.p.sessions.Tick()
		}
		w.check()
		if idle++; !w.finished() {
			idle = 0
		}
		if w.l.table.Len() == 0 && w.p.Transactions() == 0 && idle > 0 {
			break
		}
	}
	w.check()
	if w.broken == "" {
		w.nothingLeft()
	}
}

// finished says that no call starts any more, and no event is left.
func (w *world) finished() bool { return w.done && len(w.queue) == 0 }

// calling starts call after call.
func (w *world) calling(rate float64) {
	switch {
	case w.calls != 0 && w.next >= w.calls, w.calls == 0 && w.steps >= w.plan.steps:
		w.done = true
		return
	}
	n := w.next
	w.next++
	if w.only == nil || w.only[n] {
		w.newTalk(n).start()
	}
	gap := rand.New(rand.NewPCG(w.seed, uint64(n)+1<<32)).ExpFloat64() / rate
	w.at(w.now()+time.Duration(gap*float64(time.Second)), func() { w.calling(rate) })
}

// trouble breaks connections and ends processes now and then.
func (w *world) trouble() {
	often := []time.Duration{time.Hour, 20 * time.Second, 4 * time.Second}[w.dice.IntN(3)]
	var next func()
	next = func() {
		if w.done {
			return
		}
		everyone := slices.Concat(w.clients, w.servers)
		h := everyone[w.dice.IntN(len(everyone))]
		kill, reset, quiet := w.dice.IntN(4) == 0, w.dice.IntN(2) == 0, w.dice.IntN(2) == 0
		away := time.Second + time.Duration(w.dice.Int64N(int64(6*time.Second)))
		switch {
		case h.down || w.now()-h.last < 3*time.Second:
		case kill && !h.client:
			h.die(quiet)
			w.at(w.now()+away, func() { h.down = false; h.last = w.now() })
		default:
			h.last = w.now()
			for _, c := range slices.Clone(h.wires) {
				w.close(c, reset)
			}
		}
		w.at(w.now()+time.Duration(w.dice.Int64N(int64(often))), next)
	}
	w.at(w.now()+time.Duration(w.dice.Int64N(int64(often))), next)
}

func sortBy[T any](l []T, key func(T) string) {
	slices.SortStableFunc(l, func(a, b T) int { return cmp.Compare(key(a), key(b)) })
}

// topBranch is the branch of its topmost Via.
func topBranch(m *msg) string {
	_, b, _ := strings.Cut(m.get("Via"), "branch=")
	b, _, _ = strings.Cut(b, ";")
	return b
}

func cutTag(v string) (string, string, bool) { return strings.Cut(v, ";tag=") }

// code is a response's status.
func (m *msg) code() int {
	n, _ := strconv.Atoi(strings.Fields(m.start)[1])
	return n
}
