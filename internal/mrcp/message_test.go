package mrcp

import (
	"errors"
	"io"
	"reflect"
	"strconv"
	"strings"
	"testing"
	"testing/iotest"
)

// crlf writes a message of the tests, whose lines end in LF, as it goes on the wire.
func crlf(s string) string { return strings.ReplaceAll(s, "\n", "\r\n") }

// golden are messages with their bytes.
var golden = []struct {
	name string
	wire string
	m    Message
}{
	{"event", crlf("MRCP/2.0 164 SPEAK-COMPLETE 543257 COMPLETE\nChannel-Identifier: 32AECB23433802@speechsynth\n" +
		"Completion-Cause: 000 normal\nSpeech-Marker: timestamp=857206027059\n\n"),
		Message{Kind: Event, Name: SpeakComplete, RequestID: 543257, State: Complete, Header: Header{
			{ChannelIdentifier, "32AECB23433802@speechsynth"}, {CompletionCause, "000 normal"}, {"Speech-Marker", "timestamp=857206027059"}}}},
	{"request", crlf("MRCP/2.0 78 GET-PARAMS 1\nChannel-Identifier: 43cf1c1757314a15@speechrecog\n\n"),
		Message{Kind: Request, Name: GetParams, RequestID: 1, Header: Header{{ChannelIdentifier, "43cf1c1757314a15@speechrecog"}}}},
	{"response", crlf("MRCP/2.0 89 4294967295 407 COMPLETE\nChannel-Identifier: 43cf1c1757314a15@speechrecog\n\n"),
		Message{Kind: Response, RequestID: 4294967295, Status: 407, State: Complete, Header: Header{{ChannelIdentifier, "43cf1c1757314a15@speechrecog"}}}},
	{"body", crlf("MRCP/2.0 125 SPEAK 2\nChannel-Identifier: d008206481204ed0@speechsynth\nContent-Type: text/plain\nContent-Length: 6\n\n") + "hi\r\n\r\n",
		Message{Kind: Request, Name: Speak, RequestID: 2, Body: []byte("hi\r\n\r\n"), Header: Header{
			{ChannelIdentifier, "d008206481204ed0@speechsynth"}, {ContentType, "text/plain"}, {ContentLength, "6"}}}},
	{"no header", crlf("MRCP/2.0 23 STOP 10\n\n"), Message{Kind: Request, Name: Stop, RequestID: 10}},
}

func TestGolden(t *testing.T) {
	for _, g := range golden {
		if b, err := g.m.Append([]byte("x")); err != nil || string(b) != "x"+g.wire {
			t.Errorf("%s: written, %v:\n%q\nwant\n%q", g.name, err, b, g.wire)
		}
		m, n, err := Parse([]byte(g.wire + "MRCP"))
		if err != nil || n != len(g.wire) || !reflect.DeepEqual(*m, g.m) {
			t.Errorf("%s: read %d of %d bytes, %v: %+v", g.name, n, len(g.wire), err, m)
		}
	}
}

// TestLengthCountsItself: message-length counts its own digits (RFC 6787 5.1), also where they become more by that.
func TestLengthCountsItself(t *testing.T) {
	for size := range 1100 {
		m := Message{Kind: Request, Name: "M" + strings.Repeat("x", size), RequestID: 1}
		b, err := m.Append(nil)
		if err != nil {
			t.Fatal(err)
		}
		if n, err := Length(b); err != nil || n != len(b) {
			t.Fatalf("%d bytes say %d, %v", len(b), n, err)
		}
	}
}

// TestTolerance: what others write and can be understood.
func TestTolerance(t *testing.T) {
	for name, wire := range map[string]string{
		"bare LF":         "MRCP/2.0 LEN START-OF-INPUT 7 IN-PROGRESS\nChannel-Identifier:1@speechrecog\nInput-Type : speech \n\n",
		"folded":          "MRCP/2.0 LEN START-OF-INPUT 7 IN-PROGRESS\r\nChannel-Identifier:\r\n 1@speechrecog\r\ninput-type:\tspeech\r\n\r\n",
		"no length given": "MRCP/2.0 LEN START-OF-INPUT 7 IN-PROGRESS\r\nChannel-Identifier: 1@speechrecog\r\nINPUT-TYPE: speech\r\n\r\nbody",
	} {
		m, _, err := Parse(sized(wire))
		if err != nil || m.Kind != Event || m.Header.Get("channel-identifier") != "1@speechrecog" || m.Header.Get("Input-Type") != "speech" || m.Header.Get("None") != "" {
			t.Errorf("%s: %v, %+v", name, err, m)
		}
		if body := map[bool]string{true: "body"}[strings.HasSuffix(wire, "body")]; err == nil && string(m.Body) != body {
			t.Errorf("%s: body %q", name, m.Body)
		}
	}
}

