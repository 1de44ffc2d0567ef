package transport

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// frames feeds data in pieces of the given sizes (the last one repeats) and
// returns what comes out: messages quoted, "ping", "broken".
func frames(t testing.TB, maxHeader, maxBody int, data []byte, sizes ...int) (out []string, f *framer) {
	t.Helper()
	f = newFramer(maxHeader, maxBody)
	for i := 0; len(data) > 0; i++ {
		room := f.space()
		if len(room) == 0 {
			t.Fatal("no space")
		}
		if limit := max(maxHeader+maxBody, keepBuffer); len(f.buf) > limit {
			t.Fatalf("buffer of %d bytes, limit %d", len(f.buf), limit)
		}
		n := copy(room[:min(len(room), max(1, sizes[min(i, len(sizes)-1)]))], data)
		data = data[n:]
		f.advance(n)
		for {
			ev, msg := f.next()
			switch ev {
			case evMessage:
				out = append(out, string(msg))
				continue
			case evPing:
				out = append(out, "ping")
				continue
			case evBroken:
				return append(out, "broken"), f
			}
			break
		}
	}
	return out, f
}

const startLine = "OPTIONS sip:a@b SIP/2.0\r\n"

func TestFrame(t *testing.T) {
	long := strings.Repeat("x", 300)
	cases := []struct {
		name, in string
		want     []string // "=": the whole input
		reason   string
	}{
		{"no length", startLine + "\r\n", []string{"="}, ""},
		{"length", startLine + "Content-Length: 3\r\n\r\nabc", []string{"="}, ""},
		{"response", "SIP/2.0 200 OK\r\nl:1\r\n\r\na", []string{"="}, ""},
		{"compact, spaces before colon", startLine + "l \t: 3\r\n\r\nabc", []string{"="}, ""},
		{"any case", startLine + "CONTENT-lengtH:003  \r\n\r\nabc", []string{"="}, ""},
		{"folded value", startLine + "Content-Length:\r\n  3\r\n\r\nabc", []string{"="}, ""},
		{"folded look-alike", startLine + "Subject: x\r\n Content-Length: 9\r\n\r\n", []string{"="}, ""},
		{"name that begins alike", startLine + "Content-Length-X: 9\r\nLang: 4\r\n\r\n", []string{"="}, ""},
		{"twice the same", startLine + "l: 1\r\nContent-Length: 1\r\n\r\na", []string{"="}, ""},
		{"bare LF", "OPTIONS sip:a SIP/2.0\nl: 2\n\nab", []string{"="}, ""},
		{"LF and CRLF", startLine + "l: 2\n\r\nab", []string{"="}, ""},
		{"other version", "OPTIONS sip:a SIP/7.0\r\n\r\n", []string{"="}, ""},
		{"line ends in front", "\r\n\n" + startLine + "\r\n", []string{startLine + "\r\n"}, ""},
		{"ping", "\r\n\r\n", []string{"ping"}, ""},
		{"pong", "\r\n", nil, ""},
		{"ping, message, ping, pong", "\r\n\r\n" + startLine + "\r\n\r\n\r\n\r\n", []string{"ping", startLine + "\r\n", "ping"}, ""},
		{"two", startLine + "l:1\r\n\r\na" + startLine + "\r\n", []string{startLine + "l:1\r\n\r\na", startLine + "\r\n"}, ""},
		{"blank line in the body", startLine + "l: 6\r\n\r\na\r\n\r\nb", []string{"="}, ""},
		{"half", startLine + "l: 2\r\n\r\na", nil, ""},

		{"not a number", startLine + "l: x\r\n\r\n", []string{"broken"}, "Content-Length is not a number"},
		{"negative", startLine + "l: -1\r\n\r\n", []string{"broken"}, "Content-Length is not a number"},
		{"two numbers", startLine + "l: 1 1\r\n\r\n", []string{"broken"}, "Content-Length is not a number"},
		{"empty", startLine + "l:\r\n\r\n", []string{"broken"}, "Content-Length is empty"},
		{"too large", startLine + "l: 65\r\n\r\n", []string{"broken"}, "Content-Length too large"},
		{"overflow", startLine + "l: 99999999999999999999999\r\n\r\n", []string{"broken"}, "Content-Length too large"},
		{"twice, differently", startLine + "l: 1\r\nl: 2\r\n\r\n", []string{"broken"}, "Content-Length given twice, differently"},
		{"header section too large", startLine + "X: " + long + "\r\n\r\n", []string{"broken"}, "header section too large"},
		{"endless line", long, []string{"broken"}, "header section too large"},
		{"length too small", startLine + "l: 1\r\n\r\nabc\r\n\r\n", []string{startLine + "l: 1\r\n\r\na", "broken"}, "no SIP start line"},
		{"HTTP", "GET / HTTP/1.1\r\n\r\n", []string{"broken"}, "no SIP start line"},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			if len(c.want) == 1 && c.want[0] == "=" {
				c.want = []string{c.in}
			}
			for _, size := range []int{1, 2, 3, 7, 1 << 20} {
				got, f := frames(t, 256, 64, []byte(c.in), size)
				if fmt.Sprintf("%q", got) != fmt.Sprintf("%q", c.want) {
					t.Errorf("pieces of %d: got %q, want %q", size, got, c.want)
				}
				if f.reason != c.reason {
					t.Errorf("pieces of %d: reason %q, want %q", size, f.reason, c.reason)
				}
			}
		})
	}
}

