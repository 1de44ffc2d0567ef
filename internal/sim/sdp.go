package sim

import (
	"fmt"
	"math/rand/v2"
	"net/netip"
	"strings"
)

// media is one m= line of a session description with its attributes.
type media struct {
	line  string   // after "m="
	attrs []string // after "a="
}

func (m media) attr(name string) string {
	for _, a := range m.attrs {
		if v, ok := strings.CutPrefix(a, name+":"); ok {
			return v
		}
	}
	return ""
}

// mrcp says whether this is an MRCPv2 control channel (RFC 6787 4.2).
func (m media) mrcp() bool {
	return strings.HasPrefix(m.line, "application ") && strings.Contains(m.line, "/MRCPv2")
}

// parseSDP reads the media of a session description and the session's address.
func parseSDP(body []byte) (parts []media, host string) {
	for line := range strings.SplitSeq(string(body), "\n") {
		line = strings.TrimRight(line, "\r")
		kind, value, _ := strings.Cut(line, "=")
		switch {
		case kind == "m":
			parts = append(parts, media{line: value})
		case kind == "a" && len(parts) > 0:
			last := &parts[len(parts)-1]
			last.attrs = append(last.attrs, value)
		case kind == "c" && host == "":
			if f := strings.Fields(value); len(f) == 3 {
				host = f[2]
			}
		}
	}
	return parts, host
}

// resources are the MRCP resources an offer asks for.
func resources(offer []media) []string {
	var out []string
	for _, m := range offer {
		if m.mrcp() {
			out = append(out, m.attr("resource"))
		}
	}
	return out
}

func sdpHead(owner string, ip netip.Addr) string {
	family := "IP4"
	if ip.Is6() {
		family = "IP6"
	}
	return fmt.Sprintf("v=0\r\no=%s %d %d IN %s %s\r\ns=-\r\nc=IN %s %s\r\nt=0 0\r\n",
		owner, rand.Uint64()>>1, rand.Uint64()>>1, family, ip, family, ip)
}

// answerSDP answers each media of the offer in its place (RFC 3264 6), as UniMRCP does. audioPort 0 stands for one that
// nothing listens at.
func answerSDP(offer []media, ip netip.Addr, mrcpPort uint16, audioPort int, channel string) []byte {
	if audioPort == 0 {
		audioPort = 20000 + 2*rand.IntN(5000)
	}
	var b strings.Builder
	b.WriteString(sdpHead("UniMRCPServer", ip))
	for _, m := range offer {
		f := strings.Fields(m.line)
		switch {
		case m.mrcp() && len(f) >= 3:
			fmt.Fprintf(&b, "m=application %d %s 1\r\na=setup:passive\r\na=connection:new\r\na=channel:%s@%s\r\na=cmid:%s\r\n",
				mrcpPort, f[2], channel, m.attr("resource"), m.attr("cmid"))
		case len(f) > 0 && f[0] == "audio":
			direction := "recvonly"
			if strings.Contains(strings.Join(m.attrs, "\n")+"\n", "recvonly\n") {
				direction = "sendonly"
			}
			fmt.Fprintf(&b, "m=audio %d RTP/AVP 0\r\na=rtpmap:0 PCMU/8000\r\na=%s\r\na=ptime:20\r\na=mid:%s\r\n",
				audioPort, direction, m.attr("mid"))
		default:
			b.WriteString("m=" + rejected(f) + "\r\n")
		}
	}
	return []byte(b.String())
}

// rejected is a media line with port 0.
func rejected(fields []string) string {
	if len(fields) > 1 {
		fields[1] = "0"
	}
	return strings.Join(fields, " ")
}

// offerSDP is what FreeSWITCH offers for a resource.
func offerSDP(ip netip.Addr, resource string) []byte {
	direction := "sendonly"
	if resource == "speechsynth" {
		direction = "recvonly"
	}
	return fmt.Appendf(nil, "%sm=application 9 TCP/MRCPv2 1\r\na=setup:active\r\na=connection:new\r\n"+
		"a=resource:%s\r\na=cmid:1\r\nm=audio %d RTP/AVP 0 8 96 101\r\na=rtpmap:0 PCMU/8000\r\n"+
		"a=rtpmap:8 PCMA/8000\r\na=rtpmap:96 L16/8000\r\na=rtpmap:101 telephone-event/8000\r\n"+
		"a=fmtp:101 0-15\r\na=%s\r\na=ptime:20\r\na=mid:1\r\n",
		sdpHead("Freeswitch", ip), resource, 32000+2*rand.IntN(5000), direction)
}

// optionsSDP is the body of UniMRCP's answer to OPTIONS.
func optionsSDP(ip netip.Addr) []byte {
	return []byte(sdpHead("UniMRCPServer", ip) +
		"m=application 0 TCP/MRCPv2 1\r\na=inactive\r\nm=audio 0 RTP/AVP 0 8 96 101\r\na=inactive\r\n")
}
