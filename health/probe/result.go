package probe

import (
	"bytes"
	"encoding/xml"
	"fmt"
	"regexp"
	"strings"

	"mrcproxy/internal/mrcp"
)

// heard is the best result of a recognition.
type heard struct {
	text       []string // the input as spoken, and its interpretation, where they are given
	confidence float64  // 0 to 1
	rated      bool     // confidence is given
}

// parseResult reads an NLSML result (RFC 6787 6.3.1); anything else is taken for the text itself. Of several
// interpretations the first is the best.
func parseResult(body []byte) heard {
	var doc struct {
		Interpretations []struct {
			Confidence string `xml:"confidence,attr"`
			Input      struct {
				Text       string `xml:",innerxml"`
				Confidence string `xml:"confidence,attr"`
			} `xml:"input"`
			Instance struct {
				Text       string `xml:",innerxml"`
				Confidence string `xml:"confidence,attr"`
			} `xml:"instance"`
		} `xml:"interpretation"`
	}
	if err := xml.Unmarshal(bytes.TrimSpace(body), &doc); err != nil {
		return heard{text: []string{strings.TrimSpace(string(body))}}
	}
	if len(doc.Interpretations) == 0 {
		return heard{}
	}
	best := doc.Interpretations[0]
	var h heard
	for _, s := range []string{best.Input.Text, best.Instance.Text} {
		if s = plain(s); s != "" {
			h.text = append(h.text, s)
		}
	}
	for _, s := range []string{best.Confidence, best.Input.Confidence, best.Instance.Confidence} {
		var v float64
		if n, err := fmt.Sscan(s, &v); n == 1 && err == nil {
			if v > 1 { // as MRCPv1 had it: 0 to 100
				v /= 100
			}
			h.confidence, h.rated = v, true
			break
		}
	}
	return h
}

// plain is the text of a piece of XML, its white space made single.
func plain(inner string) string {
	var b strings.Builder
	d := xml.NewDecoder(strings.NewReader(inner))
	for {
		t, err := d.Token()
		if err != nil {
			break
		}
		if text, ok := t.(xml.CharData); ok {
			b.Write(text)
			b.WriteByte(' ')
		}
	}
	return strings.Join(strings.Fields(b.String()), " ")
}

// check holds a completed recognition against what is expected.
func (h heard) check(expect *regexp.Regexp, confidence float64) error {
	matches := expect == nil
	for _, s := range h.text {
		matches = matches || expect.MatchString(s)
	}
	switch {
	case !matches:
		return failure(WrongResult, "recognised %.100q, expected %s", h.String(), expect)
	case confidence > 0 && !h.rated:
		return failure(LowConfidence, "the result has no confidence, %g is asked for", confidence)
	case h.confidence < confidence:
		return failure(LowConfidence, "confidence %g, %g is asked for", h.confidence, confidence)
	}
	return nil
}

// String is the text: as spoken, else as interpreted.
func (h heard) String() string {
	if len(h.text) == 0 {
		return ""
	}
	return h.text[0]
}

// cause fails a completion whose cause is none of good.
func cause(m *mrcp.Message, good ...int) error {
	code, word, ok := m.Cause()
	if !ok {
		return failure(BadCause, "%s without Completion-Cause", m.Name)
	}
	for _, g := range good {
		if code == g {
			return nil
		}
	}
	detail := fmt.Sprintf("%s with cause %03d %s", m.Name, code, word)
	if why := m.Header.Get(mrcp.CompletionReason); why != "" {
		detail += ": " + why
	}
	return failed{BadCause, detail}
}
