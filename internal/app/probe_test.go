package app

import (
	"fmt"
	"net/http/httptest"
	"regexp"
	"strings"
	"testing"
	"time"

	"mrcproxy/config"
	"mrcproxy/health/probe"
	"mrcproxy/internal/sim"
)

// TestProbeFaults: what a deep probe says of a server with each fault, by both transports, and that it leaves nothing behind
// at it. Without a fault it succeeds by every method.
func TestProbeFaults(t *testing.T) {
	for _, c := range []struct {
		fault  sim.Fault
		method string
		want   probe.Failure
	}{
		{sim.None, config.DeepGetParams, probe.OK},
		{sim.None, config.DeepRecognize, probe.OK},
		{sim.None, config.DeepSpeak, probe.OK},
		{sim.EngineDead, config.DeepGetParams, probe.MethodFailed},
		{sim.EngineDead, config.DeepRecognize, probe.MethodFailed},
		{sim.EngineHangs, config.DeepGetParams, probe.MethodUnanswered},
		{sim.EngineFails, config.DeepGetParams, probe.OK}, // which is why there are other methods
		{sim.EngineFails, config.DeepRecognize, probe.BadCause},
		{sim.EngineFails, config.DeepSpeak, probe.BadCause},
		{sim.Misrecognises, config.DeepRecognize, probe.WrongResult},
		{sim.Deaf, config.DeepRecognize, probe.BadCause},
		{sim.Mute, config.DeepSpeak, probe.NoAudio},
		{sim.ChannelRefused, config.DeepGetParams, probe.ChannelRefused},
		{sim.ChannelDropped, config.DeepGetParams, probe.ChannelLost},
		{sim.Refuse(406, 0), config.DeepGetParams, probe.Refused},
		{sim.Offline, config.DeepGetParams, probe.Refused},
		{sim.Refuse(500, 0), config.DeepGetParams, probe.Rejected},
		{sim.Zombie, config.DeepGetParams, probe.Unanswered},
		{sim.Late(5 * time.Second), config.DeepGetParams, probe.Unanswered},
	} {
		for _, network := range []string{"udp", "tcp"} {
			t.Run(c.fault.String()+" "+c.method+" "+network, func(t *testing.T) {
				t.Parallel()
				s := startServer(t, sim.ServerOptions{})
				s.SetFault(c.fault)
				h := config.DefaultHealth()
				h.Deep.Method, h.Deep.Timeout = c.method, 2*time.Second
				if c.want == probe.Unanswered || c.want == probe.MethodUnanswered {
					h.Deep.Timeout = 300 * time.Millisecond
				}
				h.Deep.Audio, h.Deep.Expect.Re, h.Deep.Confidence = speech(t), regexp.MustCompile("^hello"), 0.9
				r, err := Probe(t.Context(), Once{URI: fmt.Sprintf("sip:%s;transport=%s", s.Addr(), network), Health: h, Deep: true})
				if err != nil || r.Report.Failure != c.want || r.OK(true) != (c.want == probe.OK) {
					t.Errorf("%v: %+v\n%s", err, r.Report, strings.Join(r.Lines(true), "\n"))
				}
				if c.want == probe.OK && c.method == config.DeepRecognize && (r.Report.Result != "hello world" || r.Report.Confidence != 0.93) {
					t.Errorf("%+v", r.Report)
				}
				empty(t, s)
				if st := s.Stats(); st.HangUps != 0 || st.Byes != st.Answered {
					t.Errorf("%+v", st)
				}
			})
		}
	}
}

// TestProbeOnlyTransport: a server that answers by one transport only is reached by that one.
func TestProbeOnlyTransport(t *testing.T) {
	s := startServer(t, sim.ServerOptions{})
	s.SetFault(sim.Only("tcp"))
	h := config.DefaultHealth()
	h.Deep.Timeout = 300 * time.Millisecond
	for network, want := range map[string]probe.Failure{"udp": probe.Unanswered, "tcp": probe.OK} {
		r, err := Probe(t.Context(), Once{URI: fmt.Sprintf("sip:%s;transport=%s", s.Addr(), network), Health: h, Deep: true})
		if err != nil || r.Report.Failure != want {
			t.Errorf("%s: %v, %+v", network, err, r.Report)
		}
	}
	empty(t, s)
}

