package scale

import (
	"mrcproxy/balancer"
	"mrcproxy/internal/store"
)

// alone is what an instance goes by while Redis cannot be asked, by the rule of internal/store.
type alone struct {
	rule  store.OnLoss
	parts []int // by server, under Share
}

// lose fixes the parts, and tells the balancer of them.
func (a *alone) lose(i *instance) {
	a.rule = i.w.sc.onLoss
	w := i.w
	a.parts = make([]int, len(i.byNum))
	for s, b := range i.byNum {
		if a.rule != store.Share {
			i.bal.SetElsewhere(b, 0)
			continue
		}
		had := store.Part{Own: i.own[s], Elsewhere: b.Elsewhere(), Counted: true}
		a.parts[s] = had.Of(w.sc.capacity, len(w.instances))
		i.bal.SetPart(b, a.parts[s])
		w.parts[s] += a.parts[s]
		w.shares[s] += a.parts[s] - i.own[s]
	}
}

// over is when all is as it was.
func (a *alone) over(i *instance) {
	for _, b := range i.byNum {
		i.bal.SetPart(b, -1)
	}
	a.parts = nil
}

// verdict is that on one more session at a server: Admitted, Full or Unchecked.
func (a *alone) verdict(i *instance, b *balancer.Backend) store.Verdict {
	s := number(b.Addr())
	switch most := i.w.sc.capacity; {
	case a.rule == store.Reject:
		return store.Unchecked
	case a.rule == store.Share && i.own[s] >= a.parts[s], i.own[s] >= most:
		return store.Full
	}
	return store.Admitted
}
