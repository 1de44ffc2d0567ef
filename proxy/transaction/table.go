package transaction

import (
	"maps"
	"math"
	"sync"
	"sync/atomic"

	"mrcproxy/internal/wheel"
)

// Shards is the number of independently locked parts of a Table.
const Shards = 32

// The wheel's turn is 41 s: longer than Lifetime, so that nearly every timer is touched once.
const (
	tick  = 10
	slots = 4096
)

// ID names a pair for as long as it lives: 32 bits place, 32 bits generation. It goes into our branch, so that a response
// finds its shard and pair without a search. 0 is no id.
type ID uint64

// Pair is one request and what became of it: the server transaction, the timer, and the transaction user's data, which
// holds the client transactions. It belongs to its shard's lock.
type Pair[D any] struct {
	ID     ID
	Server Server
	Data   D
	key    uint64
	timer  wheel.Timer[*Pair[D]]
}

// Shard is a part of the table under one lock. All its methods but Lock want it held.
//
//nolint:gocritic // those who use it lock it
type Shard[D any] struct {
	sync.Mutex
	byKey map[uint64]*Pair[D]
	most  int       // that byKey has held since it was made
	slots []slot[D] // by the place in an id
	free  []uint32  // places without a pair
	spare []*Pair[D]
	wheel *wheel.Wheel[*Pair[D]]
	pool  buffers
	table *Table[D]
	index uint32
	_     [64]byte // a cache line of its own
}

// slot is a place in a shard: its pair, nil when none lives there, and the generation of the last one. They
// are odd, so that no id is 0.
type slot[D any] struct {
	pair       *Pair[D]
	generation uint32
}

// Table holds the pairs. New makes one; nothing in it starts by itself: the owner calls Tick.
type Table[D any] struct {
	shards   [Shards]Shard[D]
	live     atomic.Int64
	limit    int64
	kept     atomic.Int64 // bytes that Keep has given out
	maxBytes int64
}

// NewTable makes a table for at most limit pairs at a time, which opens none while maxBytes are kept for those it has. An eighth
// of both is for those that are opened with spare.
func NewTable[D any](limit, maxBytes int, now Time) *Table[D] {
	t := &Table[D]{limit: int64(limit), maxBytes: int64(maxBytes)}
	for i := range t.shards {
		s := &t.shards[i]
		s.byKey = map[uint64]*Pair[D]{}
		s.wheel = wheel.New[*Pair[D]](slots, tick, now)
		s.table, s.index = t, uint32(i)
	}
	return t
}

// Len is the number of pairs that live.
func (t *Table[D]) Len() int { return int(t.live.Load()) }

// Kept is how many bytes are kept for them.
func (t *Table[D]) Kept() int { return int(t.kept.Load()) }

// Shard is where the pair of a server transaction key is, or would be.
func (t *Table[D]) Shard(key uint64) *Shard[D] { return &t.shards[key>>32%Shards] }

// ShardOf is where the pair of an id is.
func (t *Table[D]) ShardOf(id ID) *Shard[D] { return &t.shards[uint32(id)%Shards] }

// Tick fires the timers that are due, shard by shard, each under its lock. fire may use the shard it is given.
func (t *Table[D]) Tick(now Time, fire func(*Shard[D], *Pair[D])) {
	for i := range t.shards {
		s := &t.shards[i]
		s.Lock()
		s.wheel.Advance(now, func(p *Pair[D]) { fire(s, p) })
		s.Unlock()
	}
}

// Each visits every pair, shard by shard, each under its lock. It is for the rare event that concerns an unknown few of
// them, not for the path of a message. visit may close the pair it is given.
func (t *Table[D]) Each(visit func(*Shard[D], *Pair[D])) {
	for i := range t.shards {
		t.shards[i].each(visit)
	}
}

func (s *Shard[D]) each(visit func(*Shard[D], *Pair[D])) {
	s.Lock()
	defer s.Unlock() // a visitor that panics must not keep the shard
	for i := range s.slots {
		if p := s.slots[i].pair; p != nil {
			visit(s, p)
		}
	}
}

// Find is the pair of a server transaction key, or nil.
func (s *Shard[D]) Find(key uint64) *Pair[D] { return s.byKey[key] }

// Get is the pair of an id, or nil when it is gone.
func (s *Shard[D]) Get(id ID) *Pair[D] {
	i := uint32(id) / Shards
	if int(i) >= len(s.slots) || s.slots[i].pair == nil || s.slots[i].pair.ID != id {
		return nil
	}
	return s.slots[i].pair
}

