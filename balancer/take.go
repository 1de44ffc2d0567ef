package balancer

// Take takes a lease at this very backend, for a session of our own: nil when it is full, or no longer configured. Its
// state and weight do not count, as the session may be there to find the state out. It is not a pick: the policy's turns
// and the count of picks stay as they are.
func (b *Balancer) Take(be *Backend) *Lease {
	be.home.mu.Lock()
	defer be.home.mu.Unlock()
	if be.removed.Load() || uint64(be.leases.Load()) >= uint64(be.capacity.Load()) {
		return nil
	}
	be.leases.Add(1)
	return &Lease{backend: be}
}
