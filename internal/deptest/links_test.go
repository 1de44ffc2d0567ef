package deptest

import (
	"io/fs"
	"os"
	"path"
	"regexp"
	"slices"
	"strings"
	"testing"
	"testing/fstest"
)

var (
	fenced   = regexp.MustCompile("(?ms)^```.*?^```")
	link     = regexp.MustCompile(`\]\(([^)\s]+)\)`)
	heading  = regexp.MustCompile(`(?m)^#+ +(.+)$`)
	linkEnd  = regexp.MustCompile(`\]\([^)]*\)`)
	noAnchor = regexp.MustCompile(`[^\p{L}\p{N}_ -]`)
)

// anchors are what links to the headings of a document end in, as GitHub makes them.
func anchors(doc string) map[string]bool {
	all := map[string]bool{}
	for _, h := range heading.FindAllStringSubmatch(fenced.ReplaceAllString(doc, ""), -1) {
		text := linkEnd.ReplaceAllString(h[1], "")
		all[strings.ReplaceAll(noAnchor.ReplaceAllString(strings.ToLower(text), ""), " ", "-")] = true
	}
	return all
}

// deadLinks are the links of documents, "file: link", that lead to no file, or to no heading of it.
func deadLinks(fsys fs.FS, names []string) (dead []string) {
	for _, name := range names {
		doc, err := fs.ReadFile(fsys, name)
		if err != nil {
			return append(dead, err.Error())
		}
		for _, l := range link.FindAllStringSubmatch(fenced.ReplaceAllString(string(doc), ""), -1) {
			file, anchor, _ := strings.Cut(l[1], "#")
			if strings.Contains(file, "://") {
				continue
			}
			to := name
			if file != "" {
				to = path.Join(path.Dir(name), file)
			}
			_, err := fs.Stat(fsys, to)
			if err == nil && anchor != "" && path.Ext(to) == ".md" {
				var target []byte
				if target, err = fs.ReadFile(fsys, to); !anchors(string(target))[anchor] {
					err = fs.ErrNotExist
				}
			}
			if err != nil {
				dead = append(dead, name+": "+l[1])
			}
		}
	}
	return dead
}

// TestLinks: each link from a document to a file of the repository, and to a heading in one, leads somewhere.
func TestLinks(t *testing.T) {
	fsys := os.DirFS(root)
	var names []string
	for _, pattern := range []string{"*.md", "docs/*.md", "docs/*/*.md", "deploy/*.md", "deploy/*/*.md", "deploy/*/*/*.md"} {
		found, err := fs.Glob(fsys, pattern)
		if err != nil {
			t.Fatal(err)
		}
		names = append(names, found...)
	}
	if len(names) < 20 {
		t.Fatalf("only %q: is the test looking in the right place?", names)
	}
	for _, l := range deadLinks(fsys, names) {
		t.Error(l)
	}
}

func TestDeadLinks(t *testing.T) {
	fsys := fstest.MapFS{
		"a.md": {Data: []byte("# One, `two`: three\n[x](d/b.md#of-b) [y](#one-two-three) [z](https://x/y#z) [dir](d)\n" +
			"[w](gone.md) [v](d/b.md#gone)\n[u](#gone)\n```sh\n# no heading\n[t](no-link)\n```\n[s](#no-heading)")},
		"d/b.md": {Data: []byte("## [Of](../a.md) b\n[up](../a.md)")},
	}
	want := []string{"a.md: gone.md", "a.md: d/b.md#gone", "a.md: #gone", "a.md: #no-heading"}
	if got := deadLinks(fsys, []string{"a.md", "d/b.md"}); !slices.Equal(got, want) {
		t.Errorf("%q, want %q", got, want)
	}
}