// A header section of exactly the limit is taken, one byte more is not.
func TestFrameHeaderLimit(t *testing.T) {
	for over := range 2 {
		pad := 256 + over - len(startLine) - len("X: \r\n\r\n")
		msg := startLine + "X: " + strings.Repeat("x", pad) + "\r\n\r\n"
		for _, size := range []int{1, 1000} {
			got, _ := frames(t, 256, 0, []byte(msg), size)
			if want := []string{msg, "broken"}[over]; len(got) != 1 || got[0] != want {
				t.Errorf("%d bytes in pieces of %d: got %q", len(msg), size, got)
			}
		}
	}
}

// The buffer grows for a large message and is given back after it.
func TestFrameBufferShrinks(t *testing.T) {
	big := []byte(fmt.Sprintf("%sl: 60000\r\n\r\n%s", startLine, strings.Repeat("x", 60000)))
	got, f := frames(t, 64<<10, 64<<10, append(big, big...), 1000)
	if len(got) != 2 || len(got[1]) != len(big) {
		t.Fatalf("got %d messages", len(got))
	}
	if f.space(); len(f.buf) > keepBuffer {
		t.Errorf("idle with a buffer of %d bytes", len(f.buf))
	}
}

// Whatever pieces a stream comes in, the same messages come out, and memory
// stays bounded.
func FuzzFrame(f *testing.F) {
	f.Add([]byte(startLine+"l: 3\r\n\r\nabc\r\n\r\nSIP/2.0 200 OK\r\nContent-Length :\r\n 1\r\n\r\nx"), []byte{1, 9, 3})
	f.Add([]byte("\n\r\n\r\n\r\nOPTIONS sip:a SIP/2.0\n\n\r\nx SIP/2.0\r\n \r\nl:1\r\nl:2\r\n\r\n"), []byte{2})
	f.Add(bytes.Repeat([]byte(startLine+"l:50\r\n\r\n"+strings.Repeat("\r\n", 25)), 30), []byte{255, 1})
	f.Add([]byte(startLine+"X: "+strings.Repeat("x", 300)+"\r\nl:x\r\n\r\n"), []byte{254})
	captures, err := filepath.Glob("../message/testdata/*tcp*.sip")
	if err != nil || len(captures) == 0 {
		f.Fatal("no captures", err)
	}
	var stream []byte // as they would follow each other on a connection
	for i, name := range captures {
		b, err := os.ReadFile(name)
		if err != nil {
			f.Fatal(err)
		}
		stream = append(stream, b...)
		f.Add(stream[max(0, len(stream)-4096):], []byte{byte(i), 20, byte(7 * i)})
	}
	f.Fuzz(func(t *testing.T, data, pieces []byte) {
		head, body := 256, 64
		if len(data) > 1024 {
			head, body = 2048, 1024
		}
		sizes := []int{1}
		for _, p := range pieces {
			sizes = append(sizes, int(p)*int(p))
		}
		whole, _ := frames(t, head, body, data, 1<<20)
		pieced, _ := frames(t, head, body, data, sizes...)
		if fmt.Sprintf("%q", whole) != fmt.Sprintf("%q", pieced) {
			t.Errorf("whole %q, pieced %q", whole, pieced)
		}
		for _, msg := range whole {
			if len(msg) > head+body {
				t.Errorf("message of %d bytes", len(msg))
			}
		}
	})
}

func BenchmarkFrame(b *testing.B) {
	msg := []byte(startLine + strings.Repeat("Via: SIP/2.0/TCP 10.0.0.1:5060;branch=z9hG4bKabcdef\r\n", 12) +
		"Content-Length: 300\r\n\r\n" + strings.Repeat("x", 300))
	f := newFramer(64<<10, 64<<10)
	b.SetBytes(int64(len(msg)))
	b.ReportAllocs()
	for b.Loop() {
		f.advance(copy(f.space(), msg))
		if ev, _ := f.next(); ev != evMessage {
			b.Fatal(ev)
		}
	}
}
