package proxy

import (
	"net/netip"
	"time"

	"mrcproxy/balancer"
	"mrcproxy/internal/session"
	"mrcproxy/proxy/message"
	"mrcproxy/proxy/transaction"
	"mrcproxy/proxy/transport"
)

// kind is why a pair exists.
type kind uint8

const (
	rejected kind = iota // an INVITE answered by us: server half only
	initial              // a client's INVITE that we place
	relayed              // a request in a dialog
	own                  // a request of ours: client half only
)

// tx is what the engine keeps with a pair, under its shard's lock.
type tx struct {
	kind      kind
	method    message.Method
	toServer  bool // relayed: the direction
	pops      uint8
	again     bool   // it was sent once more at once, on a new connection
	over      bool   // relayed: its session has ended already
	unwanted  bool   // relayed: its sender has cancelled it
	callback  uint16 // relayed towards a client: the port that it listens on
	replyPort uint16 // at the address that it came from: where responses to it go
	loop      uint32
	server    uint32         // relayed: ID of its server
	msg       []byte         // the request as received; of an own request, as sent
	reply     []byte         // the response that the server half resends
	from      transport.Flow // where it came from
	tryingAt  transaction.Time
	session   uint64   // relayed: key of the session
	cur       branch   // the branch whose answer counts
	old       []branch // abandoned ones
	call      *call    // initial
	done      func(code int, err error)
	invite    *ownInvite // own INVITE, in the place of done
}

type (
	shard = transaction.Shard[tx]
	pair  = transaction.Pair[tx]
)

// branch is one client transaction of a pair.
type branch struct {
	transaction.Client
	attempt  uint8
	ended    bool // the session of a late 2xx was ended
	tooLarge bool // the request does not fit the server's transport
	flow     transport.Flow
	sent     transaction.Time
	backend  *balancer.Backend // nil: towards the client
}

const maxAttempts = 16

// call is the placing of one initial INVITE.
type call struct {
	callID      string
	contact     message.Span // the URI of its Contact, in tx.msg
	route       string
	ask         balancer.Request // of the balancer
	start       time.Time
	deadline    transaction.Time
	lease       *balancer.Lease // of the current branch
	early       uint64          // key of the early dialog on it; 0: there is none
	attempts    []session.Attempt
	room        [2]session.Attempt // for attempts
	roomToAvoid [2]netip.AddrPort
	avoid       []netip.AddrPort // servers not to be picked: tried, or not admitted
	cancelled   bool
	best        []byte // the best failure response so far, ready for the client (RFC 3261 16.7 step 6)
	bestCode    int
	retry       time.Duration // the longest Retry-After of those who refused
	refusal     balancer.Refusal
	wait        wait
	steps       *Steps // nil: nobody wants to know
	admission
}

// replyTo is where responses go.
func (d *tx) replyTo() transport.Flow { return atPort(d.from, d.replyPort) }

// atPort is the flow to another port of the same address.
func atPort(f transport.Flow, port uint16) transport.Flow {
	f.Remote = netip.AddrPortFrom(f.Remote.Addr(), port)
	return f
}

// arm sets the pair's timer to whatever is due first.
func (p *Proxy) arm(s *shard, pr *pair) {
	d := &pr.Data
	due := min(pr.Server.Due(), d.cur.dueOrNever())
	for i := range d.old {
		due = min(due, d.old[i].dueOrNever())
	}
	if pr.Server.State == transaction.Trying && d.tryingAt != 0 {
		due = min(due, d.tryingAt)
	}
	if d.call != nil && !pr.Server.Final() {
		due = min(due, d.call.deadline)
		if d.call.wait.queue != nil {
			due = min(due, d.call.wait.until)
		}
	}
	if due == transaction.Never {
		p.closeTx(s, pr)
		return
	}
	s.Arm(pr, due)
}

func (b *branch) dueOrNever() transaction.Time {
	if b.Done() {
		return transaction.Never
	}
	return b.Due()
}

func (p *Proxy) closeTx(s *shard, pr *pair) {
	d := &pr.Data
	s.Drop(&d.msg)
	s.Drop(&d.reply)
	s.Close(pr)
}
