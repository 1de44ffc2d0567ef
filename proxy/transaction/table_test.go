package transaction

import (
	"bytes"
	"math/rand/v2"
	"testing"
)

// open opens a pair under its shard's lock.
func open(tb *Table[int], key uint64) (*Shard[int], *Pair[int]) {
	s := tb.Shard(key)
	s.Lock()
	defer s.Unlock()
	return s, s.Open(key, true)
}

// keyIn makes keys that fall into one shard.
func keyIn(shard, n uint64) uint64 { return shard<<32 | n }

// TestTableFind: a retransmission of the request finds the pair by its key (RFC 3261 17.2.3), a response by the id in the branch
// (17.1.3), and after Close neither does.
func TestTableFind(t *testing.T) {
	tb := NewTable[int](100, 1<<20, 0)
	s, p := open(tb, keyIn(3, 7))
	p.Data = 42
	if s.Find(keyIn(3, 7)) != p || s.Get(p.ID) != p || tb.ShardOf(p.ID) != s || tb.Len() != 1 || p.ID == 0 {
		t.Fatalf("id %x, %d pairs", p.ID, tb.Len())
	}
	if s.Find(keyIn(3, 8)) != nil || s.Get(p.ID+Shards) != nil || s.Get(0) != nil {
		t.Error("it finds what is not there")
	}
	id := p.ID
	s.Close(p)
	if s.Find(keyIn(3, 7)) != nil || s.Get(id) != nil || tb.Len() != 0 {
		t.Errorf("%d pairs after Close", tb.Len())
	}
	s.Close(p)
	if tb.Len() != 0 {
		t.Errorf("%d pairs after a second Close", tb.Len())
	}
}

// TestTableGenerations: a late response to a pair whose place was taken again must not reach the new one, nor one that is
// closed.
func TestTableGenerations(t *testing.T) {
	tb := NewTable[int](100, 1<<20, 0)
	seen := map[ID]bool{}
	for i := range 100 {
		s, p := open(tb, keyIn(5, 1))
		if seen[p.ID] || p.ID == 0 {
			t.Fatalf("id %x again", p.ID)
		}
		if p.Data != 0 || p.Server.State != ServerNone || p.timer.Armed() {
			t.Fatalf("the pair is not clean: %+v", p)
		}
		for id := range seen {
			if s.Get(id) != nil {
				t.Fatalf("%x finds %x", id, p.ID)
			}
		}
		seen[p.ID] = true
		p.Data = i + 1
		p.Server.Start(true, false)
		s.Arm(p, 50)
		s.Close(p)
		if dead := p.ID; s.Get(dead) != nil { // a made-up branch: no pair ever had this id
			t.Fatalf("the closed pair answers to %x", dead)
		}
	}
	if n := len(tb.shards[5].slots); n != 1 {
		t.Errorf("%d places for one pair at a time", n)
	}
}

// TestTableBytes: while too much is kept for the pairs that there are, no other is opened.
func TestTableBytes(t *testing.T) {
	tb := NewTable[int](100, 10000, 0)
	s, p := open(tb, keyIn(1, 1))
	s.Lock()
	defer s.Unlock()
	small, large := s.Keep(make([]byte, 10)), s.Keep(make([]byte, 10000-sizes[0]))
	if tb.Kept() != 10000 || s.Open(keyIn(1, 2), true) != nil || tb.Len() != 1 {
		t.Fatalf("%d bytes kept for %d pairs", tb.Kept(), tb.Len())
	}
	s.Drop(&small)
	if s.Open(keyIn(1, 2), true) == nil {
		t.Errorf("no pair with %d bytes kept", tb.Kept())
	}
	s.Drop(&large)
	s.Drop(&large) // nothing any more
	s.Close(p)
	if tb.Kept() != 0 {
		t.Errorf("%d bytes kept for nothing", tb.Kept())
	}
}

// TestTableSpare: an eighth of the room is kept for what matters more.
func TestTableSpare(t *testing.T) {
	tb := NewTable[int](16, 8000, 0)
	s := tb.Shard(0)
	for key := range uint64(14) {
		if s.Open(key+1, false) == nil {
			t.Fatalf("no room for pair %d", key+1)
		}
	}
	if s.Open(15, false) != nil || s.Open(15, true) == nil || s.Open(16, true) == nil || s.Open(17, true) != nil {
		t.Errorf("%d pairs", tb.Len())
	}
	tb = NewTable[int](16, 8000, 0)
	s = tb.Shard(0)
	s.Keep(make([]byte, 7000))
	if s.Open(1, false) != nil || s.Open(1, true) == nil {
		t.Errorf("%d pairs with %d bytes kept", tb.Len(), tb.Kept())
	}
}

