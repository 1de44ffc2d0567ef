package deptest

import (
	"encoding/xml"
	"errors"
	"io"
	"io/fs"
	"os"
	"slices"
	"strings"
	"testing"
)

// block is a fenced code block of a Markdown document.
type block struct {
	text string
	line int // of the opening fence, from 1
}

// codeBlocks returns the blocks of one language.
func codeBlocks(doc, lang string) []block {
	var blocks []block
	var text strings.Builder
	fence, open := "", 0
	for i, line := range strings.Split(doc, "\n") {
		line = strings.TrimSpace(line)
		switch {
		case open == 0 && strings.HasPrefix(line, "```"):
			fence, open = strings.TrimPrefix(line, "```"), i+1
			text.Reset()
		case open > 0 && line == "```":
			if fence == lang {
				blocks = append(blocks, block{text: text.String(), line: open})
			}
			open = 0
		case open > 0:
			text.WriteString(line + "\n")
		}
	}
	return blocks
}

// wellFormed returns an error unless text is XML with exactly one outermost element.
func wellFormed(text string) error {
	dec := xml.NewDecoder(strings.NewReader(text))
	depth, roots := 0, 0
	for {
		tok, err := dec.Token()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return err
		}
		switch tok.(type) {
		case xml.StartElement:
			if depth == 0 {
				roots++
			}
			depth++
		case xml.EndElement:
			depth--
		}
	}
	if roots != 1 {
		return errors.New("want one outermost element")
	}
	return nil
}

// TestXMLInDocs parses every XML example, which people paste into FreeSWITCH: it ignores a file that does not parse.
func TestXMLInDocs(t *testing.T) {
	fsys := os.DirFS(root)
	docs, err := fs.Glob(fsys, "docs/*.md")
	if err != nil {
		t.Fatal(err)
	}
	top, err := fs.Glob(fsys, "*.md")
	if err != nil {
		t.Fatal(err)
	}
	found := 0
	for _, name := range slices.Concat(docs, top) {
		doc, err := fs.ReadFile(fsys, name)
		if err != nil {
			t.Error(err)
			continue
		}
		for _, b := range codeBlocks(string(doc), "xml") {
			found++
			if err := wellFormed(b.text); err != nil {
				t.Errorf("%s:%d: %v", name, b.line, err)
			}
		}
	}
	if found == 0 {
		t.Error("no XML example in docs/*.md: is the test looking in the right place?")
	}
}

func TestWellFormed(t *testing.T) {
	for name, tc := range map[string]struct {
		text string
		ok   bool
	}{
		"good":                 {"<!-- c -->\n<include><param name=\"a\" value=\"b\"/></include>", true},
		"unclosed":             {"<include><param></include>", false},
		"cut off":              {"<include>", false},
		"two outermost":        {"<a/><b/>", false},
		"none":                 {"text", false},
		"bare ampersand":       {"<a b=\"x&y\"/>", false},
		"dashes in a comment":  {"<a><!-- a -- b --></a>", false},
		"attribute not quoted": {"<a b=1/>", false},
	} {
		t.Run(name, func(t *testing.T) {
			if err := wellFormed(tc.text); (err == nil) != tc.ok {
				t.Errorf("error %v, want well formed: %t", err, tc.ok)
			}
		})
	}
}
