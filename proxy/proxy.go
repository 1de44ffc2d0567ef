// Package proxy is the stateful, record-routing SIP proxy (RFC 3261 section 16): what happens to a request from the moment
// it is read to its last response. It owns the transactions, the placing of INVITEs and the signed Record-Route. It never
// touches SDP, never re-serialises a message, never chooses a server by itself (Balancer does), and starts no goroutine
// for a message: the goroutine that read it handles it to the end, so that order is kept.
package proxy

import (
	"context"
	"crypto/tls"
	"fmt"
	"hash/maphash"
	"math/rand/v2"
	"net/netip"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"go.uber.org/zap"
	"golang.org/x/sync/errgroup"

	"mrcproxy/balancer"
	"mrcproxy/internal/session"
	"mrcproxy/proxy/message"
	"mrcproxy/proxy/transaction"
	"mrcproxy/proxy/transport"
)

// Balancer chooses servers. *balancer.Balancer has the first two; what calls show of a server's health goes to Report.
// None may block: they are called on the path of a message.
type Balancer interface {
	Pick(r balancer.Request) (*balancer.Lease, balancer.Refusal)
	Available(cluster string, now time.Time) bool
	Report(b *balancer.Backend, o Outcome)
}

// Listener is one SIP socket and the address that peers reach it at. A zero Advertise port takes the bound one, an invalid
// Advertise address the bound address.
type Listener struct {
	Proto     transport.Proto
	Bind      netip.AddrPort
	Advertise netip.Addr
	TLS       *tls.Config // a TLS listener's certificates
	Readers   int         // sockets that share a UDP listener's work; 1 when 0
	Inherited []*os.File  // its sockets, where another process opened them
}

// Options make a Proxy; all but the numbers, and what nil is said to stand for, must be given.
type Options struct {
	Listeners       []Listener // at most 16
	Secrets         [][]byte   // of the Record-Route signature: the first signs, all verify
	Balancer        Balancer
	Admitter        Admitter // nil: what the Balancer gives is enough
	Sessions        *session.Table
	Observer        Observer
	Log             *zap.Logger
	Routing         *Routing
	ClientTLS       func(netip.AddrPort) *tls.Config // for connections that we make; nil: the system's roots
	MaxConnections  int                              // from one source address; transport's default when 0
	ConnectTimeout  time.Duration                    // of a TCP connect; transport's default when 0
	MaxTransactions int                              // at a time, the absorbing ones too; 1<<20 when 0
	MaxKept         int                              // bytes of messages that transactions keep before none is opened any more; 256 MiB when 0

	// Heir says that others hold the sockets, too, and will read what we leave unread when we stop.
	Heir bool
}

// Proxy is the engine. All its exported methods are safe for concurrent use.
type Proxy struct {
	opts      Options
	log       *zap.Logger
	net       network
	listeners []local
	keys      *keys
	bal       Balancer
	admitter  Admitter
	sessions  *session.Table
	obs       Observer
	routing   atomic.Pointer[Routing]
	limits    atomic.Pointer[limiter]
	txs       *transaction.Table[tx]
	queues    queues
	early     sync.Map  // keys of the sessions that early dialogs may become
	workers   sync.Pool // of *worker
	seed      maphash.Seed
	epoch     uint32
	keySeed   uint64 // of serverKey
	base      time.Time
	stopping  atomic.Bool // OPTIONS says 503
	refusing  atomic.Bool // and INVITE, too
	elder     atomic.Pointer[elder]
	left      chan struct{} // closed when a successor has the sockets
	ticked    atomic.Int64  // when the timers were last looked at, of now
	set       *transport.Set
	used      sync.Map     // ids of connections that requests were sent on
	sending   sync.RWMutex // held for reading from a stream's Send to the noting of its connection in used
	hangUpAll func()       // those that are left after Leave
	run       func(context.Context) error
	close     func() error
	stats     func() transport.Stats
	ready     <-chan struct{}
}

// network is what the engine needs of package transport.
type network interface {
	Send(f transport.Flow, b []byte) (conn uint64, err error)
	Find(proto transport.Proto, remote netip.AddrPort) (conn uint64, ok bool)
}

