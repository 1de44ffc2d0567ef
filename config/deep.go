package config

import (
	"fmt"
	"regexp"
	"slices"
	"strings"
	"time"
)

// Deep says how servers are asked for a real session now and then.
type Deep struct {
	Method   string        // DeepOff, DeepGetParams, DeepRecognize or DeepSpeak
	Action   string        // of failed ones: DeepDown or DeepReport
	Interval time.Duration // between two deep probes of one server
	Timeout  time.Duration // for one
	Rise     int           // good ones in a row that bring a server back
	Fall     int           // bad ones in a row that take it down
	Resource string        // the MRCP resource; "" where not given, see ResourceOf
	Language string        // Speech-Language; "" leaves it to the server
	Audio    string        // file of what is said
	Grammar  string        // inline, or a URI
	Expect   Expectation   // of what is recognised
	// Confidence is the least that a result may have, 0 to 1.
	Confidence float64
	Text       string // to be spoken
}

// The methods and actions of Deep.
const (
	DeepOff       = "off"
	DeepGetParams = "get-params"
	DeepRecognize = "recognize"
	DeepSpeak     = "speak"

	DeepDown   = "down"
	DeepReport = "report"
)

// ResourceOf is the MRCP resource: the one given, else that of the method.
func (d Deep) ResourceOf() string {
	switch {
	case d.Resource != "":
		return d.Resource
	case d.Method == DeepSpeak:
		return speechSynth
	}
	return speechRecog
}

const (
	speechRecog = "speechrecog"
	speechSynth = "speechsynth"
)

// Expectation is a regular expression that may be missing.
type Expectation struct{ Re *regexp.Regexp }

// String is the expression, or "".
func (e Expectation) String() string {
	if e.Re == nil {
		return ""
	}
	return e.Re.String()
}

// deep lays the values given at path over those in d.
func (b *builder) deep(path string, d *Deep, raw *rawDeep) {
	if raw == nil {
		return
	}
	oneOf(b, path+".method", &d.Method, raw.Method, DeepOff, DeepGetParams, DeepRecognize, DeepSpeak)
	oneOf(b, path+".action", &d.Action, raw.Action, DeepDown, DeepReport)
	b.duration(path+".interval", &d.Interval, raw.Interval, time.Second)
	b.duration(path+".timeout", &d.Timeout, raw.Timeout, 100*time.Millisecond)
	b.count(path+".rise", &d.Rise, raw.Rise, 1)
	b.count(path+".fall", &d.Fall, raw.Fall, 1)
	if raw.Resource != nil && *raw.Resource == "" {
		d.Resource = ""
	} else {
		oneOf(b, path+".resource", &d.Resource, raw.Resource, speechRecog, speechSynth)
	}
	for dst, src := range map[*string]*string{&d.Language: raw.Language, &d.Audio: raw.Audio, &d.Grammar: raw.Grammar, &d.Text: raw.Text} {
		if src != nil {
			*dst = *src
		}
	}
	if raw.Confidence != nil {
		if d.Confidence = *raw.Confidence; d.Confidence < 0 || d.Confidence > 1 {
			b.fail(path+".confidence", "must be 0 to 1, not %v", d.Confidence)
		}
	}
	b.expect(path+".expect", d, raw.Expect)
	if strings.ContainsFunc(d.Language, func(r rune) bool { return r <= ' ' || r > '~' }) && raw.Language != nil {
		b.fail(path+".language", "must be a language tag such as zh-CN, not %q", d.Language)
	}
	if d.Timeout > d.Interval && (raw.Timeout != nil || raw.Interval != nil) {
		b.fail(b.blame(path+".timeout", path+".interval"), "timeout, %s, must not be longer than interval, %s", short(d.Timeout), short(d.Interval))
	}
	b.deepFits(path, d)
}

func (b *builder) expect(path string, d *Deep, raw *string) {
	if raw == nil {
		return
	}
	d.Expect = Expectation{}
	if *raw == "" {
		return
	}
	re, err := regexp.Compile(*raw)
	if err != nil {
		b.fail(path, "%s", err)
		return
	}
	d.Expect.Re = re
}

// deepFits checks what the method needs.
func (b *builder) deepFits(path string, d *Deep) {
	key, msg := d.fault()
	switch key {
	case "":
		return
	case "resource": // or the method is the wrong one
		b.fail(b.blame(path+".resource", path+".method"), "%s", msg)
	default:
		b.fail(path+"."+key, "%s", msg)
	}
}

// Check reports what the method lacks, for a Deep that was not read from a file.
func (d Deep) Check() error {
	switch {
	case !slices.Contains([]string{DeepOff, DeepGetParams, DeepRecognize, DeepSpeak}, d.Method):
		return fmt.Errorf("method: must be get-params, recognize or speak, not %q", d.Method)
	case d.ResourceOf() != speechRecog && d.ResourceOf() != speechSynth:
		return fmt.Errorf("resource: must be speechrecog or speechsynth, not %q", d.Resource)
	}
	if key, msg := d.fault(); key != "" {
		return fmt.Errorf("%s: %s", key, msg)
	}
	return nil
}

// fault is the first key that does not fit the method, and why; "" when all do.
func (d Deep) fault() (key, msg string) {
	switch {
	case d.Method == DeepRecognize && d.ResourceOf() != speechRecog, d.Method == DeepSpeak && d.ResourceOf() != speechSynth:
		return "resource", d.Method + " is no method of " + d.Resource
	case d.Method == DeepRecognize && d.Audio == "":
		return "method", "needs audio: a file of speech to be recognised"
	case d.Method == DeepRecognize && !isGrammar(d.Grammar):
		return "grammar", "must be a URI such as builtin:speech/transcribe, or a grammar that begins with <, #ABNF or #JSGF"
	case d.Method == DeepSpeak && strings.TrimSpace(d.Text) == "":
		return "text", "must not be empty"
	}
	return "", ""
}

// isGrammar reports whether text is a grammar or the URI of one.
func isGrammar(text string) bool {
	g := strings.TrimSpace(text)
	for _, begin := range []string{"<", "#ABNF", "#JSGF"} {
		if strings.HasPrefix(g, begin) {
			return true
		}
	}
	return grammarURI.MatchString(g)
}

var grammarURI = regexp.MustCompile(`^[A-Za-z][A-Za-z0-9+.-]*:\S+$`)
