package proxy

import (
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
)

// torture has what becomes of each message of RFC 4475 here, with a route that takes every INVITE: "relayed", "dropped", or
// the code of our answer. docs/rfc4475.md gives the reasons, and must say the same.
var torture = map[string]string{
	"wsinv": "481", "intmeth": "403", "esc01": "relayed", "escnull": "403", "esc02": "403", "lwsdisp": "503", "longreq": "relayed", "dblreq": "403",
	"semiuri": "503", "transports": "503", "mpart01": "403", "unreason": "dropped", "noreason": "dropped",

	"badinv01": "400", "clerr": "400", "ncl": "400", "scalar02": "400", "scalarlg": "dropped", "quotbal": "400", "ltgtruri": "400", "lwsruri": "400",
	"lwsstart": "400", "trws": "400", "escruri": "400", "baddate": "relayed", "regbadct": "403", "badaspec": "503", "baddn": "400", "badvers": "505",
	"mismatch01": "400", "mismatch02": "501", "bigcode": "dropped",

	"badbranch": "503",

	"insuf": "400", "unkscm": "416", "novelsc": "416", "unksm2": "403", "bext01": "420", "invut": "relayed", "regaut01": "403", "multi01": "400",
	"mcl01": "400", "bcast": "dropped", "zeromf": "503", "cparam01": "403", "cparam02": "403", "regescrt": "403", "sdp01": "relayed",

	"inv2543": "relayed",
}

// repeated are the header lines that a response takes from its request (RFC 3261 8.2.6.2), in any form, folds left out.
var repeated = regexp.MustCompile(`(?im)^(via|v|from|f|to|t|call-id|i|cseq)[ \t]*:.*\r\n`)

// twice has the fields of 3.3.8 that are there a second time: an answer repeats the first.
const twice = "CSeq: 59 INVITE Call-ID: multi01.98asdh@192.0.2.2 To: sip:other@example.net From: sip:caller@example.net;tag=2923420123"

// TestTorture sends each message of RFC 4475 through the engine, as a datagram from an allowed client.
func TestTorture(t *testing.T) {
	files, err := filepath.Glob("message/testdata/rfc4475/*.dat")
	if err != nil || len(files) != len(torture) {
		t.Errorf("%d files, %d verdicts: %v", len(files), len(torture), err)
	}
	for name, want := range torture {
		t.Run(name, func(t *testing.T) {
			raw, err := os.ReadFile(filepath.Join("message/testdata/rfc4475", name+".dat"))
			if err != nil {
				t.Fatal(err)
			}
			head, _, _ := strings.Cut(string(raw), "\r\n\r\n")
			lines := repeated.FindAllString(head+"\r\n", -1)
			inLab(t, setup{}, func(l *lab) {
				c, srv := l.udp("203.0.113.7:5060"), l.udp(serverA)
				c.sendRaw(string(raw))
				text := l.only()
				switch {
				case text == "":
					text = "dropped"
				case strings.HasPrefix(text, "INVITE "):
					l.tortureRelayed(c, srv, string(raw), text)
					text = "relayed"
				default:
					for _, line := range lines {
						line, _, _ = strings.Cut(line, ",") // what we note in the topmost Via comes before the next value
						if line = strings.TrimSpace(line); !strings.Contains(text, line) && !strings.Contains(twice, line) {
							t.Errorf("%q is not in\n%s", line, text)
						}
					}
					text = strings.TrimPrefix(text, "SIP/2.0 ")[:3]
				}
				if text != want {
					t.Errorf("%s, want %s", text, want)
				}
			})
		})
	}
}

// only is the one message that the proxy has sent; "" when it has sent none.
func (l *lab) only() string {
	l.Helper()
	l.fence.Add(1)
	text := ""
	for _, s := range l.net.sent {
		if s.taken {
			continue
		}
		if text != "" {
			l.Fatalf("a second message:\n%s", s.raw)
		}
		s.taken, text = true, string(s.raw)
	}
	return text
}

// tortureRelayed: the INVITE that went out ends as the one that came in, carries our Via and Record-Route, and is answered
// back through us.
func (l *lab) tortureRelayed(c, srv *peer, in, out string) {
	l.Helper()
	inHead, inBody, _ := strings.Cut(in, "\r\n\r\n")
	outHead, outBody, _ := strings.Cut(out, "\r\n\r\n")
	if !strings.HasPrefix(inBody, outBody) || !regexp.MustCompile(`\r\n(?i:content-length|l) *: *`+strconv.Itoa(len(outBody))+`\r\n`).MatchString(outHead+"\r\n") {
		l.Errorf("body or its length changed:\n%s", out)
	}
	if !strings.Contains(outHead, "\r\nVia: SIP/2.0/UDP 127.0.0.110:5060;branch="+mark) || strings.Count(outHead, "\r\nRecord-Route: <sip:") != strings.Count(inHead, "\r\nRecord-Route:")+1 {
		l.Errorf("not by us:\n%s", out)
	}
	answer := strings.Join(repeated.FindAllString(outHead+"\r\n", -1), "")
	srv.sendRaw("SIP/2.0 488 Not Acceptable Here\r\n" + answer + "Content-Length: 0\r\n\r\n")
	for _, s := range l.net.sent { // the answer on its way to the client, and the ACK to the server
		if text := string(s.raw); s.to == c.addr && strings.HasPrefix(text, "SIP/2.0 488 ") && !strings.Contains(text, mark) {
			answer = ""
		}
		s.taken = true
	}
	if answer != "" {
		l.Error("the answer did not come back")
	}
}

// TestTortureDoc holds docs/rfc4475.md against the table above.
func TestTortureDoc(t *testing.T) {
	doc, err := os.ReadFile("../docs/rfc4475.md")
	if err != nil {
		t.Fatal(err)
	}
	n := 0
	for _, r := range regexp.MustCompile("(?m)^\\| 3\\.[0-9.]+ \\| `(\\w+)` \\|.*\\| (\\w+)([:,.][^|]*)? \\|$").FindAllStringSubmatch(string(doc), -1) {
		n++
		if want := torture[r[1]]; r[2] != want {
			t.Errorf("row %q, want %s", r[0], want)
		}
	}
	if n != len(torture) {
		t.Errorf("%d rows, want %d", n, len(torture))
	}
}
