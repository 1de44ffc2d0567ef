package probe

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"

	"github.com/pion/sdp/v3"

	"mrcproxy/internal/mrcp"
)

// offer is what FreeSWITCH offers for a resource (RFC 6787 4.2): a control channel that we will open, and audio towards a
// recogniser or from a synthesiser.
func offer(local netip.Addr, port int, resource string, id uint64) ([]byte, error) {
	family, direction := "IP4", "sendonly"
	if local.Is6() {
		family = "IP6"
	}
	if resource == mrcp.SpeechSynth {
		direction = "recvonly"
	}
	d := sdp.SessionDescription{
		Origin:                sdp.Origin{Username: "mrcproxy", SessionID: id, SessionVersion: id, NetworkType: "IN", AddressType: family, UnicastAddress: local.String()},
		SessionName:           "-",
		ConnectionInformation: &sdp.ConnectionInformation{NetworkType: "IN", AddressType: family, Address: &sdp.Address{Address: local.String()}},
		TimeDescriptions:      []sdp.TimeDescription{{}},
		MediaDescriptions: []*sdp.MediaDescription{
			{
				MediaName: sdp.MediaName{Media: "application", Port: sdp.RangedPort{Value: 9}, Protos: []string{"TCP", "MRCPv2"}, Formats: []string{"1"}},
				Attributes: []sdp.Attribute{{Key: "setup", Value: "active"}, {Key: "connection", Value: "new"}, {Key: "resource", Value: resource},
					{Key: "cmid", Value: "1"}},
			},
			{
				MediaName: sdp.MediaName{Media: "audio", Port: sdp.RangedPort{Value: port}, Protos: []string{"RTP", "AVP"}, Formats: []string{"0", "8"}},
				Attributes: []sdp.Attribute{{Key: "rtpmap", Value: "0 PCMU/8000"}, {Key: "rtpmap", Value: "8 PCMA/8000"}, {Key: direction},
					{Key: "ptime", Value: "20"}, {Key: "mid", Value: "1"}},
			},
		},
	}
	return d.Marshal()
}

// answer is what a server's SDP says.
type answer struct {
	control netip.AddrPort // where MRCP is to be connected to
	channel string         // the channel identifier
	audio   netip.AddrPort
	payload byte
}

// parseAnswer reads the answer to offer. An answer without audio of ours is an error only where wantAudio is set.
func parseAnswer(body []byte, wantAudio bool) (a answer, err error) {
	var d sdp.SessionDescription
	if err := d.Unmarshal(body); err != nil {
		return a, fmt.Errorf("SDP answer: %w", err)
	}
	for _, m := range d.MediaDescriptions {
		switch {
		case m.MediaName.Media == "application" && slices.Contains(m.MediaName.Protos, "MRCPv2") && a.channel == "":
			if a.control, err = address(&d, m); err != nil {
				return a, fmt.Errorf("control channel: %w", err)
			}
			if a.channel, _ = m.Attribute("channel"); a.channel == "" {
				return a, errors.New("control channel: no a=channel")
			}
		case m.MediaName.Media == "audio" && !a.audio.IsValid():
			if a.audio, err = address(&d, m); err != nil && wantAudio {
				return a, fmt.Errorf("audio: %w", err)
			}
			a.payload = payloadOf(m)
		}
	}
	switch {
	case a.channel == "":
		return a, errors.New("no control channel")
	case wantAudio && (!a.audio.IsValid() || a.payload != pcmu && a.payload != pcma):
		return a, errors.New("no audio in PCMU or PCMA")
	}
	return a, nil
}

// payloadOf is the first of the formats that is ours.
func payloadOf(m *sdp.MediaDescription) byte {
	for _, f := range m.MediaName.Formats {
		if n, err := strconv.ParseUint(f, 10, 8); err == nil && (n == pcmu || n == pcma) {
			return byte(n)
		}
	}
	return 0xff
}

// address is where a medium is served: the connection address of its own, or the session's (RFC 4566 5.7).
func address(d *sdp.SessionDescription, m *sdp.MediaDescription) (netip.AddrPort, error) {
	c := m.ConnectionInformation
	if c == nil {
		c = d.ConnectionInformation
	}
	port := m.MediaName.Port.Value
	switch {
	case port <= 0 || port > 65535:
		return netip.AddrPort{}, errors.New("refused by port 0")
	case c == nil || c.Address == nil:
		return netip.AddrPort{}, errors.New("no c= line")
	}
	host, _, _ := strings.Cut(c.Address.Address, "/")
	ip, err := netip.ParseAddr(host)
	if err != nil || ip.IsUnspecified() {
		return netip.AddrPort{}, fmt.Errorf("no usable address in c=%s", c.Address.Address)
	}
	return netip.AddrPortFrom(ip.Unmap(), uint16(port)), nil
}
