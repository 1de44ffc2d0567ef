package probe

import (
	"context"
	"encoding/binary"
	"math/rand/v2"
	"net"
	"net/netip"
	"sync/atomic"
	"time"
)

// media is one RTP stream each way (RFC 3550), in G.711 frames of 20 ms.
type media struct {
	conn    *net.UDPConn
	remote  netip.AddrPort // where the server's answer says that it listens
	payload byte

	packets atomic.Int64 // received from the server
	loud    atomic.Int64 // of them, those that are more than silence
}

const (
	rtpHeader = 12
	// audible is an amplitude, of 32767, that no coding of silence reaches.
	audible = 256
)

func openMedia(local netip.Addr) (*media, error) {
	conn, err := net.ListenUDP("udp", net.UDPAddrFromAddrPort(netip.AddrPortFrom(local, 0)))
	if err != nil {
		return nil, err
	}
	return &media{conn: conn}, nil
}

func (m *media) port() int { return m.conn.LocalAddr().(*net.UDPAddr).Port }

// talk sends the frames in real time, and silence behind them, until ctx ends: a recogniser waits for silence to know that
// speech is over.
func (m *media) talk(ctx context.Context, frames [][]byte) {
	quiet := silence(m.payload)
	packet := make([]byte, rtpHeader+frameSamples)
	packet[0] = 2 << 6 // version 2
	binary.BigEndian.PutUint32(packet[8:], rand.Uint32())
	sequence, stamp := uint16(rand.Uint32()), rand.Uint32()
	tick := time.NewTicker(frameTime)
	defer tick.Stop()
	for i := 0; ; i++ {
		frame := quiet
		if i < len(frames) {
			frame = frames[i]
		}
		packet[1] = m.payload
		if i == 0 {
			packet[1] |= 0x80 // the marker: a talkspurt begins (RFC 3551 4.1)
		}
		binary.BigEndian.PutUint16(packet[2:], sequence+uint16(i))
		binary.BigEndian.PutUint32(packet[4:], stamp+uint32(i*frameSamples))
		copy(packet[rtpHeader:], frame)
		_, _ = m.conn.WriteToUDPAddrPort(packet, m.remote) // one that is lost is lost
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
	}
}

// hear counts what the server sends until the socket is closed.
func (m *media) hear() {
	buf := make([]byte, 2048)
	for {
		n, from, err := m.conn.ReadFromUDPAddrPort(buf)
		if err != nil {
			return
		}
		if n <= rtpHeader || buf[0]>>6 != 2 || buf[1]&0x7f != m.payload || from.Addr().Unmap() != m.remote.Addr() {
			continue
		}
		m.packets.Add(1)
		for _, b := range buf[rtpHeader:n] {
			if v := decode(m.payload, b); v > audible || v < -audible {
				m.loud.Add(1)
				break
			}
		}
	}
}
