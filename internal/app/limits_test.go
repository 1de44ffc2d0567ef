package app

import (
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"mrcproxy/balancer"
	"mrcproxy/internal/api"
	"mrcproxy/proxy"
)

// TestLimitsShown: whoever asks sees every limit that a session may meet, and what is so of a server beside its state.
func TestLimitsShown(t *testing.T) {
	d := newDesk(t)
	text := strings.Replace(*d.text.Load(), "capacity: 5, weight: 2", "capacity: {speechrecog: 3}, max_cps: 40, weight: 2", 1)
	text = strings.Replace(text, "  - name: asr\n", "  - name: asr\n    licences: 12\n    spill: 4\n    health: {suspect_after: 1, hold_for: 0s}\n", 1)
	d.configure(text)
	if code, answer := d.ask("POST /api/v1/reload", nil, nil); code != 200 {
		t.Fatal(answer)
	}
	b := d.app.bal.Backends()[0]
	l, why := d.app.bal.Pick(balancer.Request{Cluster: "asr", Resources: []string{"speechrecog"}, Now: time.Now()})
	if l == nil || l.Backend() != b {
		t.Fatal(l, why)
	}
	defer l.Release()
	d.app.bal.SetElsewhereFor(b, "speechrecog", 1)
	one := d.backends()[0]
	if want := []api.Limit{{Resource: "speechrecog", Sessions: 1, Elsewhere: 1, Capacity: 3}}; !reflect.DeepEqual(one.Resources, want) || one.MaxCPS != 40 || one.Capacity != api.Unlimited {
		t.Errorf("backend %+v", one)
	}
	var all []api.Cluster
	d.ask("GET /api/v1/clusters", nil, &all)
	if c := all[0]; !reflect.DeepEqual(c.Licences, &api.Licences{Taken: 1, Limit: 12}) || c.Groups[0].SpillLimit != nil || c.Groups[1].SpillLimit == nil || *c.Groups[1].SpillLimit != 4 {
		t.Errorf("cluster %+v", c)
	}
	if i := slices.IndexFunc(d.backends(), func(b api.Backend) bool { return len(b.Conditions) > 0 }); i >= 0 {
		t.Errorf("at first %+v", d.backends()[i])
	}
	calls{d.app}.Report(d.app.bal.Backends()[1], proxy.Outcome{Kind: proxy.Refused, Reason: "406"})
	d.await("it refuses though it has no session", func() bool { return slices.Equal(d.backends()[1].Conditions, []string{"suspect"}) })
}

// TestTrouble: what is wrong with the instance is said where everybody looks, and no longer than it is so.
func TestTrouble(t *testing.T) {
	d := newDesk(t)
	trouble := func() string {
		var s api.Status
		d.ask("GET /api/v1/status", nil, &s)
		return strings.Join(s.Trouble, "\n")
	}
	if got := trouble(); got != "" {
		t.Errorf("at first: %s", got)
	}
	good := *d.text.Load()
	d.configure(strings.Replace(good, "capacity: 9", "capacity: many", 1))
	d.ask("POST /api/v1/reload", nil, nil)
	if got := trouble(); !strings.HasPrefix(got, "the configuration was refused at ") || !strings.Contains(got, "capacity") {
		t.Errorf("after a refusal: %q", got)
	}
	d.configure(good)
	d.ask("POST /api/v1/reload", nil, nil)
	if got := trouble(); got != "" {
		t.Errorf("after a good one: %q", got)
	}
}
