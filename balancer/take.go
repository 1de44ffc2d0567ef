package balancer

// Take takes a lease at this very backend, for a session of our own that asks for these resources: nil when it is full, or
// no longer configured, or the cluster's licences are used up. Its state and weight do not count, as the session may be
// there to find the state out. It is not a pick: the policy's turns and the count of picks stay as they are.
func (b *Balancer) Take(be *Backend, resources ...string) *Lease {
	c := be.home
	c.mu.Lock()
	defer c.mu.Unlock()
	if be.removed.Load() || !be.room() || !c.licences.room(0) {
		return nil
	}
	pools := be.poolsOf(resources)
	for i := range be.pools {
		if pools&(1<<i) != 0 && !be.pools[i].room(0) {
			return nil
		}
	}
	be.count(1, pools)
	return &Lease{backend: be, pools: pools}
}

// Adopt takes a lease for a session that is at the backend already, for these resources, whatever its state, weight and
// limits.
func (b *Balancer) Adopt(be *Backend, resources ...string) *Lease {
	be.home.mu.Lock()
	defer be.home.mu.Unlock()
	pools := be.poolsOf(resources)
	be.count(1, pools)
	return &Lease{backend: be, pools: pools}
}
