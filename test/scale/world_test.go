package scale

import (
	"fmt"
	"math"
	"math/rand/v2"
	"time"

	"mrcproxy/internal/store"
)

// scenario is what is simulated.
type scenario struct {
	name                               string
	idcs, instances, servers, capacity int // instances and servers of each IDC
	load                               float64
	loads                              map[int]float64 // of an IDC that differs
	holding                            time.Duration   // mean; exponential
	rttHome, rtt                       time.Duration   // to Redis: from its own IDC, the first, and from the others
	countEvery                         time.Duration   // a tenth of the store's renew
	cut                                []int           // IDCs that are cut off from Redis while it is measured
	onLoss                             store.OnLoss
	ramp, settle, measured, after      time.Duration
	seed                               uint64
}

// world is one run of a scenario.
type world struct {
	sc        *scenario
	now       time.Duration
	events    events
	dice      *rand.Rand
	redis     redis
	instances []*instance
	load      []int // sessions by server, of all instances: the truth
	live      int
	off       []bool // by IDC: it does not reach Redis
	parts     []int  // by server: those of the instances that are cut off, together
	shares    []int  // by server: what of them they did not have yet
	m         measures
	faults    []string
}

// clock gives the time to balancers.
func (w *world) clock() time.Time { return time.Unix(1e9, 0).Add(w.now) }

func (w *world) after(d time.Duration, e event) {
	e.at = w.now + d
	w.events.push(e)
}

func (w *world) cutOff(i *instance) bool { return w.off[i.idc] }

func (w *world) exponential(mean float64) time.Duration {
	return time.Duration(mean * w.dice.ExpFloat64())
}

// capacity is of one IDC.
func (s *scenario) idcCapacity() int { return s.servers * s.capacity }

// rate is the calls a second of an IDC. Through the ramp it is what brings the sessions to their number by its end.
func (s *scenario) rate(idc int, now time.Duration) float64 {
	load, ok := s.loads[idc]
	if !ok {
		load = s.load
	}
	r := load * float64(s.idcCapacity()) / s.holding.Seconds()
	if now < s.ramp {
		r /= 1 - math.Exp(-s.ramp.Seconds()/s.holding.Seconds())
	}
	return r
}

// run simulates a scenario.
func run(s *scenario) (*result, error) {
	w := &world{sc: s, dice: rand.New(rand.NewPCG(s.seed, 0)), off: make([]bool, s.idcs), load: make([]int, s.idcs*s.servers)}
	w.parts, w.shares = make([]int, len(w.load)), make([]int, len(w.load))
	w.redis = redis{sizes: make([]int, len(w.load)), capacity: s.capacity}
	for n := range s.idcs * s.instances {
		i, err := newInstance(w, n)
		if err != nil {
			return nil, err
		}
		w.instances = append(w.instances, i)
		w.after(s.countEvery*time.Duration(n+1)/time.Duration(s.idcs*s.instances), event{kind: count, n: n})
	}
	for idc := range s.idcs {
		w.after(w.exponential(1e9/s.rate(idc, 0)), event{kind: arrival, n: idc})
	}
	start := s.ramp + s.settle
	if s.cut != nil {
		w.after(start, event{kind: cut})
	}
	w.after(start, event{kind: begin})
	w.after(start+s.measured+s.after, event{kind: finish})
	for {
		e := w.events.pop()
		w.now = e.at
		if e.kind == finish {
			return w.result()
		}
		w.handle(e)
	}
}

func (w *world) handle(e event) {
	s := w.sc
	switch e.kind {
	case arrival:
		w.after(w.exponential(1e9/s.rate(e.n, w.now)), event{kind: arrival, n: e.n})
		w.instances[e.n*s.instances+w.dice.IntN(s.instances)].invite()
	case end:
		w.load[e.call.server]--
		w.live--
		e.call.at.bye(e.call)
	case execute:
		e.ex.lost = e.ex.lost || w.cutOff(w.instances[e.n])
		if !e.ex.lost {
			w.redis.execute(e.ex)
		}
		w.after(w.instances[e.n].rtt/2, event{kind: reply, n: e.n, ex: e.ex})
	case reply:
		i := w.instances[e.n]
		if i.under == e.ex && !e.ex.lost && !w.cutOff(i) {
			i.answered(e.ex)
		}
	case count:
		i := w.instances[e.n]
		i.counting = true
		i.exchange()
		w.after(s.countEvery, event{kind: count, n: e.n})
	case cut:
		for _, idc := range s.cut {
			w.off[idc] = true
			for k := range s.instances {
				w.after(timeout, event{kind: noticed, n: idc*s.instances + k})
			}
		}
		w.after(s.measured, event{kind: heal})
	case heal:
		w.off = make([]bool, s.idcs)
		for _, idc := range s.cut {
			for k := range s.instances {
				w.after(time.Duration(w.dice.Int64N(int64(lastProbe))), event{kind: back, n: idc*s.instances + k})
			}
		}
	case noticed:
		w.instances[e.n].lose()
	case back:
		w.instances[e.n].find()
	case begin:
		w.m.begin()
		w.after(0, event{kind: look})
		w.after(s.measured, event{kind: stop})
	case look:
		w.look()
		w.after(s.measured/20, event{kind: look})
	case stop:
		w.m.stop()
	}
}

// established is a session that has begun.
func (w *world) established(c *call) {
	w.load[c.server]++
	w.live++
	w.m.over = max(w.m.over, w.load[c.server]-w.sc.capacity)
	w.m.placed++
	if c.server/w.sc.servers == c.at.idc {
		w.m.local++
	}
	w.after(w.exponential(float64(w.sc.holding)), event{kind: end, call: c})
}

func (w *world) fault(format string, args ...any) {
	if len(w.faults) < 20 {
		w.faults = append(w.faults, fmt.Sprintf("%v: ", w.now)+fmt.Sprintf(format, args...))
	}
}
