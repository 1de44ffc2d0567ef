// Package health keeps the state of every backend from evidence: the results of probes and of calls. It owns the state
// machine, which is the pure function Next, and the Runner, which drives it: when to probe, and whom to tell. It does
// not know how a probe is sent (see Prober), opens no socket, chooses no backend, and imports no other package of this
// module.
package health
