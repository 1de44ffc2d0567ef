// Package transport owns the sockets SIP messages come and go by: UDP
// datagrams, TCP and TLS streams (RFC 3261 section 18). It frames streams into
// messages, reuses connections, bounds what is queued, and says when a peer
// cannot be reached.
//
// One goroutine reads each UDP socket and each connection, and calls the
// Handler itself: messages of one source are handled in the order they came.
// Sending never waits for the network: a datagram that the kernel has no room
// for is dropped (its sender repeats it), bytes for a slow stream are queued up
// to a limit.
//
// It owns every socket, connection and goroutine of the SIP side. It never
// looks into a message beyond what framing needs (start line, Content-Length),
// never resolves a name, never decides where a message goes, and never calls
// the Handler from within Send, Find or CloseConn.
//
// # Memory
//
// Whatever arrives, the package holds no more bytes at once than
//
//	MaxBuffered
//	+ 2 x MaxConns x perConn
//	+ readers x 67 KiB
//
// where readers is the sum of the UDP listeners' Readers, MaxConns counts once
// for accepted and once for dialled connections, and perConn is what names and
// serves a connection that holds nothing: 5 KiB on TCP, 16 KiB on TLS and the
// peer's certificates, most of it stacks, and more where the Handler's calls
// need a deeper one. A connection that writes has one more stack.
//
// MaxBuffered is for all connections together and counts their read buffers (4
// KiB each at rest, MaxHeader + MaxBody at most), their queues (MaxPending at
// most), and what TLS has taken in and not given out (64 KiB at most beside its
// record buffer), each by what is allocated, not by what is in it. A connection
// that would need more than is left is closed with ErrMemory; those that need
// no more go on. What the garbage collector has not taken back yet comes on top
// (GOMEMLIMIT bounds that).
//
// The kernel's buffers are not in it: ReadBuffer + WriteBuffer for each reader,
// which the kernel accounts double, and for streams what net.ipv4.tcp_mem says.
package transport
