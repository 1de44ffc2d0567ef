package proxy

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
)

var update = flag.Bool("update", false, "write the golden files anew")

// What differs from run to run: our branches, cookies and tags. Each gets a number in the order of appearance, so that
// it shows where the same one comes again (an ACK's branch, both Record-Routes' cookie). It is the group of the expression.
var random = []struct {
	name string
	re   *regexp.Regexp
}{
	{"branch", regexp.MustCompile(`(z9hG4bKmqa\.z9hG4bKmq[0-9a-f]{34}|z9hG4bKmq[0-9a-f]{34}|z9hG4bKmqa[0-9a-f]{16})`)},
	{"cookie", regexp.MustCompile(`sip:([A-Za-z0-9_.-]{40,})@`)},
	{"tag", regexp.MustCompile(`(mq[0-9a-f]{16})`)},
}

// golden holds every byte that the proxy sent in a scene against testdata/golden.
func (l *lab) golden(name string) {
	l.Helper()
	seen := map[string]string{}
	var b strings.Builder
	for _, s := range l.net.sent {
		raw := string(s.raw)
		if strings.Count(raw, "\n") != strings.Count(raw, "\r\n") {
			l.Errorf("bare line end in %q", raw)
		}
		for _, r := range random {
			n := 0
			for _, v := range seen {
				if strings.HasPrefix(v, "{"+r.name) {
					n++
				}
			}
			raw = r.re.ReplaceAllStringFunc(raw, func(all string) string {
				text := r.re.FindStringSubmatch(all)[1]
				if seen[text] == "" {
					n++
					seen[text] = fmt.Sprintf("{%s %d}", r.name, n)
				}
				return strings.Replace(all, text, seen[text], 1)
			})
		}
		fmt.Fprintf(&b, "==== %v: %v to %v\n%s", s.at.Sub(l.start), s.flow.Proto, s.to, strings.ReplaceAll(raw, "\r\n", "\n"))
	}
	file := filepath.Join("testdata", "golden", name+".txt")
	if *update {
		if err := os.WriteFile(file, []byte(b.String()), 0o644); err != nil {
			l.Fatal(err)
		}
		return
	}
	want, err := os.ReadFile(file)
	if err != nil {
		l.Fatalf("%v (write it with go test -update)", err)
	}
	if string(want) != b.String() {
		l.Errorf("%s differs:\n%s", file, firstDifference(string(want), b.String()))
	}
}

func firstDifference(want, got string) string {
	w, g := strings.Split(want, "\n"), strings.Split(got, "\n")
	for i := range min(len(w), len(g)) {
		if w[i] != g[i] {
			return fmt.Sprintf("line %d: %q, want %q", i+1, g[i], w[i])
		}
	}
	return fmt.Sprintf("%d lines, want %d", len(g), len(w))
}
