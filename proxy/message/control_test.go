package message

import (
	"errors"
	"strings"
	"testing"
)

// TestControl: what another stack may read as a line end, or as the end of the text, is let pass where the grammar has it
// (RFC 3261 25.1 quoted-pair, TEXT-UTF8) and nowhere else.
func TestControl(t *testing.T) {
	start := func(line string) string {
		return strings.Replace(request(), "INVITE sip:10.0.0.9:8060 SIP/2.0", line, 1)
	}
	for _, c := range []struct {
		name string
		raw  string
		want error
	}{
		{"CR that would end a line elsewhere", request("Subject: x\rRoute: <sip:evil>"), ErrBareCR},
		{"CR before CRLF", request("Subject: x\r"), ErrBareCR},
		{"CR that would end the header section", request("Subject: x\r\r"), ErrBareCR},
		{"CR in a name", request("Sub\rject: x"), ErrBareCR},
		{"CR at the start of a line", request("\rSubject: x"), ErrBareCR},
		{"CR in a quoted string", with("From", "From: \"a\rb\" <sip:a@b>;tag=1"), ErrBareCR},
		{"CR in the start line", start("INVITE sip:a\r SIP/2.0"), ErrBareCR},
		{"CR behind the version", start("INVITE sip:a SIP/2.0\r"), ErrBareCR},
		{"CR in a fold", with("Call-ID", "Call-ID:", "\r c"), ErrBareCR},
		{"CR behind a fold", with("Call-ID", "Call-ID:", " c\r"), ErrBareCR},
		{"CR in an empty line's place", strings.TrimSuffix(request(), "\r\n") + "\r\r\n", ErrBareCR},
		{"CR among lines that end in LF", strings.ReplaceAll(request("Subject: x"), "\r\n", "\n"), nil},
		{"CR among lines that end in LF, one bare", strings.ReplaceAll(request("Subject: x\ry"), "\r\n", "\n"), ErrBareCR},
		{"CR behind a section without an end", strings.TrimSuffix(request("Subject: x\ry"), "\r\n"), ErrBareCR},
		{"CR in a fold that does not end", strings.TrimSuffix(request("Subject: x", " y"), "\n\r\n"), ErrUnterminated},
		{"CR in the body", with("Content-Length", "Content-Length: 3") + "a\rb", nil},
		{"CR in a response", strings.Replace(response("SIP/2.0/UDP a"), "CSeq", "X: \r\r\nCSeq", 1), ErrBareCR},
		{"CR and another fault", with("CSeq", "CSeq: 7\r BYE"), ErrBareCR}, // never to be repeated in an answer

		{"NUL in the method", start("INV\x00ITE sip:a SIP/2.0"), ErrNotSIP},
		{"NUL in the Request-URI", start("INVITE sip:a\x00b SIP/2.0"), ErrNUL},
		{"NUL in a reason phrase", strings.Replace(response("SIP/2.0/UDP a"), "OK", "O\x00K", 1), ErrNUL},
		{"NUL in the branch", with("Via", "Via: SIP/2.0/UDP a;branch=z9\x00"), ErrNUL},
		{"NUL in quotes in Via", with("Via", `Via: SIP/2.0/UDP a;x="\`+"\x00\""), ErrNUL},
		{"NUL in a lower Via", request("v : SIP/2.0/UDP a;branch=z9\x00"), ErrNUL},
		{"NUL in Call-ID", with("Call-ID", "Call-ID: a\x00b"), ErrNUL},
		{"NUL in a compact Call-ID", with("Call-ID", "i: a\x00b"), ErrNUL},
		{"NUL in CSeq", with("CSeq", "CSeq: 7 INVITE\x00"), ErrNUL},
		{"NUL in a name", request("Content-Length\x00: 5"), ErrNUL},
		{"NUL in a tag", with("From", "From: <sip:a@b>;tag=1\x002"), ErrNUL},
		{"NUL in an address", with("To", "t: <sip:a\x00@b>"), ErrNUL},
		{"NUL in an open quote", with("To", "To: <sip:a@b>;x=\"\x00"), ErrNUL},
		{"NUL in a quoted name", with("From", `From: "\`+"\x00\" <sip:a@b>;tag=1"), nil},
		{"NUL in a quoted parameter", with("To", "To: <sip:a@b>;x=\"\x00\";y=\"\""), nil},
		{"NUL in another field", request("X: \x00"), nil},
		{"NUL in the body", with("Content-Length", "Content-Length: 1") + "\x00", nil},
		{"NUL in a line without a colon", request("\x00"), ErrHeader},
	} {
		t.Run(c.name, func(t *testing.T) {
			var m Message
			if err := m.Scan([]byte(c.raw)); !errors.Is(err, c.want) || c.want == nil && err != nil {
				t.Errorf("%v, want %v", err, c.want)
			}
			checkSpans(t, &m)
			exercise(&m)
		})
	}
}

// TestTokenChar holds the bits against RFC 3261 25.1.
func TestTokenChar(t *testing.T) {
	const token = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-.!%*_+`'~"
	for c := range 256 {
		if want := strings.IndexByte(token, byte(c)) >= 0; tokenChar(byte(c)) != want {
			t.Errorf("%q: %v", byte(c), !want)
		}
	}
}
