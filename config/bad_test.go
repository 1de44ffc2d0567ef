package config

import (
	"flag"
	"os"
	"strings"
	"testing"
)

var update = flag.Bool("update", false, "write the expected files anew")

const (
	someListen   = "\nlisten: [\"udp://10.9.9.9:5060\"]"
	someClusters = "\nclusters: [{name: c1, groups: [{backends: [{uri: \"sip:10.1.1.1\"}]}]}]"
)

// TestBad holds every fault the package refuses, with the exact text of the errors.
func TestBad(t *testing.T) {
	const file = "testdata/bad.txt"
	data, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	cases := strings.Split(string(data), "\n=== ")
	for i, text := range cases[1:] {
		name, body, _ := strings.Cut(text, "\n")
		input, want, ok := strings.Cut(body+"\n", "\n---\n")
		if !ok {
			t.Fatalf("case %q has no ---", name)
		}
		t.Run(name, func(t *testing.T) {
			clearEnv(t)
			c, err := Parse("f.yaml", badInput(t, input))
			if err == nil || c != nil {
				t.Fatalf("Parse = %v, %v; want an error alone", c, err)
			}
			if _, ok := err.(Errors); !ok {
				t.Errorf("the error is a %T", err)
			}
			if *update {
				cases[i+1] = name + "\n" + input + "\n---\n" + err.Error()
			} else if got := err.Error(); got != strings.TrimRight(want, "\n") {
				t.Errorf("errors:\n%s\nwant:\n%s", got, want)
			}
		})
	}
	if *update {
		if err := os.WriteFile(file, []byte(strings.Join(cases, "\n=== ")+"\n"), 0o644); err != nil {
			t.Fatal(err)
		}
	}
}

func badInput(t *testing.T, text string) []byte {
	var lines []string
	bare := strings.Contains(text, "$ bare\n")
	for line := range strings.SplitSeq(text, "\n") {
		if v, ok := strings.CutPrefix(line, "$ "); ok {
			if name, value, ok := strings.Cut(v, "="); ok {
				t.Setenv(name, value)
			}
			continue
		}
		lines = append(lines, line)
	}
	text = strings.NewReplacer(`\t`, "\t", `\xff`, "\xff", `\0`, "").Replace(strings.Join(lines, "\n"))
	if !bare && !strings.Contains("\n"+text, "\nlisten:") {
		text += someListen
	}
	if !bare && !strings.Contains("\n"+text, "\nclusters:") {
		text += someClusters
	}
	return []byte(text + "\n")
}

// clearEnv keeps the environment of the test run out of a test.
func clearEnv(t testing.TB) {
	for _, entry := range os.Environ() {
		if name, _, _ := strings.Cut(entry, "="); strings.HasPrefix(name, envPrefix+"_") {
			t.Setenv(name, "")
		}
	}
	t.Setenv("STATE_DIRECTORY", "/var/lib/test")
}

func TestEmptyFile(t *testing.T) {
	for _, text := range []string{"", "\n", "# nothing but a comment\n", "---\n", "null\n", "--- # a\n...\n"} {
		_, err := Parse("f.yaml", []byte(text))
		if want := "f.yaml: the file is empty: it needs at least listen and clusters"; err == nil || err.Error() != want {
			t.Errorf("Parse(%q) = %v, want %s", text, err, want)
		}
	}
}
