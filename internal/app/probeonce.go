package app

import (
	"context"
	"crypto/rand"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"time"

	"go.uber.org/zap"
	"golang.org/x/sync/errgroup"

	"mrcproxy/balancer"
	"mrcproxy/config"
	"mrcproxy/health"
	"mrcproxy/health/probe"
	"mrcproxy/internal/session"
	"mrcproxy/proxy"
	"mrcproxy/proxy/transport"
)

// Once is one probe without a daemon.
type Once struct {
	URI    string // of the server
	Health config.Health
	TLS    config.TLS // for a server that is reached by TLS
	Deep   bool       // a session, else OPTIONS
	// Trace, when not nil, is told what is sent and received of SDP and MRCP.
	Trace func(what, text string)
}

// OnceResult is how it went.
type OnceResult struct {
	Addr    netip.AddrPort
	Options health.Result // of one by OPTIONS
	Report  probe.Report  // of a deep one
}

// OK reports whether the probe succeeded.
func (r OnceResult) OK(deep bool) bool {
	if deep {
		return r.Report.Failure == probe.OK
	}
	return r.Options.OK
}

// OnceView is how a probe went, for scripts.
type OnceView struct {
	Backend    string     `json:"backend"`
	OK         bool       `json:"ok"`
	Code       int        `json:"code,omitempty"`   // of the final answer to OPTIONS or INVITE; 0: none
	Result     string     `json:"result"`           // ok, or how it failed: by OPTIONS "failed", of a deep one as in mrcproxy_deep_probes_total
	Reason     string     `json:"reason,omitempty"` // of a failure, for people
	Steps      []OnceStep `json:"steps"`
	Recognised string     `json:"recognised,omitempty"`
	Confidence float64    `json:"confidence,omitempty"`
	RTPPackets int        `json:"rtp_packets,omitempty"`
}

// OnceStep is one step of a probe.
type OnceStep struct {
	Step string  `json:"step"`
	MS   float64 `json:"ms"`
}

// View is the result for scripts; backend is the server's URI.
func (r OnceResult) View(backend string, deep bool) OnceView {
	v := OnceView{Backend: backend, OK: r.OK(deep), Steps: []OnceStep{}}
	if !deep {
		v.Code, v.Result, v.Steps = r.Options.Code, "ok", append(v.Steps, OnceStep{"options", ms(r.Options.Duration)})
		if !v.OK {
			v.Result, v.Reason = "failed", r.Options.Reason
		}
		return v
	}
	for s := range probe.Steps {
		if took := r.Report.Took[s]; took != 0 {
			v.Steps = append(v.Steps, OnceStep{s.String(), ms(took)})
		}
	}
	v.Code, v.Result, v.Recognised, v.Confidence, v.RTPPackets = r.Report.Code, r.Report.Failure.String(), r.Report.Result, r.Report.Confidence, r.Report.Packets
	if !v.OK {
		v.Reason = r.Report.Detail
	}
	return v
}

// Lines say how the probe went, step by step, for people.
func (r OnceResult) Lines(deep bool) []string {
	if !deep {
		line := fmt.Sprintf("%-8s %9.1f ms", "options", ms(r.Options.Duration))
		if r.Options.Code != 0 {
			line += fmt.Sprintf("  %d", r.Options.Code)
		}
		return []string{line, verdict(r.Options.OK, r.Options.Reason)}
	}
	var lines []string
	var total time.Duration
	for s := range probe.Steps {
		took := r.Report.Took[s]
		total += took
		if took == 0 {
			continue
		}
		line := fmt.Sprintf("%-8s %9.1f ms", s, ms(took))
		switch {
		case s == probe.StepSIP && r.Report.Code != 0:
			line += fmt.Sprintf("  %d", r.Report.Code)
		case s == probe.StepMethod && r.Report.Result != "":
			line += fmt.Sprintf("  %q, confidence %g", r.Report.Result, r.Report.Confidence)
		case s == probe.StepMethod && r.Report.Packets != 0:
			line += fmt.Sprintf("  %d packets of RTP", r.Report.Packets)
		}
		lines = append(lines, line)
	}
	lines = append(lines, fmt.Sprintf("%-8s %9.1f ms", "in all", ms(total)))
	return append(lines, verdict(r.Report.Failure == probe.OK, r.Report.Failure.String()+": "+r.Report.Detail))
}

func verdict(ok bool, why string) string {
	if ok {
		return "ok"
	}
	return "failed: " + why
}

