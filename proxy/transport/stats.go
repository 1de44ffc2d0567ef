package transport

// Stats are counts since Listen, but for Open, Pending and Buffered, which are
// now.
type Stats struct {
	Open     int64 // connections up or being made
	Pending  int64 // bytes queued on connections
	Buffered int64 // bytes that count towards MaxBuffered

	Accepted        uint64 // connections
	Refused         uint64 // connections over MaxConns, accepted or to be dialled
	RefusedSource   uint64 // accepted connections over MaxConnsPerSource
	NotAdmitted     uint64 // accepted connections that Admit refused
	Dialled         uint64 // connections that came up
	DialFailed      uint64 // a failed handshake is one
	HandshakeFailed uint64 // accepted connections that failed their TLS handshake
	Slow            uint64 // connections closed with ErrSlow
	Malformed       uint64 // connections closed with ErrMalformed
	Starved         uint64 // connections closed with ErrMemory, or not dialled for it

	DatagramsIn  uint64 // without keepalives
	DatagramsOut uint64
	SendDrops    uint64 // datagrams dropped for lack of room in the send buffer
	ReceiveDrops uint64 // datagrams the kernel dropped, mostly for lack of room in the receive buffer
	Unreachable  uint64 // ICMP errors handed to the Handler

	StreamIn  uint64 // messages from connections
	StreamOut uint64 // messages written to or queued on connections
}

// Stats returns the counts.
func (s *Set) Stats() Stats {
	n := &s.count
	st := Stats{
		Open:            int64(s.table.open()),
		Pending:         n.pending.Load(),
		Buffered:        s.memory.used.Load(),
		Accepted:        n.accepted.Load(),
		Refused:         n.refused.Load(),
		RefusedSource:   n.refusedSource.Load(),
		NotAdmitted:     n.notAdmitted.Load(),
		Dialled:         n.dialled.Load(),
		DialFailed:      n.dialFailed.Load(),
		HandshakeFailed: n.handshakeFailed.Load(),
		Slow:            n.slow.Load(),
		Malformed:       n.malformed.Load(),
		Starved:         n.starved.Load(),
		Unreachable:     n.unreachable.Load(),
		StreamIn:        n.streamIn.Load(),
		StreamOut:       n.streamOut.Load(),
	}
	for _, sock := range s.socks {
		for _, u := range sock.udp {
			u.addTo(&st)
		}
	}
	return st
}
