package store

import (
	"crypto/sha1"
	_ "embed"
	"encoding/hex"
	"strconv"
	"time"
)

//go:embed lua/head.lua
var headText string

//go:embed lua/admit.lua
var admitText string

//go:embed lua/renew.lua
var renewText string

//go:embed lua/release.lua
var releaseText string

//go:embed lua/count.lua
var countText string

// script is one Lua script, and the name that Redis knows it by once it has seen it.
type script struct{ text, sha string }

func newScript(text string) *script {
	text = headText + text
	sum := sha1.Sum([]byte(text)) // what EVALSHA asks for
	return &script{text, hex.EncodeToString(sum[:])}
}

type scripts struct{ admit, renew, release, count *script }

func newScripts() scripts {
	return scripts{newScript(admitText), newScript(renewText), newScript(releaseText), newScript(countText)}
}

// call is one script to be run, and its reply.
type call struct {
	script *script
	keys   []string
	args   []any

	leases []*lease // renew, and admit's one
	gone   []gone   // release
	pools  []*pool  // count

	reply reply
}

// head is how many keys a call begins with that are no pools.
const head = 2

// status is how a script went.
type status int64

const (
	tooLate status = iota - 1
	refused
	done
)

// reply is what a script answered.
type reply struct {
	status status
	now    int64 // the server's time, ms
	since  int64
	rest   []int64
	ok     bool
}

// The name of a session in Redis is its key as 16 hexadecimal digits.
func member(key uint64) string {
	const zeros = "0000000000000000"
	s := strconv.FormatUint(key, 16)
	return zeros[len(s):] + s
}

func millis(d time.Duration) int64 { return max(d.Milliseconds(), 1) }

// batch is a script call for many leases of one cluster: it numbers their pools.
type batch struct {
	call
	places map[*pool]int
}

func (s *Store) newBatch(sc *script, c *cluster) *batch {
	return &batch{call: call{script: sc, keys: []string{c.since, c.ended}, args: []any{nil}}, places: map[*pool]int{}}
}

// add appends one lease's arguments.
func (b *batch) add(key uint64, ms int64, pools []*pool) {
	b.args = append(b.args, member(key), ms, len(pools))
	for _, p := range pools {
		at, ok := b.places[p]
		if !ok {
			b.keys = append(b.keys, p.key)
			at = len(b.keys)
			b.places[p] = at
		}
		b.args = append(b.args, at)
	}
}
