package sim

import (
	"context"
	"testing"
)

// BenchmarkSession is what the simulator itself costs: both ends, INVITE to BYE.
func BenchmarkSession(b *testing.B) {
	for _, network := range []string{"udp", "tcp"} {
		b.Run(network, func(b *testing.B) {
			s, err := StartServer(ServerOptions{})
			if err != nil {
				b.Fatal(err)
			}
			defer s.Stop()
			c, err := NewClient(ClientOptions{Proxy: s.Addr(), Network: network})
			if err != nil {
				b.Fatal(err)
			}
			defer c.Close()
			b.ReportAllocs()
			b.RunParallel(func(pb *testing.PB) {
				for pb.Next() {
					if r := c.Session(context.Background(), 0); r.ByeCode != 200 {
						b.Errorf("%+v", r)
					}
				}
			})
		})
	}
}