// local is a listener with what we write of it into messages.
type local struct {
	proto   transport.Proto
	addr    netip.AddrPort // advertised
	via     []byte         // "Via: SIP/2.0/UDP 10.1.0.5:5060;branch="
	rrTail  []byte         // "@10.1.0.5:5060;transport=tcp;lr>\r\n"
	is4     bool
	home    uint8  // the listener that requests leave from: itself, or the one that has the advertised address
	sentBy  string // host:port
	contact string // URI
}

// New opens the sockets. Run serves them.
func New(o Options) (*Proxy, error) {
	p := newProxy(o)
	to := transport.Options{Handler: p, Log: o.Log, ConnectTimeout: o.ConnectTimeout, ClientTLS: o.ClientTLS, MaxConnsPerSource: o.MaxConnections}
	for _, l := range o.Listeners {
		to.Listeners = append(to.Listeners, transport.Listener{Proto: l.Proto, Addr: l.Bind, TLS: l.TLS, Readers: l.Readers, Inherited: l.Inherited})
	}
	set, err := transport.Listen(to)
	if err != nil {
		return nil, fmt.Errorf("listen: %w", err)
	}
	p.set, p.hangUpAll = set, set.CloseStreams
	p.attach(set, set.Addr)
	p.run, p.close, p.stats, p.ready = set.Run, set.Close, set.Stats, set.Ready()
	return p, nil
}

func newProxy(o Options) *Proxy {
	if o.MaxTransactions == 0 {
		o.MaxTransactions = 1 << 20
	}
	if o.MaxKept == 0 {
		o.MaxKept = 256 << 20
	}
	p := &Proxy{
		opts: o, log: o.Log, keys: newKeys(o.Secrets), bal: o.Balancer, admitter: o.Admitter, sessions: o.Sessions, obs: o.Observer,
		seed: maphash.MakeSeed(), epoch: rand.Uint32(), keySeed: rand.Uint64(), base: time.Now(),
		left: make(chan struct{}),
	}
	p.txs = transaction.NewTable[tx](o.MaxTransactions, o.MaxKept, 0)
	p.queues.by = make(map[string]*queue)
	p.workers.New = func() any { return new(worker) }
	p.SetRouting(o.Routing)
	return p
}

func (p *Proxy) attach(n network, bound func(int) netip.AddrPort) {
	p.net = n
	for i, l := range p.opts.Listeners {
		a := bound(i)
		if l.Advertise.IsValid() {
			a = netip.AddrPortFrom(l.Advertise, a.Port())
		}
		loc := local{proto: l.Proto, addr: a, is4: a.Addr().Is4(), sentBy: a.String()}
		loc.via = fmt.Appendf(nil, "Via: SIP/2.0/%s %s;branch=", l.Proto, a)
		param := ""
		if l.Proto.Reliable() { // transport=tls, which RFC 3261 26.2.2 deprecates, is what every stack understands
			param = ";transport=" + strings.ToLower(l.Proto.String())
		}
		loc.rrTail = fmt.Appendf(nil, "@%s%s;lr>\r\n", a, param)
		loc.contact = fmt.Sprintf("sip:%s%s", a, param)
		p.listeners = append(p.listeners, loc)
	}
	for i := range p.listeners {
		l := &p.listeners[i]
		l.home = uint8(i)
		for j, h := range p.listeners {
			if h.proto == l.proto && bound(j) == l.addr {
				l.home = uint8(j)
			}
		}
	}
}

// Addr is the advertised address of listener i, its port as bound.
func (p *Proxy) Addr(i int) netip.AddrPort { return p.listeners[i].addr }

// SetRouting installs a new Routing: calls placed from now on follow it.
func (p *Proxy) SetRouting(r *Routing) {
	if l := p.limits.Load(); l == nil || l.rate != r.Rate {
		p.limits.Store(newLimiter(r.Rate))
	}
	p.routing.Store(r)
}

// Stopping reports whether Run's context has ended: what is under way is brought to its end, nothing new is taken, and
// OPTIONS is answered 503, so that whoever pings us sends new sessions elsewhere.
func (p *Proxy) Stopping() bool { return p.stopping.Load() }

// Transactions is the number of transactions held, absorbing ones included.
func (p *Proxy) Transactions() int { return p.txs.Len() }

