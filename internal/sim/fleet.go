package sim

import (
	"fmt"
	"net/netip"
)

// Fleet is a row of servers with the same options on consecutive ports.
type Fleet struct{ Servers []*Server }

// StartFleet starts n servers from o.Addr on; with port 0 it finds n free ports in a row.
// Either all run or none does.
func StartFleet(n int, o ServerOptions) (*Fleet, error) {
	if !o.Addr.IsValid() {
		o.Addr = netip.MustParseAddrPort("127.0.0.1:0")
	}
	var err error
	var interrupted Fleet // keeps its ports until there is a run, so that each begins elsewhere
	defer interrupted.Stop()
	for range 50 {
		f := &Fleet{}
		if err = f.start(n, o); err == nil {
			return f, nil
		}
		interrupted.Servers = append(interrupted.Servers, f.Servers...)
		if o.Addr.Port() != 0 {
			break
		}
	}
	return nil, fmt.Errorf("start %d servers: %w", n, err)
}

func (f *Fleet) start(n int, o ServerOptions) error {
	for len(f.Servers) < n {
		s, err := StartServer(o)
		if err != nil {
			return err
		}
		f.Servers = append(f.Servers, s)
		if s.Addr().Port() == 65535 && len(f.Servers) < n {
			return fmt.Errorf("no port after %s", s.Addr())
		}
		o.Addr = netip.AddrPortFrom(s.Addr().Addr(), s.Addr().Port()+1)
	}
	return nil
}

// Addrs are the servers' addresses.
func (f *Fleet) Addrs() []netip.AddrPort {
	out := make([]netip.AddrPort, len(f.Servers))
	for i, s := range f.Servers {
		out[i] = s.Addr()
	}
	return out
}

// Sessions is the number of sessions on all servers.
func (f *Fleet) Sessions() int {
	n := 0
	for _, s := range f.Servers {
		n += s.Sessions()
	}
	return n
}

// Stop stops every server.
func (f *Fleet) Stop() {
	for _, s := range f.Servers {
		s.Stop()
	}
}