// Open makes a pair; key 0 is for one without a server transaction, which only its id finds. nil: the table is full, but for
// what is spare.
func (s *Shard[D]) Open(key uint64, spare bool) *Pair[D] {
	limit, maxBytes := s.table.limit, s.table.maxBytes
	if !spare {
		limit, maxBytes = limit-limit/8, maxBytes-maxBytes/8
	}
	if s.table.live.Add(1) > limit || s.table.kept.Load() >= maxBytes {
		s.table.live.Add(-1)
		return nil
	}
	i := uint32(len(s.slots))
	if n := len(s.free); n > 0 {
		i = s.free[n-1]
		s.free = s.free[:n-1]
	} else {
		s.slots = append(s.slots, slot[D]{generation: math.MaxUint32})
	}
	p := s.unused()
	at := &s.slots[i]
	at.generation += 2
	at.pair = p
	p.ID = ID(at.generation)<<32 | ID(i*Shards+s.index)
	if key != 0 {
		p.key = key
		s.byKey[key] = p
		s.most = max(s.most, len(s.byKey))
	}
	return p
}

// unused is a pair without a place.
func (s *Shard[D]) unused() *Pair[D] {
	if n := len(s.spare); n > 0 {
		p := s.spare[n-1]
		s.spare[n-1] = nil
		s.spare = s.spare[:n-1]
		return p
	}
	p := new(Pair[D])
	p.timer.Value = p
	return p
}

// Key is the server transaction key that the pair was opened with.
func (p *Pair[D]) Key() uint64 { return p.key }

func (p *Pair[D]) live() bool { return p.ID != 0 }

// Close forgets a pair. Its memory is kept for the next while there is little in stock, so that what a flood took is given
// back: but 20 bytes for each place that there ever was.
func (s *Shard[D]) Close(p *Pair[D]) {
	if !p.live() {
		return
	}
	s.wheel.Disarm(&p.timer)
	if p.key != 0 {
		delete(s.byKey, p.key)
		s.shrink()
	}
	i := uint32(p.ID) / Shards
	s.slots[i].pair = nil
	s.free = append(s.free, i)
	var none D
	p.Data, p.Server, p.key, p.ID = none, Server{}, 0, 0
	if len(s.spare) < stock {
		s.spare = append(s.spare, p)
	}
	s.table.live.Add(-1)
}

// shrink makes byKey anew when it has become much smaller: a map keeps the room that it once needed.
func (s *Shard[D]) shrink() {
	if s.most <= 16*stock || len(s.byKey) > s.most/8 {
		return
	}
	m := make(map[uint64]*Pair[D], len(s.byKey))
	maps.Copy(m, s.byKey)
	s.byKey, s.most = m, len(m)
}

// Arm sets the pair's timer; Never disarms it.
func (s *Shard[D]) Arm(p *Pair[D], due Time) {
	switch {
	case due == Never:
		s.wheel.Disarm(&p.timer)
	case !p.timer.Armed() || p.timer.Due() != due:
		s.wheel.Arm(&p.timer, due)
	}
}

// Keep copies b into memory of the shard's, to be given back with Drop.
func (s *Shard[D]) Keep(b []byte) []byte {
	k := append(s.pool.get(len(b)), b...)
	s.table.kept.Add(int64(cap(k)))
	return k
}

// Drop gives back what Keep returned and sets it to nil.
func (s *Shard[D]) Drop(b *[]byte) {
	s.table.kept.Add(-int64(cap(*b)))
	s.pool.put(*b)
	*b = nil
}

// sizes of the memory that is kept in stock: for a response, for a request in a dialog, for an INVITE with its SDP. What is
// larger is left to the garbage collector.
var sizes = [...]int{384, 768, 2048}

// stock is how much unused memory a shard keeps of each kind, in pieces.
const stock = 64

// buffers is a small stock of byte slices, by size.
type buffers [len(sizes)][][]byte

// get is an empty slice with room for n bytes.
func (p *buffers) get(n int) []byte {
	for i, size := range sizes {
		if n > size {
			continue
		}
		last := len(p[i]) - 1
		if last < 0 {
			return make([]byte, 0, size)
		}
		b := p[i][last]
		p[i][last] = nil
		p[i] = p[i][:last]
		return b
	}
	return make([]byte, 0, n)
}

func (p *buffers) put(b []byte) {
	for i, size := range sizes {
		if cap(b) == size && len(p[i]) < stock {
			p[i] = append(p[i], b[:0])
		}
	}
}
