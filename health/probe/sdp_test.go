package probe

import (
	"net/netip"
	"strings"
	"testing"

	"mrcproxy/internal/mrcp"
)

// TestOffer: what FreeSWITCH offers, as far as it matters, byte for byte.
func TestOffer(t *testing.T) {
	const want = "v=0\r\no=mrcproxy 7 7 IN IP4 10.1.0.5\r\ns=-\r\nc=IN IP4 10.1.0.5\r\nt=0 0\r\n" +
		"m=application 9 TCP/MRCPv2 1\r\na=setup:active\r\na=connection:new\r\na=resource:speechrecog\r\na=cmid:1\r\n" +
		"m=audio 20000 RTP/AVP 0 8\r\na=rtpmap:0 PCMU/8000\r\na=rtpmap:8 PCMA/8000\r\na=sendonly\r\na=ptime:20\r\na=mid:1\r\n"
	b, err := offer(netip.MustParseAddr("10.1.0.5"), 20000, mrcp.SpeechRecog, 7)
	if err != nil || string(b) != want {
		t.Errorf("%v\n%s\nwant\n%s", err, b, want)
	}
	b, err = offer(netip.MustParseAddr("2001:db8::5"), 20000, mrcp.SpeechSynth, 7)
	if err != nil || !strings.Contains(string(b), "c=IN IP6 2001:db8::5\r\n") || !strings.Contains(string(b), "a=recvonly\r\n") {
		t.Errorf("%v\n%s", err, b)
	}
}

// unimrcp is the answer of UniMRCP 1.8.0.
const unimrcp = "v=0\r\no=UniMRCPServer 6188941529749734435 2306220602014213364 IN IP4 192.0.2.2\r\ns=-\r\nc=IN IP4 127.0.0.11\r\nt=0 0\r\n" +
	"m=application 1544 TCP/MRCPv2 1\r\na=setup:passive\r\na=connection:new\r\na=channel:43cf1c1757314a15@speechrecog\r\na=cmid:1\r\n" +
	"m=audio 20020 RTP/AVP 0 101\r\na=rtpmap:0 PCMU/8000\r\na=rtpmap:101 telephone-event/8000\r\na=fmtp:101 0-15\r\na=recvonly\r\na=ptime:20\r\na=mid:1\r\n"

func TestAnswer(t *testing.T) {
	for name, c := range map[string]struct {
		old, new string // what is changed in UniMRCP's answer
		want     string // control, channel, audio, payload; or the error
	}{
		"as it is":           {"", "", "127.0.0.11:1544 43cf1c1757314a15@speechrecog 127.0.0.11:20020 0"},
		"of its own":         {"m=audio 20020 RTP/AVP 0 101\r\n", "m=audio 20020 RTP/AVP 101 8\r\nc=IN IP4 127.0.0.12\r\n", "127.0.0.11:1544 43cf1c1757314a15@speechrecog 127.0.0.12:20020 8"},
		"control refused":    {"application 1544", "application 0", "control channel: refused by port 0"},
		"audio refused":      {"audio 20020", "audio 0", "audio: refused by port 0"},
		"no channel":         {"a=channel:43cf1c1757314a15@speechrecog\r\n", "", "control channel: no a=channel"},
		"no address":         {"c=IN IP4 127.0.0.11\r\n", "", "control channel: no c= line"},
		"on hold":            {"c=IN IP4 127.0.0.11\r\n", "c=IN IP4 0.0.0.0\r\n", "control channel: no usable address in c=0.0.0.0"},
		"a name":             {"c=IN IP4 127.0.0.11\r\n", "c=IN IP4 asr.example.com\r\n", "control channel: no usable address in c=asr.example.com"},
		"no MRCP":            {"TCP/MRCPv2", "TCP/BFCP", "no control channel"},
		"no codec":           {"RTP/AVP 0 101", "RTP/AVP 96 101", "no audio in PCMU or PCMA"},
		"no SDP at all":      {unimrcp, "hello", "SDP answer: "},
		"nothing whatsoever": {unimrcp, "", "no control channel"},
	} {
		a, err := parseAnswer([]byte(strings.Replace(unimrcp, c.old, c.new, 1)), true)
		var got string
		if err != nil {
			got = err.Error()
		} else {
			got = a.control.String() + " " + a.channel + " " + a.audio.String() + " " + string('0'+a.payload)
		}
		if got != c.want && !(strings.HasSuffix(c.want, ": ") && strings.HasPrefix(got, c.want)) {
			t.Errorf("%s: %q, want %q", name, got, c.want)
		}
	}
	if _, err := parseAnswer([]byte(strings.Replace(unimrcp, "audio 20020", "audio 0", 1)), false); err != nil {
		t.Errorf("without need of audio: %v", err)
	}
}

// FuzzAnswer: a server can answer whatever it likes.
func FuzzAnswer(f *testing.F) {
	f.Add([]byte(unimrcp))
	f.Fuzz(func(t *testing.T, b []byte) {
		if a, err := parseAnswer(b, true); err == nil && (!a.control.IsValid() || !a.audio.IsValid() || a.channel == "") {
			t.Errorf("%+v", a)
		}
	})
}
