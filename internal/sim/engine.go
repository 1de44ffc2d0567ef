package sim

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"strconv"
	"strings"
	"time"
)

// engine is the recogniser or synthesiser of one session with its RTP socket. control is guarded by the Server's mu; the
// rest does not change.
type engine struct {
	p       *process
	rtp     *net.UDPConn
	client  netip.AddrPort // where its audio goes to
	control *control
	ctx     context.Context // ends with the session
	end     context.CancelFunc
}

// What the recogniser goes by.
const (
	frame       = 20 * time.Millisecond
	loudEnough  = 5                      // frames that make speech
	quietFor    = 300 * time.Millisecond // after speech ends it
	speaksFor   = 25                     // frames of a synthesised text
	rtpHeader   = 12
	pcmuSilence = 0xff
)

// newEngine opens the RTP socket of a session, next to the server's own address.
func (p *process) newEngine(offer []media, host string) (*engine, error) {
	rtp, err := net.ListenUDP("udp", &net.UDPAddr{IP: p.ep.addr.Addr().AsSlice()})
	if err != nil {
		return nil, err
	}
	e := &engine{p: p, rtp: rtp}
	for _, m := range offer {
		if f := strings.Fields(m.line); len(f) > 1 && f[0] == "audio" {
			e.client, _ = netip.ParseAddrPort(net.JoinHostPort(host, f[1]))
		}
	}
	e.ctx, e.end = context.WithCancel(p.ctx)
	return e, nil
}

// close ends what it does, and its socket. A nil engine has none.
func (e *engine) close() {
	if e != nil {
		e.end()
		_ = e.rtp.Close()
	}
}

func (e *engine) port() int { return e.rtp.LocalAddr().(*net.UDPAddr).Port }

// do is one request on the channel; the Server's mu is held.
func (e *engine) do(channel string, m mrcpMessage, fault Fault) {
	c := e.control
	start := m.id + " 200 IN-PROGRESS"
	switch m.method {
	case "RECOGNIZE":
		c.say(channel, start)
		e.p.wg.Go(func() { e.recognize(c, channel, m, fault) })
	case "SPEAK":
		c.say(channel, start)
		e.p.wg.Go(func() { e.speak(c, channel, m, fault) })
	case "GET-PARAMS", "SET-PARAMS", "DEFINE-GRAMMAR", "STOP":
		c.say(channel, m.id+" 200 COMPLETE")
	default:
		c.say(channel, m.id+" 401 COMPLETE")
	}
}

func (e *engine) recognize(c *control, channel string, m mrcpMessage, fault Fault) {
	done := func(cause string) {
		c.say(channel, "RECOGNITION-COMPLETE "+m.id+" COMPLETE", "Completion-Cause: "+cause)
	}
	if fault.kind() == EngineFails {
		done("006 recognizer-error")
		return
	}
	patience := 5 * time.Second
	if ms, err := strconv.Atoi(m.fields["no-input-timeout"]); err == nil {
		patience = time.Duration(ms) * time.Millisecond
	}
	switch heard, err := e.listen(patience, fault.kind() == Deaf, func() {
		c.say(channel, "START-OF-INPUT "+m.id+" IN-PROGRESS", "Input-Type: speech")
	}); {
	case err != nil: // the session is over
	case !heard:
		done("002 no-input-timeout")
	default:
		says := e.p.s.o.Says
		if fault.kind() == Misrecognises {
			says = "something else"
		}
		c.sayBody(channel, "RECOGNITION-COMPLETE "+m.id+" COMPLETE", "application/nlsml+xml", fmt.Sprintf("<?xml version=\"1.0\"?>\n"+
			"<result><interpretation grammar=\"session:1\" confidence=\"0.93\"><instance>%[1]s</instance><input mode=\"speech\">%[1]s</input>"+
			"</interpretation></result>\n", says), "Completion-Cause: 000 success")
	}
}

// listen waits for speech and its end; false when there was none in time.
func (e *engine) listen(patience time.Duration, deaf bool, started func()) (bool, error) {
	loud, quiet := 0, 0
	buf := make([]byte, 1500)
	for until := time.Now().Add(patience); ; {
		_ = e.rtp.SetReadDeadline(until)
		n, err := e.rtp.Read(buf)
		switch {
		case errors.Is(err, os.ErrDeadlineExceeded):
			return loud >= loudEnough, nil
		case err != nil:
			return false, err
		case deaf || n <= rtpHeader:
		case isLoud(buf[:n]):
			if loud++; loud == loudEnough {
				started()
			}
			quiet = 0
		case loud >= loudEnough:
			quiet++
		}
		if loud >= loudEnough {
			if time.Duration(quiet)*frame >= quietFor {
				return true, nil
			}
			until = time.Now().Add(quietFor)
		}
	}
}

// isLoud reports whether a packet of G.711 holds more than a faint hum. In both laws the seven low bits grow with the
// amplitude, once the transmitted bits that are inverted are turned back.
func isLoud(packet []byte) bool {
	mask := byte(0xff) // PCMU
	if packet[1]&0x7f == 8 {
		mask = 0x55 // PCMA
	}
	for _, b := range packet[rtpHeader:] {
		if (b^mask)&0x7f > 0x20 {
			return true
		}
	}
	return false
}

// speak sends a tone, and says when it is over.
func (e *engine) speak(c *control, channel string, m mrcpMessage, fault Fault) {
	done := func(cause string) { c.say(channel, "SPEAK-COMPLETE "+m.id+" COMPLETE", "Completion-Cause: "+cause) }
	if fault.kind() == EngineFails {
		done("004 error")
		return
	}
	packet := make([]byte, rtpHeader+160)
	packet[0] = 0x80
	binary.BigEndian.PutUint32(packet[8:], 0x5117) // SSRC
	for i := range 160 {
		packet[rtpHeader+i] = pcmuSilence
		if i%8 < 4 { // a tone of 1 kHz
			packet[rtpHeader+i] = 0x90
		}
	}
	tick := time.NewTicker(frame)
	defer tick.Stop()
	for i := range speaksFor {
		binary.BigEndian.PutUint16(packet[2:], uint16(i))
		binary.BigEndian.PutUint32(packet[4:], uint32(160*i))
		if fault.kind() != Mute {
			_, _ = e.rtp.WriteToUDPAddrPort(packet, e.client)
		}
		select {
		case <-tick.C:
		case <-e.ctx.Done():
			return
		}
	}
	done("000 normal")
}