// Probe makes one probe from sockets of its own. The error says why it could not even be tried.
func Probe(ctx context.Context, o Once) (r OnceResult, err error) {
	be, err := config.ParseBackend(o.URI)
	if err != nil {
		return r, fmt.Errorf("the server's URI %w", err)
	}
	if r.Addr, err = addressOf(ctx, be); err != nil {
		return r, err
	}
	var spec *probe.Deep
	if o.Deep {
		if spec, err = deepSpec(o.Health.Deep); err != nil {
			return r, err
		}
	}
	p, err := engineTowards(be, r.Addr, o.TLS)
	if err != nil {
		return r, err
	}
	dest := probe.Dest{URI: be.URI, Network: be.Network, Addr: r.Addr}
	serving, stop := context.WithCancel(context.WithoutCancel(ctx)) // to the end of the BYE
	defer stop()
	g, serving := errgroup.WithContext(serving)
	g.Go(func() error { return p.Run(serving) })
	select {
	case <-p.Ready():
	case <-serving.Done():
		return r, g.Wait()
	}
	if o.Deep {
		limited, cancel := context.WithTimeout(ctx, o.Health.Deep.Timeout)
		defer cancel()
		r.Report = probe.Session{Caller: caller{p}, Trace: o.Trace}.Probe(limited, dest, spec)
	} else {
		limited, cancel := context.WithTimeout(ctx, o.Health.Timeout)
		defer cancel()
		start := time.Now()
		r.Options = probe.Options{Sender: sender{p}}.Probe(limited, health.Target{Info: probe.Info{Dest: dest, Up: o.Health.UpCodes.Contains}})
		r.Options.Duration = time.Since(start)
	}
	stop()
	return r, g.Wait()
}

// addressOf is a server's address; of a name the first that is found.
func addressOf(ctx context.Context, be config.Backend) (netip.AddrPort, error) {
	if be.Host == "" {
		return be.Addr, nil
	}
	ips, err := net.DefaultResolver.LookupNetIP(ctx, "ip", be.Host)
	if err != nil {
		return netip.AddrPort{}, err
	}
	port := be.Port
	if port == 0 {
		port = 5060
	}
	return netip.AddrPortFrom(ips[0].Unmap(), port), nil
}

// engineTowards is an engine with one socket, from which a server can be reached.
func engineTowards(be config.Backend, to netip.AddrPort, files config.TLS) (*proxy.Proxy, error) {
	c, err := net.DialUDP("udp", nil, net.UDPAddrFromAddrPort(to)) // nothing is sent
	if err != nil {
		return nil, err
	}
	local := c.LocalAddr().(*net.UDPAddr).AddrPort().Addr().Unmap()
	_ = c.Close()
	l := proxy.Listener{Proto: proxy.ProtoOf(be.Network), Bind: netip.AddrPortFrom(local, 0)}
	var clientTLS func(netip.AddrPort) *tls.Config
	if be.Network == "tls" {
		if files.Cert == "" {
			return nil, errors.New("a server by TLS needs a configuration (-c) with tls.cert and tls.key")
		}
		certs, err := transport.LoadCertificates(transport.CertificateFiles{Cert: files.Cert, Key: files.Key, ServerCA: files.ServerCA})
		if err != nil {
			return nil, err
		}
		l.TLS = certs.ServerConfig()
		clientTLS = func(netip.AddrPort) *tls.Config {
			t := certs.ClientConfig()
			t.ServerName = be.Host
			return t
		}
	}
	secret := make([]byte, 32)
	_, _ = rand.Read(secret) // never fails
	return proxy.New(proxy.Options{
		Listeners: []proxy.Listener{l}, Secrets: [][]byte{secret}, Balancer: nobody{}, Sessions: session.NewTable(session.Options{}),
		Observer: unseen{}, Log: zap.NewNop(), ClientTLS: clientTLS,
		Routing: &proxy.Routing{Otherwise: proxy.Otherwise{Reject: 488}, Failover: proxy.Failover{T1: 100 * time.Millisecond, Bye: 2 * time.Second}},
	})
}

// nobody is a balancer without servers: an engine that only probes relays nothing.
type nobody struct{}

func (nobody) Pick(balancer.Request) (*balancer.Lease, balancer.Refusal) {
	return nil, balancer.Refusal{}
}
func (nobody) Available(string, time.Time) bool        { return false }
func (nobody) Report(*balancer.Backend, proxy.Outcome) {}

// unseen is an observer that tells nobody.
type unseen struct{}

func (unseen) InviteDone(*proxy.Invite)         {}
func (unseen) FailedOver(string, string)        {}
func (unseen) Dropped(proxy.DropReason)         {}
func (unseen) Late(*balancer.Backend)           {}
func (unseen) Unroutable(*proxy.Invite, string) {}
