package message

import (
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
)

// fixtures are the captured messages by name: FreeSWITCH, the UniMRCP client and server, and a proxy between them.
func fixtures(t testing.TB) map[string][]byte {
	t.Helper()
	names, err := filepath.Glob("testdata/*.sip")
	if err != nil || len(names) == 0 {
		t.Fatalf("no fixtures: %v", err)
	}
	all := make(map[string][]byte, len(names))
	for _, n := range names {
		all[strings.TrimSuffix(filepath.Base(n), ".sip")] = read(t, n)
	}
	return all
}

func fixture(t testing.TB, name string) []byte {
	t.Helper()
	return read(t, "testdata/"+name+".sip")
}

func read(t testing.TB, path string) []byte {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func mustScan(t testing.TB, raw string) *Message {
	t.Helper()
	var m Message
	// Without spare capacity, reading behind the end cannot go unnoticed.
	b := append(make([]byte, 0, len(raw)), raw...)
	if err := m.Scan(b[:len(b):len(b)]); err != nil {
		t.Fatalf("scan: %v\n%s", err, raw)
	}
	checkSpans(t, &m)
	return &m
}

// lines joins header lines and ends the header section.
func lines(l ...string) string { return strings.Join(l, "\r\n") + "\r\n\r\n" }

// request is a small request with the header lines added behind its own.
func request(extra ...string) string {
	return lines(append([]string{
		"INVITE sip:10.0.0.9:8060 SIP/2.0",
		"Via: SIP/2.0/UDP 10.0.0.1:5090;branch=z9hG4bKa",
		"Max-Forwards: 70",
		"From: <sip:10.0.0.1:5090>;tag=f",
		"To: <sip:10.0.0.9:8060>",
		"Call-ID: c@x",
		"CSeq: 7 INVITE",
		"Content-Length: 0",
	}, extra...)...)
}

// with is request with the first line that begins with prefix replaced; no lines at all take it out.
func with(prefix string, by ...string) string {
	var out []string
	for _, l := range strings.Split(strings.TrimSuffix(request(), "\r\n\r\n"), "\r\n") {
		if strings.HasPrefix(l, prefix) {
			out = append(out, by...)
			continue
		}
		out = append(out, l)
	}
	return lines(out...)
}

// checkSpans walks all positions that the scan has set: each must lie within Raw.
func checkSpans(t testing.TB, m *Message) {
	t.Helper()
	limit := int64(len(m.Raw))
	var walk func(path string, v reflect.Value)
	walk = func(path string, v reflect.Value) {
		switch v.Kind() {
		case reflect.Struct:
			if v.Type() == reflect.TypeFor[Span]() {
				if off, end := v.Field(0).Int(), v.Field(1).Int(); off < 0 || end < off || end > limit {
					t.Errorf("%s is [%d:%d] of %d bytes", path, off, end, limit)
				}
				return
			}
			for i := range v.NumField() {
				walk(path+"."+v.Type().Field(i).Name, v.Field(i))
			}
		case reflect.Array:
			for i := range v.Len() {
				walk(path+"[]", v.Index(i))
			}
		}
	}
	walk("", reflect.ValueOf(m).Elem())
	if m.Headers < 0 || m.Headers > len(m.Raw) || m.Body < 0 || m.Body > m.End || m.End > len(m.Raw) || m.Via.Next > len(m.Raw) {
		t.Errorf("headers %d, body %d, end %d, next Via %d of %d bytes", m.Headers, m.Body, m.End, m.Via.Next, len(m.Raw))
	}
}

func equal(t testing.TB, what, got, want string) {
	t.Helper()
	if got != want {
		t.Errorf("%s:\n got %q\nwant %q", what, got, want)
	}
}