// sized puts the length in the place of LEN.
func sized(wire string) []byte {
	n := messageLength(len(wire) - 3)
	return []byte(strings.Replace(wire, "LEN", strconv.Itoa(n), 1))
}

func TestRefused(t *testing.T) {
	for wire, want := range map[string]error{
		"":                                                      ErrShort,
		"MRC":                                                   ErrShort,
		"MRCP/2.0 12":                                           ErrShort,
		"MRCP/2.0 20 STOP":                                      ErrShort,
		"HTTP/1.1 200 OK\r\n\r\n":                               ErrSyntax,
		"MRCP/1.0 23 STOP 10\r\n\r\n":                           ErrSyntax,
		"MRCP/2.0 x STOP 10\r\n\r\n":                            ErrSyntax,
		"MRCP/2.0 00000000000000 STOP":                          ErrSyntax,
		"MRCP/2.0 9 STOP 10\r\n\r\n":                            ErrSyntax,
		"MRCP/2.0 1048577 STOP 10\r\n\r\n":                      ErrTooLong,
		"MRCP/2.0 99999999999 STOP":                             ErrSyntax,
		"MRCP/2.0 17 STOP 1":                                    ErrSyntax, // no end of line
		"MRCP/2.0 LEN STOP 1\r\nA: b\r\n":                       ErrSyntax, // no end of header
		"MRCP/2.0 LEN STOP\r\n\r\n":                             ErrSyntax,
		"MRCP/2.0 LEN STOP -1\r\n\r\n":                          ErrSyntax,
		"MRCP/2.0 LEN STOP 4294967296\r\n\r\n":                  ErrSyntax,
		"MRCP/2.0 LEN ST()P 1\r\n\r\n":                          ErrSyntax,
		"MRCP/2.0 LEN 1 2000 COMPLETE\r\n\r\n":                  ErrSyntax,
		"MRCP/2.0 LEN 1 200 DONE\r\n\r\n":                       ErrSyntax,
		"MRCP/2.0 LEN 1 200 PENDING x\r\n\r\n":                  ErrSyntax,
		"MRCP/2.0 LEN STOP 1\r\nA b\r\n\r\n":                    ErrSyntax,
		"MRCP/2.0 LEN STOP 1\r\n: b\r\n\r\n":                    ErrSyntax,
		"MRCP/2.0 LEN STOP 1\r\nContent-Length: 5\r\n\r\nfour":  ErrSyntax,
		"MRCP/2.0 LEN STOP 1\r\nContent-Length: -1\r\n\r\nfour": ErrSyntax,
	} {
		b := []byte(wire)
		if strings.Contains(wire, "LEN") {
			b = sized(wire)
		}
		if m, _, err := Parse(b); !errors.Is(err, want) {
			t.Errorf("%q: %v, %+v, want %v", b, err, m, want)
		}
	}
	for _, m := range []Message{
		{Kind: Request, Name: "GET PARAMS"}, {Kind: Request}, {Kind: Response, Status: 99, State: Complete}, {Kind: Response, Status: 200},
		{Kind: Event, Name: StartOfInput, State: "DONE"}, {Kind: Request, Name: Stop, Header: Header{{"A", "b\r\nC: d"}}},
		{Kind: Request, Name: Stop, Header: Header{{"A:", "b"}}}, {Kind: Request, Name: Stop, Header: Header{{"A", " b"}}},
	} {
		if b, err := m.Append(nil); err == nil || len(b) > 0 {
			t.Errorf("%+v was written: %q", m, b)
		}
	}
}

