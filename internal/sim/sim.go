// Package sim holds simulated MRCPv2 servers and a FreeSWITCH-like client, with
// faults, for demonstrations and for tests of the whole daemon.
//
// It owns the sockets it opens and the goroutines behind them: Server.Stop,
// Client.Close and Fleet.Stop return after the last of them ended. Messages are
// read with sipgo's parser, but headers stay the text that came in, so that what
// is echoed (Via, Record-Route, From, To) is echoed byte for byte.
//
// A server that is told to (ServerOptions.MRCP) also speaks as much MRCPv2 and
// RTP as shows that it recognises and synthesises; for others the SDP of an
// answer names ports that nothing listens at. MRCP is read and written here by
// hand, not by package mrcp, so that a bug of that one cannot hide.
//
// It never resolves SRV, never authenticates, and never reads anything of
// the proxy it is pointed at: it knows only what is on the wire.
package sim

import (
	"fmt"
	"time"
)

// Timers of RFC 3261 17.1.1.1. T1 is the default; both ends can be given another.
const (
	defaultT1 = 500 * time.Millisecond
	t1ToT2    = 8  // T2 is 4 s for a T1 of 500 ms
	t1ToEnd   = 64 // Timers B, F, H: 32 s for a T1 of 500 ms
)

// Fault is a way for a Server to misbehave. The zero value is None.
type Fault uint64

// The faults of a Server; Refuse makes the remaining one.
const (
	None    Fault = iota
	Silent        // receives, never sends anything: a dead process behind open sockets
	Zombie        // answers OPTIONS; INVITE and CANCEL get nothing: an engine that hangs
	Slow          // answers INVITE with 100 and then nothing; CANCEL ends it with 487
	Offline       // INVITE, re-INVITE and OPTIONS get 503, as UniMRCP set offline does

	// Those of a server with MRCP; SIP goes on as if all were well.
	EngineDead     // every method gets 407
	EngineHangs    // no method gets an answer
	EngineFails    // RECOGNIZE and SPEAK begin well, and complete with an error at once
	Misrecognises  // it recognises something that was not said
	ChannelRefused // answers name an MRCP port where nothing listens
	ChannelDropped // MRCP connections are accepted and closed
	Deaf           // RTP is not heard
	Mute           // RTP is not sent

	refusing
	late
	only
)

// Refuse is the fault of answering every new INVITE with code (300 to 699), and
// with Retry-After when retryAfter is a second or more. OPTIONS still gets 200.
func Refuse(code int, retryAfter time.Duration) Fault {
	return refusing | Fault(code&0x3ff)<<8 | Fault(retryAfter/time.Second)<<24
}

// Late is the fault of answering INVITE with 100 at once, and with the final answer so much later. OPTIONS is as quick as
// ever.
func Late(by time.Duration) Fault { return late | Fault(by/time.Millisecond)<<24 }

// Only is the fault of hearing nothing that comes by another transport than network, "udp" or "tcp".
func Only(network string) Fault {
	if network == "tcp" {
		return only | 1<<24
	}
	return only
}

// deafTo reports whether the fault keeps the server from hearing what comes by that transport.
func (f Fault) deafTo(network string) bool {
	return f.kind() == only && (f>>24 == 1) != (network == "tcp")
}

func (f Fault) late() time.Duration {
	if f.kind() != late {
		return 0
	}
	return time.Duration(f>>24) * time.Millisecond
}

func (f Fault) kind() Fault { return f & 0xff }
func (f Fault) code() int   { return int(f >> 8 & 0x3ff) }
func (f Fault) retry() int  { return int(f >> 24) }

// String gives the fault's name, "refuse 503" for Refuse(503, …).
func (f Fault) String() string {
	switch f.kind() {
	case None:
		return "none"
	case Silent:
		return "silent"
	case Zombie:
		return "zombie"
	case Slow:
		return "slow"
	case Offline:
		return "offline"
	case EngineDead:
		return "engine dead"
	case EngineHangs:
		return "engine hangs"
	case EngineFails:
		return "engine fails"
	case Misrecognises:
		return "misrecognises"
	case ChannelRefused:
		return "channel refused"
	case ChannelDropped:
		return "channel dropped"
	case Deaf:
		return "deaf"
	case Mute:
		return "mute"
	case late:
		return "late by " + f.late().String()
	case only:
		if f.deafTo("udp") {
			return "only tcp"
		}
		return "only udp"
	case refusing:
		return fmt.Sprintf("refuse %d", f.code())
	}
	return fmt.Sprintf("Fault(%d)", uint64(f))
}