// Alive reports whether the engine has got round to its timers, and so through the locks of all its transactions, within
// that time.
func (p *Proxy) Alive(within time.Duration) bool {
	return p.now()-p.ticked.Load() <= within.Milliseconds()
}

// Ready is closed when Run serves: requests of ours can be sent from then on.
func (p *Proxy) Ready() <-chan struct{} { return p.ready }

// Transport is what the sockets have done.
func (p *Proxy) Transport() transport.Stats { return p.stats() }

// SetTap has t see every message that is received or sent, until the next SetTap; nil: nobody does. Where a UDP listener is bound
// to a wildcard, its local address is the advertised one. t must not wait.
func (p *Proxy) SetTap(t transport.Tap) {
	if t == nil {
		p.set.SetTap(nil)
		return
	}
	p.set.SetTap(func(pk transport.Packet, msg []byte) {
		if pk.Local.Addr().IsUnspecified() {
			pk.Local = p.listeners[pk.Listener].addr
		}
		t(pk, msg)
	})
}

// Close gives the sockets back when Run is never called.
func (p *Proxy) Close() error { return p.close() }

// tick is the resolution of the timers.
const tick = 10 * time.Millisecond

// Run serves until ctx ends, or a successor has the sockets, and then for as long as what is under way needs; Drain says
// how long that is at most.
func (p *Proxy) Run(ctx context.Context) error {
	serving, end := context.WithCancel(context.WithoutCancel(ctx))
	defer end()
	g, serving := errgroup.WithContext(serving)
	g.Go(func() error { return p.run(serving) })
	g.Go(func() error { return p.timers(serving) })
	g.Go(func() error {
		defer end()
		select {
		case <-ctx.Done():
			p.windDown(serving)
		case <-p.left:
			p.depart(serving, ctx)
		case <-serving.Done():
		}
		return nil
	})
	return g.Wait()
}

func (p *Proxy) timers(ctx context.Context) error {
	t := time.NewTicker(tick)
	defer t.Stop()
	for n := 1; ; n++ {
		select {
		case <-ctx.Done():
			return nil
		case <-t.C:
		}
		p.txs.Tick(p.now(), p.fire)
		p.serveQueues()
		p.ticked.Store(p.now())
		if n%100 == 0 && !p.hasLeft() {
			p.sessions.Tick()
		}
	}
}

func (p *Proxy) now() transaction.Time { return time.Since(p.base).Milliseconds() }

// worker is the memory for handling one message.
type worker struct {
	m    message.Message // the message
	kept message.Message // a request kept by a transaction, scanned again
	out  []byte          // what is sent
	ins  []byte          // header lines to insert
	uri  []byte
	done Invite // for the Observer

	routes [8]message.Span // for routeSet
}

func (p *Proxy) worker() *worker { return p.workers.Get().(*worker) }

func (p *Proxy) free(w *worker) {
	w.m.Raw, w.kept.Raw = nil, nil
	p.workers.Put(w)
}

// guard gives the worker back, and keeps a bug of ours in one message's handling from ending the process.
func (p *Proxy) guard(w *worker, doing string) {
	if r := recover(); r != nil {
		p.obs.Dropped(DropPanic)
		p.log.Error("panic", zap.String("handling", doing), zap.Any("panic", r), zap.Stack("stack"), zap.ByteString("message", w.m.Raw[:min(len(w.m.Raw), 4096)]))
	}
	p.free(w)
}

// Receive handles one message (transport.Handler). One bad message never ends the process.
func (p *Proxy) Receive(b []byte, from transport.Flow) {
	w := p.worker()
	defer p.guard(w, "message")
	switch err := w.m.Scan(b); {
	case err != nil:
		p.malformed(w, from, err)
	case w.m.Request:
		p.request(w, from)
	default:
		p.response(w, from)
	}
}

// tagOf is a To tag for responses of our own, the same for the retransmissions of a request (RFC 3261 8.2.6.2).
func (p *Proxy) tagOf(m *message.Message) []byte {
	var h maphash.Hash
	h.SetSeed(p.seed)
	_, _ = h.Write(m.Bytes(m.Via.Branch))
	_, _ = h.Write(m.Bytes(m.CallID.Value))
	_, _ = h.Write(m.Bytes(m.FromTag))
	return appendHex(append(make([]byte, 0, 18), "mq"...), h.Sum64())
}
