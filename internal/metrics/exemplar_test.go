package metrics

import (
	"net/http/httptest"
	"regexp"
	"strings"
	"testing"
	"time"

	"mrcproxy/proxy"
)

// TestExemplars: a scrape as OpenMetrics names a call for each bucket, one by its trace where it has one; a scrape in the older format has
// no exemplars.
func TestExemplars(t *testing.T) {
	m := over(farm(t, first))
	done := func(took time.Duration, id string, steps *proxy.Steps) {
		m.InviteDone(&proxy.Invite{Cluster: "ali", Code: 200, Took: took, CallID: id, Steps: steps})
	}
	done(3*time.Millisecond, "first@host", nil)
	done(3*time.Millisecond, "within a second", nil)
	done(4*time.Second, strings.Repeat("é", 90)+"\xff", nil)
	done(time.Minute, "", nil)
	done(700*time.Millisecond, "not by this", nil)
	done(700*time.Millisecond, "nor this", &proxy.Steps{Trace: [16]byte{0: 0xab, 15: 0xcd}})
	done(700*time.Millisecond, "within a second", &proxy.Steps{Trace: [16]byte{15: 1}})

	req := httptest.NewRequest("GET", "/metrics", nil)
	req.Header.Set("Accept", "application/openmetrics-text; version=1.0.0")
	rec := httptest.NewRecorder()
	m.Handler().ServeHTTP(rec, req)
	got := map[string]string{}
	for _, l := range regexp.MustCompile(`mrcproxy_invite_duration_seconds_bucket\{cluster="ali",le="([^"]+)"\} \d+ # \{(.*)\} ([0-9.]+) [0-9.e+]+`).FindAllStringSubmatch(rec.Body.String(), -1) {
		got[l[1]] = l[2] + " " + l[3]
	}
	want := map[string]string{
		"0.005": `call_id="first@host" 0.003`,
		"4.0":   `call_id="` + strings.Repeat("é", 50) + `" 4.0`,
		"1.0":   `trace_id="ab0000000000000000000000000000cd" 0.7`,
	}
	for le, w := range want {
		if got[le] != w {
			t.Errorf("bucket %s: %q, want %q", le, got[le], w)
		}
	}
	if len(got) != len(want) || !strings.HasSuffix(rec.Body.String(), "# EOF\n") {
		t.Errorf("%v in %s", got, rec.Header().Get("Content-Type"))
	}
	if plain := scrape(t, m); strings.Contains(plain, "call_id") || strings.Contains(plain, "trace_id") {
		t.Error("the older format has exemplars")
	}
}

// TestExampleTimes: an example a second, and one without a trace not before a minute after one with.
func TestExampleTimes(t *testing.T) {
	var n nextExample
	named, traced := &proxy.Invite{CallID: "a"}, &proxy.Invite{CallID: "b", Steps: new(proxy.Steps)}
	at := time.Now()
	for _, c := range []struct {
		after time.Duration
		i     *proxy.Invite
		want  string
	}{
		{0, named, "call_id"}, {999 * time.Millisecond, named, ""}, {time.Second, named, "call_id"},
		{1100 * time.Millisecond, traced, "trace_id"}, {2 * time.Second, traced, ""}, {2100 * time.Millisecond, traced, "trace_id"},
		{62 * time.Second, named, ""}, {63 * time.Second, named, "call_id"},
	} {
		got := ""
		for label := range n.example(c.i, at.Add(c.after).UnixNano()) {
			got = label
		}
		if got != c.want {
			t.Errorf("after %s: %q, want %q", c.after, got, c.want)
		}
	}
}
