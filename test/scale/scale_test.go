package scale

import (
	"math"
	"os"
	"testing"
	"time"

	"mrcproxy/internal/store"
)

// sized is what all scenarios have in common: large is what make scale simulates, the other half a hundredth of that.
func sized(large bool) scenario {
	s := scenario{
		idcs: 10, instances: 5, servers: 200, capacity: 500, holding: 180 * time.Second, rttHome: 200 * time.Microsecond, rtt: 20 * time.Millisecond,
		countEvery: 6 * time.Second, ramp: time.Minute, settle: 3 * time.Minute, measured: 5 * time.Minute, after: time.Minute, onLoss: store.Share, seed: 1,
	}
	if !large {
		s.idcs, s.instances, s.servers, s.capacity = 4, 3, 12, 100
		s.holding, s.countEvery, s.ramp, s.settle, s.measured, s.after = 20*time.Second, time.Second, 10*time.Second, 5*time.Second, 20*time.Second, 8*time.Second
	}
	return s
}

// rules are those of on_store_loss, by store.OnLoss.
var rules = []string{"share", "open", "reject"}

// scenarios are the rows of the table, each with what has to hold beside what run looks at itself.
func scenarios(large bool) (all []row) {
	add := func(name string, change func(*scenario), hold func(*testing.T, *result)) {
		s := sized(large)
		s.name = name
		change(&s)
		all = append(all, row{&s, hold})
	}
	load := func(load float64) func(*scenario) { return func(s *scenario) { s.load = load } }
	add("70 % load", load(0.7), func(t *testing.T, r *result) {
		if r.refused > 0 || r.local != r.placed {
			t.Errorf("%d refused, %d of %d in their own IDC", r.refused, r.local, r.placed)
		}
	})
	add("95 % load", load(0.95), func(*testing.T, *result) {})
	add("70 %, and one IDC twice that", func(s *scenario) { s.load, s.loads = 0.7, map[int]float64{1: 1.4} }, func(t *testing.T, r *result) {
		// Its instances have its capacity to themselves, and all that is beyond it goes elsewhere.
		least := 1 - 0.4/(0.7*float64(r.idcs+1))
		if part := float64(r.local) / float64(r.placed); r.refused > 0 || part > least+0.05 || part < least-0.05 {
			t.Errorf("%d refused, %.3f in their own IDC, want %.3f", r.refused, part, least)
		}
	})
	for rule, name := range rules {
		add("70 %, one IDC cut off, `"+name+"`", func(s *scenario) { s.load, s.cut, s.onLoss = 0.7, []int{1}, store.OnLoss(rule) }, func(t *testing.T, r *result) {
			part := 1 / float64(r.idcs)
			if n := float64(r.refused) / float64(r.calls); store.OnLoss(rule) == store.Reject && (n < part/2 || n > 2*part) {
				t.Errorf("%.3f refused, want those of one IDC, %.3f", n, part)
			} else if store.OnLoss(rule) != store.Reject && n > 0 {
				t.Errorf("%.3f refused", n)
			}
		})
	}
	for rule, name := range rules[:2] {
		add("95 %, all cut off, `"+name+"`", func(s *scenario) {
			s.load, s.onLoss = 0.95, store.OnLoss(rule)
			for i := range s.idcs {
				s.cut = append(s.cut, i)
			}
		}, func(t *testing.T, r *result) {
			if r.asked > r.calls/20 {
				t.Errorf("%d questions for %d calls", r.asked, r.calls)
			}
		})
	}
	return all
}

type row struct {
	*scenario
	hold func(*testing.T, *result)
}

func TestScale(t *testing.T) {
	var results []*result
	for _, s := range scenarios(os.Getenv("MRCPROXY_SCALE") != "") {
		t.Run(s.name, func(t *testing.T) {
			r, err := run(s.scenario)
			if err != nil {
				t.Fatal(err)
			}
			results = append(results, r)
			s.hold(t, r)
			switch {
			case s.cut == nil && r.over > 0:
				t.Errorf("%d above a limit", r.over)
			case s.cut != nil && s.onLoss != store.Open && r.over > r.allowed:
				t.Errorf("%d above a limit, want %d at most", r.over, r.allowed)
			}
			if r.tried > 3 {
				t.Errorf("a call was refused by %d servers, though its instance knows its parts", r.tried)
			}
			// At random it would be 1 / √sessions: 7 % with 200 of them.
			if even := 0.5 / math.Sqrt(s.load*float64(s.capacity)); s.cut == nil && r.spread > even {
				t.Errorf("the loads of a group deviate by %.3f, want less than %.3f", r.spread, even)
			}
		})
	}
	t.Log("\n" + table(results))
}
