// Package handover is how a running process gives its sockets to the one that takes its place, without a message lost. It
// owns the unix socket between the two, what they say on it, and the file descriptors under way. It knows nothing of SIP:
// what is to be read, and whose a message is, package proxy says.
//
// The conversation, each line one packet (SOCK_SEQPACKET), N the new process and O the old one:
//
//	N hello       the version of this protocol
//	O listener*   protocol, address and file descriptors of each listener
//	O offered     the admin listener, if there is one; O serves on as before
//	N take        which of them, when all that can fail has been done
//	              O stops reading them; from here on what arrives waits in the kernel
//	O stream*     each TCP connection between two messages, and what was read of an incomplete one
//	O keys*       what O's transactions are known by
//	O yours
//	N serving     N reads, and listens at the path of the unix socket; O will not read again
//
// Until then O goes back to serving when the connection ends. From then on N passes to O what belongs to O's transactions
// (message, unreachable, closed), and O to N what is to be sent on connections that N has (send), until O has none left and
// ends.
package handover