// TestTableKeyless: a request of our own has no key; only its id finds it.
func TestTableKeyless(t *testing.T) {
	tb := NewTable[int](10, 1<<20, 0)
	s := tb.Shard(0)
	a, b := s.Open(0, true), s.Open(0, true)
	if a == b || a.ID == b.ID || s.Find(0) != nil || s.Get(a.ID) != a || s.Get(b.ID) != b {
		t.Fatalf("%x %x", a.ID, b.ID)
	}
	s.Close(a)
	if s.Get(b.ID) != b || tb.Len() != 1 {
		t.Error("the other is gone too")
	}
}

// TestTableLimit: a flood ends at the limit, and what is closed makes room again.
func TestTableLimit(t *testing.T) {
	tb := NewTable[int](3, 1<<20, 0)
	var open3 []*Pair[int]
	for i := range 3 {
		_, p := open(tb, keyIn(uint64(i), 1))
		open3 = append(open3, p)
	}
	for range 5 {
		if s, p := open(tb, keyIn(9, 1)); p != nil || s.Find(keyIn(9, 1)) != nil {
			t.Fatal("a fourth pair")
		}
	}
	tb.ShardOf(open3[1].ID).Close(open3[1])
	if _, p := open(tb, keyIn(9, 1)); p == nil || tb.Len() != 3 {
		t.Errorf("no room after a Close; %d pairs", tb.Len())
	}
}

func TestTableShards(t *testing.T) {
	tb := NewTable[int](10000, 1<<20, 0)
	used := map[*Shard[int]]int{}
	for i := range uint64(Shards * 10) {
		s, p := open(tb, keyIn(i, i+1))
		used[s]++
		if tb.ShardOf(p.ID) != s {
			t.Fatalf("id %x is in another shard than its key", p.ID)
		}
	}
	if len(used) != Shards {
		t.Errorf("%d of %d shards in use", len(used), Shards)
	}
	// Ids from the wire may be anything.
	for range 100000 {
		id := ID(rand.Uint64())
		if p := tb.ShardOf(id).Get(id); p != nil && p.ID != id {
			t.Fatalf("%x found %x", id, p.ID)
		}
	}
}

// TestTableTick: a timer fires once, not before it is due and at most a tick after; it may close its pair or arm it again.
func TestTableTick(t *testing.T) {
	tb := NewTable[int](100, 1<<20, 1000)
	var fired []int
	arm := func(shard uint64, data int, due Time) (*Shard[int], *Pair[int]) {
		s, p := open(tb, keyIn(shard, 1))
		p.Data = data
		s.Arm(p, due)
		return s, p
	}
	arm(1, 1, 1100)
	arm(2, 2, 1100)
	arm(3, 3, 1250)
	s4, p4 := arm(4, 4, 1100)
	s4.Arm(p4, Never)
	s5, p5 := arm(5, 5, 1100)
	s5.Close(p5)
	s6, p6 := arm(6, 6, 1100)
	s6.Arm(p6, 1250)
	s6.Arm(p6, 1250)
	arm(7, 7, 900)               // past already
	arm(8, 8, 1000+3*slots*tick) // turns of the wheel away
	fire := func(s *Shard[int], p *Pair[int]) {
		fired = append(fired, p.Data)
		switch p.Data {
		case 1:
			p.Data = 10
			s.Arm(p, 1300)
		default:
			s.Close(p)
		}
	}
	for _, c := range []struct {
		now  Time
		want []int
	}{
		{1000, []int{7}},
		{1099, nil},
		{1110, []int{1, 2}},
		{1110, nil},
		{1249, nil},
		{1260, []int{3, 6}},
		{1310, []int{10}},
		{1000 + 2*slots*tick, nil},
		{1000 + 3*slots*tick - 1, nil},
		{1000 + 3*slots*tick + tick, []int{8}},
	} {
		fired = nil
		tb.Tick(c.now, fire)
		if len(fired) != len(c.want) {
			t.Fatalf("at %d fired %v, want %v", c.now, fired, c.want)
		}
		for i, d := range c.want {
			if fired[i] != d {
				t.Fatalf("at %d fired %v, want %v", c.now, fired, c.want)
			}
		}
	}
	if tb.Len() != 1 {
		t.Errorf("%d pairs left", tb.Len())
	}
}

