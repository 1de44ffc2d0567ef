package balancer

// Recall takes a lease for a session that is at a server of that cluster and IDC already, as
// Adopt does. A server that is not
// configured is taken in as one that was removed: it gets no sessions, is shown until its last one ends, and has its count
// should it be configured again. nil: the specification is none that Apply would take.
func (b *Balancer) Recall(home, idc string, s BackendSpec, resources ...string) *Lease {
	if home == "" || s.validate() != nil {
		return nil
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	c := b.clusters[home]
	if c == nil {
		c = newCluster(home)
		b.clusters[home] = c
	}
	be := c.backends[s.URI]
	if be == nil {
		be = newBackend(b, c, s)
		be.idc.Store(&idc)
		be.removed.Store(true)
		c.backends[s.URI] = be
		b.removed = append(b.removed, be)
	}
	return b.Adopt(be, resources...)
}

func newCluster(name string) *cluster {
	c := &cluster{name: name, backends: make(map[string]*Backend), memories: make(map[place]*memory)}
	c.licences.limit = Unlimited
	return c
}