// TestReader cuts messages off a stream, in whatever pieces it comes.
func TestReader(t *testing.T) {
	var stream strings.Builder
	for _, g := range golden {
		stream.WriteString(g.wire)
	}
	for _, src := range []io.Reader{strings.NewReader(stream.String()), iotest.OneByteReader(strings.NewReader(stream.String()))} {
		r := NewReader(src)
		for _, g := range golden {
			if m, err := r.Read(); err != nil || !reflect.DeepEqual(*m, g.m) {
				t.Errorf("%s: %v, %+v", g.name, err, m)
			}
		}
		if _, err := r.Read(); err != io.EOF {
			t.Errorf("at the end: %v", err)
		}
	}
	for text, want := range map[string]error{
		golden[0].wire[:5]: io.ErrUnexpectedEOF, golden[0].wire[:100]: io.ErrUnexpectedEOF, "SSH-2.0-OpenSSH\r\n": ErrSyntax,
	} {
		if _, err := NewReader(strings.NewReader(text)).Read(); !errors.Is(err, want) {
			t.Errorf("%q: %v, want %v", text, err, want)
		}
	}
}

func TestCause(t *testing.T) {
	for value, want := range map[string]struct {
		code int
		word string
		ok   bool
	}{
		"000 success": {0, "success", true}, "006  recognizer-error": {6, "recognizer-error", true}, "15": {15, "", true},
		"": {}, "success": {0, "", false},
	} {
		m := Message{Header: Header{{CompletionCause, value}}}
		if code, word, ok := m.Cause(); code != want.code || word != want.word || ok != want.ok {
			t.Errorf("%q: %d %q %v", value, code, word, ok)
		}
	}
}

// TestVocabulary: every word can stand in a message, and none is there twice.
func TestVocabulary(t *testing.T) {
	for _, resource := range []string{SpeechRecog, SpeechSynth} {
		v, ok := Of(resource)
		if !ok || len(v.Causes) == 0 {
			t.Fatal(resource)
		}
		seen := map[string]bool{}
		for _, name := range append(append(append([]string{}, v.Methods...), v.Events...), v.Headers...) {
			if seen[strings.ToLower(name)] && name != StartInputTimersHeader && name != "Speech-Marker" || !isToken(name) {
				t.Errorf("%s: %s", resource, name)
			}
			seen[strings.ToLower(name)] = true
		}
		for _, name := range v.Methods {
			m := Message{Kind: Request, Name: name, RequestID: 1}
			b, err := m.Append(nil)
			if got, _, perr := Parse(b); err != nil || perr != nil || got.Name != name || got.Kind != Request {
				t.Errorf("%s: %v, %v", name, err, perr)
			}
		}
	}
	if _, ok := Of("speakverify"); ok {
		t.Error("speakverify is spoken")
	}
	for code := range 600 {
		if StatusText(code) != "" && code/100 != 2 && code/100 != 4 && code/100 != 5 {
			t.Errorf("status %d", code)
		}
	}
	if StatusText(407) != "method or operation failed" || Event.String() != "event" || Request.String() != "request" || Response.String() != "response" || Kind(9).String() != "kind(9)" {
		t.Error("names")
	}
}

// FuzzParse: nothing makes it panic, and what was understood is the same when it is written and read again.
func FuzzParse(f *testing.F) {
	for _, g := range golden {
		f.Add([]byte(g.wire))
	}
	f.Add(sized("MRCP/2.0 LEN START-OF-INPUT 7 IN-PROGRESS\nA:\n 1\n\nbody"))
	f.Fuzz(func(t *testing.T, b []byte) {
		m, n, err := Parse(b)
		if err != nil {
			return
		}
		if n > len(b) || n > MaxLength {
			t.Fatalf("took %d of %d bytes", n, len(b))
		}
		out, err := m.Append(nil)
		if err != nil {
			return // a control character in a value
		}
		again, k, err := Parse(out)
		if err != nil || k != len(out) || again.Name != m.Name || again.Status != m.Status || again.RequestID != m.RequestID || again.State != m.State ||
			string(again.Body) != string(m.Body) {
			t.Fatalf("%q\n%q: %v, %+v, was %+v", b, out, err, again, m)
		}
	})
}