// TestTableEach: the visitor may close what it is given, and open more.
func TestTableEach(t *testing.T) {
	tb := NewTable[int](1000, 1<<20, 0)
	for i := range 200 {
		_, p := open(tb, keyIn(uint64(i), uint64(i)+1))
		p.Data = i
	}
	seen := map[int]bool{}
	tb.Each(func(s *Shard[int], p *Pair[int]) {
		if seen[p.Data] {
			t.Errorf("%d twice", p.Data)
		}
		seen[p.Data] = true
		if p.Data%2 == 0 {
			s.Close(p)
		} else if q := s.Open(0, true); q != nil {
			q.Data = p.Data // stands for itself if it is visited
			s.Close(q)
		}
	})
	if len(seen) != 200 || tb.Len() != 100 {
		t.Errorf("%d visited, %d left", len(seen), tb.Len())
	}
	tb.Each(func(_ *Shard[int], p *Pair[int]) {
		if p.Data%2 == 0 {
			t.Errorf("%d was closed", p.Data)
		}
	})
}

// TestTableShrinks: what a flood has taken is given back, and ids of before are not found again in the places of others.
func TestTableShrinks(t *testing.T) {
	const flood = 100 * 16 * stock
	tb := NewTable[int](flood, 1<<20, 0)
	s := &tb.shards[7]
	var ids []ID
	for round := range 2 {
		for k := range uint64(flood) {
			p := s.Open(k+1, true)
			s.Arm(p, 50)
			if round == 0 {
				ids = append(ids, p.ID)
			} else if s.Find(k+1) != p || s.Get(p.ID) != p {
				t.Fatalf("pair %d is not found", k)
			}
		}
		for _, id := range ids {
			if round == 1 && s.Get(id) != nil {
				t.Fatalf("id %x of before is found", id)
			}
		}
		s.each(func(s *Shard[int], p *Pair[int]) { s.Close(p) })
		if len(s.spare) > stock || s.most > 16*stock || len(s.byKey) != 0 || tb.Len() != 0 || len(s.slots) != flood {
			t.Errorf("after a flood: %d spare pairs, a map for %d, %d pairs, %d places", len(s.spare), s.most, tb.Len(), len(s.slots))
		}
	}
}

// TestKeepDrop: kept bytes are a copy; memory comes back in its size class and is never shared by two.
func TestKeepDrop(t *testing.T) {
	s := NewTable[int](1, 1<<20, 0).Shard(0)
	for _, n := range []int{0, 1, 384, 385, 768, 769, 2048, 2049, 65535} {
		src := bytes.Repeat([]byte{'x'}, n)
		a, b := s.Keep(src), s.Keep(src)
		if a == nil || !bytes.Equal(a, src) || !bytes.Equal(b, src) {
			t.Fatalf("%d bytes are not kept", n)
		}
		if n > 0 {
			a[0], src[0] = 'a', 's'
			if b[0] != 'x' || src[0] != 's' {
				t.Fatalf("%d bytes are shared", n)
			}
		}
		s.Drop(&a)
		if a != nil {
			t.Fatal("Drop leaves the slice")
		}
		s.Drop(&a) // twice does no harm
		c, d := s.Keep(b), s.Keep(b)
		if n > 0 && (&c[0] == &d[0] || &c[0] == &b[0] || &d[0] == &b[0]) {
			t.Fatalf("%d bytes given to two", n)
		}
		s.Drop(&b)
		s.Drop(&c)
		s.Drop(&d)
	}
	var many [][]byte
	for range 2 * stock {
		for _, n := range sizes {
			many = append(many, s.Keep(make([]byte, n)))
		}
	}
	for i := range many {
		s.Drop(&many[i])
	}
	for i, l := range s.pool {
		if len(l) != stock {
			t.Errorf("%d of %d bytes in stock", len(l), sizes[i])
		}
	}
}