// TestProbeOptions: without --deep, OPTIONS and its code.
func TestProbeOptions(t *testing.T) {
	s := startServer(t, sim.ServerOptions{})
	h := config.DefaultHealth()
	for fault, want := range map[sim.Fault]string{sim.None: "200|ok", sim.EngineDead: "200|ok", sim.Offline: "503|failed: OPTIONS answered 503"} {
		s.SetFault(fault)
		r, err := Probe(t.Context(), Once{URI: "sip:" + s.Addr().String(), Health: h})
		if err != nil || !strings.HasSuffix(strings.Join(r.Lines(false), "|"), want) || r.OK(false) != strings.HasSuffix(want, "|ok") {
			t.Errorf("%v: %v, %q", fault, err, r.Lines(false))
		}
	}
	if _, err := Probe(t.Context(), Once{URI: "http://a", Health: h}); err == nil {
		t.Error("an URI that is none")
	}
	if _, err := Probe(t.Context(), Once{URI: "sip:127.0.0.1;transport=tls", Health: h}); err == nil || !strings.Contains(err.Error(), "tls.cert") {
		t.Errorf("TLS without a certificate: %v", err)
	}
	h.Deep.Method, h.Deep.Audio = config.DeepRecognize, "/does/not/exist.wav"
	if _, err := Probe(t.Context(), Once{URI: "sip:127.0.0.1", Health: h, Deep: true}); err == nil {
		t.Error("audio that is not there")
	}
}

func TestServeProbe(t *testing.T) {
	s, other := startServer(t, sim.ServerOptions{}), startServer(t, sim.ServerOptions{})
	h := newDeepHouse(t, "method: off, timeout: 1s", fmt.Sprintf(`{uri: "sip:%s;transport=tcp", capacity: 1}`, s.Addr()))
	<-h.app.proxy.Ready()
	get := func(query string) (int, string) {
		w := httptest.NewRecorder()
		req := httptest.NewRequest("GET", "/probe?"+strings.ReplaceAll(query, ";", "%3B"), nil)
		req.Header.Set("X-Prometheus-Scrape-Timeout-Seconds", "1")
		h.app.serveProbe(w, req)
		return w.Code, w.Body.String()
	}
	uri := "target=sip:" + s.Addr().String() + ";transport=tcp"
	for _, c := range []struct {
		name, query string
		fault       sim.Fault
		code        int
		want        []string
	}{
		{"OPTIONS", uri, sim.EngineDead, 200, []string{"probe_success 1", "probe_sip_status_code 200"}},
		{"deep", uri + "&module=deep", sim.None, 200, []string{"probe_success 1", `probe_phase_duration_seconds{phase="bye"} `, "probe_duration_seconds "}},
		{"deep, dead", uri + "&module=deep", sim.EngineDead, 200, []string{"probe_success 0", `probe_failure_info{reason="method_failed"} 1`}},
		{"deep, silent", uri + "&module=deep", sim.EngineHangs, 200, []string{"probe_success 0", `probe_failure_info{reason="method_unanswered"} 1`}},
		{"draining", uri + "&module=options", sim.Offline, 200, []string{"probe_success 0", `probe_failure_info{reason="draining"} 1`}},
		{"not a backend, but allowed", "target=sip:" + other.Addr().String() + "&module=deep", sim.None, 200, []string{"probe_success 1"}},
		{"not allowed", "target=sip:127.0.0.2:5060", sim.None, 403, []string{"is no backend"}},
		{"a name", "target=sip:localhost", sim.None, 403, []string{"is no backend"}},
		{"no module", uri + "&module=icmp", sim.None, 400, []string{"only options and deep"}},
		{"no URI", "target=127.0.0.1", sim.None, 400, []string{"must be a SIP URI"}},
	} {
		s.SetFault(c.fault)
		code, text := get(c.query)
		if code != c.code {
			t.Errorf("%s: %d", c.name, code)
		}
		for _, want := range c.want {
			if !strings.Contains(text, want) {
				t.Errorf("%s: no %q in\n%s", c.name, want, text)
			}
		}
	}
	s.SetFault(sim.None)
	lease := h.app.bal.Take(h.app.bal.Backends()[0])
	if code, text := get(uri + "&module=deep"); code != 503 || !strings.Contains(text, "full") {
		t.Errorf("full: %d %s", code, text)
	}
	lease.Release()
	empty(t, s)
	empty(t, other)
}
