package config

import (
	"os"
	"reflect"
	"strings"
	"testing"
)

// FuzzParse: whatever the bytes are, Parse gives a configuration or errors that say where, and never panics.
func FuzzParse(f *testing.F) {
	clearEnv(f)
	for _, file := range []string{"testdata/full.yaml", exampleFile} {
		data, err := os.ReadFile(file)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(data)
	}
	data, err := os.ReadFile("testdata/bad.txt")
	if err != nil {
		f.Fatal(err)
	}
	for _, text := range strings.Split(string(data), "\n=== ")[1:] {
		_, body, _ := strings.Cut(text, "\n")
		input, _, _ := strings.Cut(body, "\n---\n")
		f.Add([]byte(input))
		f.Add([]byte(input + someListen + someClusters))
	}
	f.Add([]byte(minimal))
	f.Add([]byte(diffBase))

	f.Fuzz(func(t *testing.T, data []byte) {
		c, err := Parse("f.yaml", data)
		if err == nil {
			checkConfig(t, c, data)
			return
		}
		errs, ok := err.(Errors)
		if !ok || len(errs) == 0 || c != nil {
			t.Fatalf("got %v and a %T: %v", c, err, err)
		}
		for _, e := range errs {
			if e.File != "f.yaml" || e.Msg == "" || e.Line < 0 || e.Line > strings.Count(string(data), "\n")+strings.Count(string(data), "\r")+1 {
				t.Errorf("%#v", e)
			}
			// The schema must have said it in its own words.
			if strings.HasPrefix(e.Msg, "cannot be ") {
				t.Errorf("the decoder refused what the schema let pass: %v", e)
			}
		}
	})
}

func checkConfig(t *testing.T, c *Config, data []byte) {
	if len(c.Listen) == 0 || len(c.Clusters) == 0 || c.Failover.Deadline <= 0 || c.Health.UpCodes == (CodeSet{}) {
		t.Fatalf("not valid: %+v", c)
	}
	for _, cl := range c.Clusters {
		for _, g := range cl.Groups {
			for _, b := range g.Backends {
				if b.Addr.IsValid() == (b.Host != "") || b.Host == "" && b.Addr.Port() == 0 || b.Network != "udp" && b.Network != "tcp" || b.Weight < 0 || b.Capacity < Unlimited {
					t.Fatalf("not valid: %+v", b)
				}
			}
		}
	}
	again, err := Parse("f.yaml", data)
	if err != nil || !reflect.DeepEqual(c, again) || len(Diff(c, again)) > 0 {
		t.Fatalf("not the same again: %v", err)
	}
}
