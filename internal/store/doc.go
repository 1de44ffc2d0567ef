// Package store counts sessions over all instances in Redis or Valkey, so that a limit holds for all of them together. It
// owns the leases as Redis has them: it asks for each, renews them in batches, gives them back, and puts them there again
// when Redis has lost them. It owns the state of the link to Redis, and the rule for when there is none. It never makes a
// caller wait: what has to be asked of Redis is asked by the goroutine of Run, which calls back. It knows no SIP, no
// server and no session but by its key, and imports no package of this module but internal/wheel.
//
// # In Redis
//
// The keys of one cluster share the hash tag {cluster}, so that one script touches one slot. Behind a common prefix:
//
//	PREFIX:{CLUSTER}:since    when this cluster's counts began, server time in ms; gone when Redis has lost its data
//	PREFIX:{CLUSTER}:ended    a ZSET of sessions that have ended, whichever instance had them; score: when to forget that
//	PREFIX:{CLUSTER}:POOL     a ZSET for each limit; member: a session's key; score: when it ends unless it is renewed
//
// A session is a member of each pool that limits it. Every script begins with the time of the server, and does nothing when
// it comes later than its sender wants: a command that was on its way while Redis stood still must not undo what others
// have done since.
package store
