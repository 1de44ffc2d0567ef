package config

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v3"
)

// parseTree reads the one YAML document in data and checks all that needs no knowledge of our keys: the syntax, that
// the top is a mapping, and that no key stands twice. It returns nil if nothing further can be checked. The tree comes
// back with aliases and merge keys resolved and, where a key stood twice, without the second.
func parseTree(name string, data []byte) (*yaml.Node, Errors) {
	fail := func(line int, format string, args ...any) (*yaml.Node, Errors) {
		return nil, Errors{{File: name, Line: line, Msg: fmt.Sprintf(format, args...)}}
	}
	if line := invalidUTF8(data); line > 0 {
		return fail(line, "the file must be UTF-8 text")
	}
	dec := yaml.NewDecoder(bytes.NewReader(data))
	var doc, second yaml.Node
	if err := dec.Decode(&doc); errors.Is(err, io.EOF) {
		return fail(0, "the file is empty: it needs at least listen and clusters")
	} else if err != nil {
		return nil, syntaxErrors(name, data, err)
	}
	root := doc.Content[0]
	if root.Kind == yaml.ScalarNode && root.ShortTag() == "!!null" {
		return fail(0, "the file is empty: it needs at least listen and clusters")
	}
	if root.Kind != yaml.MappingNode {
		return fail(root.Line, "must be a mapping of keys to values, such as idc: sh-a")
	}
	if err := dec.Decode(&second); err == nil {
		return fail(second.Line, "only one YAML document is allowed in the file")
	} else if !errors.Is(err, io.EOF) {
		return nil, syntaxErrors(name, data, err)
	}

	c := &treeCheck{file: name}
	c.walk("", root)
	// The decoder refuses what would keep resolve busy for ever: an alias inside its own anchor, and aliases that multiply.
	var ignored any
	if err := root.Decode(&ignored); err != nil {
		return nil, append(c.errs, syntaxErrors(name, data, err)...)
	}
	return resolve(root), c.errs
}

// treeCheck reports what is wrong with a tree whatever its keys mean, and takes it out: keys that stand twice, keys that
// are no scalars, merge keys without a mapping, values that contradict their tags.
type treeCheck struct {
	file string
	errs Errors
}

func (c *treeCheck) fail(path string, line int, format string, args ...any) {
	c.errs = append(c.errs, &Error{File: c.file, Line: line, Key: path, Msg: fmt.Sprintf(format, args...)})
}

func (c *treeCheck) walk(path string, n *yaml.Node) {
	switch n.Kind {
	case yaml.MappingNode:
		c.walkMapping(path, n)
	case yaml.SequenceNode:
		for i, item := range n.Content {
			c.walk(index(path, i), item)
		}
	case yaml.ScalarNode:
		var ignored any
		if err := n.Decode(&ignored); err != nil {
			c.fail(path, n.Line, "the value contradicts its tag %s", n.ShortTag())
			*n = nullNode(n)
		}
	}
}

func (c *treeCheck) walkMapping(path string, n *yaml.Node) {
	first := make(map[string]int)
	kept := n.Content[:0:0]
	for i := 0; i+1 < len(n.Content); i += 2 {
		key, value := n.Content[i], n.Content[i+1]
		sub, folded := join(path, key.Value), strings.ToLower(key.Value) // keys are compared without case further on
		switch line, seen := first[folded]; {
		case key.Kind != yaml.ScalarNode:
			c.fail(path, key.Line, "a key must be a single word")
			continue
		case seen:
			c.fail(sub, key.Line, "duplicate key, it already stands on line %d", line)
			continue
		case isMerge(key) && !mergeable(value, true):
			c.fail(sub, key.Line, "must be a mapping or a list of mappings")
			continue
		}
		first[folded] = key.Line
		c.walk(path, key)
		c.walk(sub, value)
		kept = append(kept, key, value)
	}
	n.Content = kept
}

// mergeable reports whether n can be the value of a merge key.
func mergeable(n *yaml.Node, list bool) bool {
	if n.Kind == yaml.AliasNode {
		n = n.Alias
	}
	if n.Kind == yaml.SequenceNode && list {
		return !slices.ContainsFunc(n.Content, func(item *yaml.Node) bool { return !mergeable(item, false) })
	}
	return n.Kind == yaml.MappingNode
}

// nullNode stands in for a node that was refused.
func nullNode(n *yaml.Node) yaml.Node {
	return yaml.Node{Kind: yaml.ScalarNode, Tag: "!!null", Value: "null", Line: n.Line, Column: n.Column}
}

// resolve copies a tree, with every alias replaced by what it stands for and every merge key (<<) by its pairs. Each
// node keeps the line it was written on.
func resolve(n *yaml.Node) *yaml.Node {
	if n.Kind == yaml.AliasNode {
		return resolve(n.Alias)
	}
	c := &yaml.Node{Kind: n.Kind, Style: n.Style, Tag: n.Tag, Value: n.Value, Line: n.Line, Column: n.Column}
	if n.Kind != yaml.MappingNode {
		for _, item := range n.Content {
			c.Content = append(c.Content, resolve(item))
		}
		return c
	}
	own := make(map[string]bool)
	var merged []*yaml.Node
	for i := 0; i+1 < len(n.Content); i += 2 {
		key, value := resolve(n.Content[i]), resolve(n.Content[i+1])
		switch {
		case !isMerge(key):
			own[key.Value] = true
			c.Content = append(c.Content, key, value)
		case value.Kind == yaml.SequenceNode:
			merged = append(merged, value.Content...)
		default:
			merged = append(merged, value)
		}
	}
	for _, m := range merged {
		for i := 0; i+1 < len(m.Content); i += 2 {
			if key := m.Content[i]; !own[key.Value] {
				own[key.Value] = true
				c.Content = append(c.Content, key, m.Content[i+1])
			}
		}
	}
	return c
}

func isMerge(key *yaml.Node) bool {
	return key.Kind == yaml.ScalarNode && key.ShortTag() == "!!merge"
}

func join(path, key string) string {
	if path == "" {
		return key
	}
	return path + "." + key
}

func index(path string, i int) string {
	return path + "[" + strconv.Itoa(i) + "]"
}
