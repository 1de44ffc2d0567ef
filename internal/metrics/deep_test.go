package metrics

import (
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"mrcproxy/health/probe"
)

func TestDeepProbed(t *testing.T) {
	b := farm(t, first)
	m := over(b)
	up := func(want string) {
		t.Helper()
		series(t, m, `mrcproxy_deep_probe_up{backend="sip:10.0.0.1:8060",cluster="ali"} `+want, "mrcproxy_deep_probe_up")
	}
	m.DeepProbed("ali", first.URI, probe.Report{Took: [probe.Steps]time.Duration{time.Millisecond, 1, 1, 1}})
	up("1")
	m.DeepProbed("ali", first.URI, probe.Report{Failure: probe.MethodFailed, Took: [probe.Steps]time.Duration{time.Millisecond}})
	up("0")
	m.DeepProbed("ali", first.URI, probe.Report{Failure: probe.Cancelled}) // says nothing
	up("0")
	series(t, m, `mrcproxy_deep_probes_total{backend="sip:10.0.0.1:8060",cluster="ali",result="cancelled"} 1
		mrcproxy_deep_probes_total{backend="sip:10.0.0.1:8060",cluster="ali",result="method_failed"} 1
		mrcproxy_deep_probes_total{backend="sip:10.0.0.1:8060",cluster="ali",result="ok"} 1`, "mrcproxy_deep_probes_total")
	text := scrape(t, m)
	for _, want := range []string{`step="sip"} 2`, `step="connect"} 1`, `step="bye"} 1`} {
		if !strings.Contains(text, `mrcproxy_deep_probe_duration_seconds_count{backend="sip:10.0.0.1:8060",cluster="ali",`+want) {
			t.Errorf("no %s", want)
		}
	}
	m.DeepOff("ali", first.URI)
	series(t, m, "", "mrcproxy_deep_probe_up")
	m.DeepSkipped("ali", first.URI, "full")
	m.Forget(first.URI)
	if text := scrape(t, m); strings.Contains(text, "mrcproxy_deep_") {
		t.Errorf("forgotten, and\n%s", text)
	}
}

func TestServeProbe(t *testing.T) {
	for _, c := range []struct {
		r    ProbeResult
		want []string
		not  string
	}{
		{ProbeResult{OK: true, Code: 200, Took: time.Second}, []string{"probe_success 1", "probe_duration_seconds 1", "probe_sip_status_code 200"}, "phase"},
		{ProbeResult{Reason: "no_audio", Code: 200, Deep: &probe.Report{Packets: 3, Confidence: 0.5, Took: [probe.Steps]time.Duration{time.Second}}},
			[]string{"probe_success 0", `probe_failure_info{reason="no_audio"} 1`, `probe_phase_duration_seconds{phase="sip"} 1`,
				`probe_phase_duration_seconds{phase="bye"} 0`, "probe_rtp_packets 3", "probe_recognition_confidence 0.5"}, "mrcproxy"},
	} {
		w := httptest.NewRecorder()
		ServeProbe(w, httptest.NewRequest("GET", "/probe", nil), c.r)
		text := w.Body.String()
		for _, want := range c.want {
			if !strings.Contains(text, "\n"+want+"\n") {
				t.Errorf("no %s in\n%s", want, text)
			}
		}
		if strings.Contains(text, c.not) {
			t.Errorf("%s in\n%s", c.not, text)
		}
	}
}
