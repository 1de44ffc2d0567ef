package probe

import (
	"errors"
	"regexp"
	"strings"
	"testing"

	"mrcproxy/internal/mrcp"
)

func TestResult(t *testing.T) {
	for name, c := range map[string]struct {
		body, text string
		confidence float64
		rated      bool
	}{
		"RFC 6787 9.9": {`<?xml version="1.0"?><result xmlns="urn:ietf:params:xml:ns:mrcpv2" xmlns:ex="http://www.example.com/example" grammar="session:request1@form-level.store">
			<interpretation><instance name="Person"><ex:Person><ex:Name> Andre Roy </ex:Name></ex:Person></instance>
			<input>   may I speak to Andre Roy </input></interpretation></result>`, "may I speak to Andre Roy|Andre Roy", 0, false},
		"best of several": {`<result><interpretation confidence="0.9"><input>one</input></interpretation><interpretation><input>two</input></interpretation></result>`, "one", 0.9, true},
		"MRCPv1":          {`<result><interpretation confidence="93"><input mode="speech">一</input></interpretation></result>`, "一", 0.93, true},
		"of the input":    {`<result><interpretation><input confidence="0.5">one</input></interpretation></result>`, "one", 0.5, true},
		"instance alone":  {`<result><interpretation confidence="x"><instance><![CDATA[{"a":"b"}]]></instance></interpretation></result>`, `{"a":"b"}`, 0, false},
		"empty":           {`<result/>`, "", 0, false},
		"plain text":      {" hello\r\n", "hello", 0, false},
		"nothing":         {"", "", 0, false},
	} {
		h := parseResult([]byte(c.body))
		if got := strings.Join(h.text, "|"); got != c.text || h.confidence != c.confidence || h.rated != c.rated {
			t.Errorf("%s: %q %v %v", name, got, h.confidence, h.rated)
		}
	}
}

func TestCheck(t *testing.T) {
	one := heard{text: []string{"one", "1"}, confidence: 0.8, rated: true}
	for _, c := range []struct {
		h          heard
		expect     string
		confidence float64
		want       Failure
	}{
		{one, "^one$", 0.8, OK}, {one, "^1$", 0, OK}, {one, "", 0, OK}, {one, "two", 0, WrongResult}, {one, "one", 0.81, LowConfidence},
		{heard{text: []string{"one"}}, "one", 0.1, LowConfidence}, {heard{}, "one", 0, WrongResult}, {heard{}, "", 0, OK},
	} {
		var re *regexp.Regexp
		if c.expect != "" {
			re = regexp.MustCompile(c.expect)
		}
		got := OK
		if err := c.h.check(re, c.confidence); err != nil {
			got = whyOf(err)
		}
		if got != c.want {
			t.Errorf("%+v, %q, %g: %v, want %v", c.h, c.expect, c.confidence, got, c.want)
		}
	}
}

// whyOf is the Failure in an error that is one.
func whyOf(err error) Failure {
	f := failed{why: Local}
	errors.As(err, &f)
	return f.why
}

func TestCompletionCause(t *testing.T) {
	m := &mrcp.Message{Name: mrcp.RecognitionComplete, Header: mrcp.Header{{Name: mrcp.CompletionCause, Value: "008 success-maxtime"}}}
	if err := cause(m, 0, 8); err != nil {
		t.Error(err)
	}
	m.Header.Add(mrcp.CompletionReason, "no licence")
	if err := cause(m, 0); err == nil || err.Error() != "RECOGNITION-COMPLETE with cause 008 success-maxtime: no licence" {
		t.Error(err)
	}
	if err := cause(&mrcp.Message{Name: mrcp.SpeakComplete}, 0); err == nil || whyOf(err) != BadCause {
		t.Error(err)
	}
}

func TestGrammarType(t *testing.T) {
	for grammar, want := range map[string]string{
		"builtin:speech/transcribe": "text/uri-list", "http://a/b.xml": "text/uri-list", " <grammar/>": "application/srgs+xml",
		"#ABNF 1.0;": "application/srgs", "#JSGF V1.0;": "application/x-jsgf", "one two": "", "": "", "http://a b": "",
	} {
		if got, ok := GrammarType(grammar); got != want || ok != (want != "") {
			t.Errorf("%q: %q, %v", grammar, got, ok)
		}
	}
}

func TestFailureNames(t *testing.T) {
	seen := map[string]bool{}
	for _, f := range Failures() {
		if s := f.String(); s == "" || seen[s] {
			t.Errorf("failure %d is %q", f, s)
		}
		seen[f.String()] = true
	}
	if Failure(99).String() != "failure(99)" || Step(9).String() != "step(9)" || StepSIP.String()+StepConnect.String()+StepMethod.String()+StepBye.String() != "sipconnectmethodbye" {
		t.Error("names")
	}
}

func FuzzResult(f *testing.F) {
	f.Add([]byte(`<result><interpretation confidence="0.9"><input>one</input></interpretation></result>`))
	f.Fuzz(func(t *testing.T, b []byte) { _ = parseResult(b).check(regexp.MustCompile("x"), 1) })
}
