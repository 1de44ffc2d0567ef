// Package balancer chooses the server for a session and keeps the count of sessions each server has. It is pure: no
// SIP, no network, no clock of its own (callers pass the time), and no goroutines. It owns clusters, groups, backends,
// policies, limits and leases. It imports no other package of this module.
//
// A Pick walks the levels of a cluster: its groups, those of this instance's IDC first and then by priority, and after
// them the groups of its fallback clusters. In the first level that has an eligible backend the cluster's policy
// chooses, and the lease is taken in the same step, so that a limit is never overrun. A session count is the number
// of leases that were taken and not yet released; a Release counts once however often it is called.
//
// Backends are identified by cluster and URI. What is configured about them is replaced by Apply; their leases, state,
// hold and counters stay.
package balancer
