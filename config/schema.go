package config

import (
	"fmt"
	"math"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"time"

	"go.yaml.in/yaml/v3"
)

// place is where a key was given.
type place struct {
	line int
	null bool // given without a value, which is the same as not given
}

// schema checks a tree against the raw structs, and remembers where every key stands. What it refuses is taken out of
// the tree, so that the rest can still be decoded and checked.
type schema struct {
	file   string
	places map[string]place
	bad    map[string]bool // key paths that are refused, or that a misspelt key was probably meant to be
	errs   Errors
}

func (s *schema) fail(path string, line int, format string, args ...any) {
	s.bad[path] = true
	s.errs = append(s.errs, &Error{File: s.file, Line: line, Key: path, Msg: fmt.Sprintf(format, args...)})
}

// check compares n, the value of path, with the type that it will be decoded into.
func (s *schema) check(path string, n *yaml.Node, t reflect.Type) {
	if t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	switch {
	case isNull(n):
	case t == reflect.TypeFor[rawCapacity]() && n.Kind == yaml.ScalarNode:
		s.checkScalar(path, n, t.Elem())
	case t.Kind() == reflect.Struct:
		s.checkStruct(path, n, t)
	case t.Kind() == reflect.Map:
		s.checkMap(path, n, t.Elem())
	case t.Kind() == reflect.Slice:
		s.checkList(path, n, t)
	default:
		s.checkScalar(path, n, t)
	}
}

func (s *schema) checkStruct(path string, n *yaml.Node, t reflect.Type) {
	if n.Kind != yaml.MappingNode {
		s.refuse(path, n, "must be a mapping with the keys "+strings.Join(keysOf(t), ", "))
		return
	}
	kept := n.Content[:0:0]
	for i := 0; i+1 < len(n.Content); i += 2 {
		key, value := n.Content[i], n.Content[i+1]
		field, ok := fieldOf(t, key.Value)
		if !ok {
			s.unknownKey(path, key, keysOf(t))
			continue
		}
		sub := join(path, key.Value)
		s.places[sub] = place{line: key.Line, null: isNull(value)}
		s.check(sub, value, field.Type)
		kept = append(kept, key, value)
	}
	n.Content = kept
}

func (s *schema) unknownKey(path string, key *yaml.Node, known []string) {
	near := closest(key.Value, known)
	if near == "" {
		s.fail(join(path, key.Value), key.Line, "unknown key, must be one of %s", strings.Join(known, ", "))
		return
	}
	s.fail(join(path, key.Value), key.Line, "unknown key, did you mean %s?", near)
	s.bad[join(path, near)] = true
}

// checkMap checks a mapping whose keys are free text without case: names of header fields, or of resources.
func (s *schema) checkMap(path string, n *yaml.Node, t reflect.Type) {
	if n.Kind != yaml.MappingNode {
		s.refuse(path, n, "must be a mapping")
		return
	}
	kept := n.Content[:0:0]
	for i := 0; i+1 < len(n.Content); i += 2 {
		key, value := n.Content[i], n.Content[i+1]
		if key.ShortTag() != "!!str" {
			s.fail(path, key.Line, "a key must be a string")
			continue
		}
		sub := join(path, strings.ToLower(key.Value))
		s.places[sub] = place{line: key.Line}
		if isNull(value) {
			s.fail(sub, key.Line, "must be %s", nameOf(t))
			continue
		}
		s.checkScalar(sub, value, t)
		kept = append(kept, key, value)
	}
	n.Content = kept
}

func (s *schema) checkList(path string, n *yaml.Node, t reflect.Type) {
	if n.Kind == yaml.ScalarNode && takesOne(t) {
		s.checkScalar(path, n, t.Elem())
		return
	}
	if n.Kind != yaml.SequenceNode {
		if takesOne(t) {
			s.refuse(path, n, "must be a string or a list of strings")
		} else {
			s.refuse(path, n, "must be a list")
		}
		return
	}
	for i, item := range n.Content {
		sub := index(path, i)
		s.places[sub] = place{line: item.Line, null: isNull(item)}
		if isNull(item) {
			s.fail(sub, item.Line, "must not be empty")
			continue
		}
		s.check(sub, item, t.Elem())
	}
}

func (s *schema) checkScalar(path string, n *yaml.Node, t reflect.Type) {
	if n.Kind != yaml.ScalarNode {
		s.refuse(path, n, "must be "+nameOf(t))
		return
	}
	if strings.HasPrefix(n.Tag, "!") && !strings.HasPrefix(n.Tag, "!!") {
		s.refuse(path, n, "a value that begins with ! must stand in quotes")
		return
	}
	var value any
	if err := n.Decode(&value); err != nil {
		s.refuse(path, n, "must be "+nameOf(t))
		return
	}
	if msg := wrongType(value, n.Value, t); msg != "" {
		s.refuse(path, n, msg)
	}
}

// wrongType says why value, written as text, cannot be a t; "" if it can. It does not repeat the text of what should be
// a string: it may be a secret.
func wrongType(value any, text string, t reflect.Type) string {
	str, isString := value.(string)
	switch {
	case t == reflect.TypeFor[time.Duration]():
		if isString {
			return badDuration(str)
		}
		if isNumber(value) {
			return badDuration(text)
		}
		return "must be " + nameOf(t)
	case t == reflect.TypeFor[codeText]():
		if _, isInt := value.(int); isInt || isString {
			return ""
		}
		return "must be a status code, or a range such as 200-499"
	case t == reflect.TypeFor[partText]():
		if _, isInt := value.(int); isInt || isString {
			return ""
		}
		return "must be a number, or a part such as 30%"
	case t == reflect.TypeFor[rawRate]() && isNumber(value):
		return fmt.Sprintf("needs a unit of time, e.g. %s/s", text)
	case t.Kind() == reflect.String:
		if !isString {
			return "must be a string: put it in quotes"
		}
	case t.Kind() == reflect.Int:
		if _, ok := value.(int); !ok {
			return notA(t, text, isString && isOne(strconv.Atoi(text)))
		}
	case t.Kind() == reflect.Float64:
		if f, ok := value.(float64); !isNumber(value) || ok && (math.IsNaN(f) || math.IsInf(f, 0)) {
			return notA(t, text, isString && isOne(strconv.ParseFloat(text, 64)))
		}
	case t.Kind() == reflect.Bool:
		if _, ok := value.(bool); !ok {
			return notA(t, text, isString && isOne(strconv.ParseBool(text)))
		}
	}
	return ""
}

// notA says that text is no t, or would be one without its quotes.
func notA(t reflect.Type, text string, quoted bool) string {
	if quoted {
		return fmt.Sprintf("must be %s, without quotes", nameOf(t))
	}
	return fmt.Sprintf("must be %s, not %q", nameOf(t), text)
}

func isOne[T any](_ T, err error) bool { return err == nil }

// badDuration says why text is no duration; "" if it is one.
func badDuration(text string) string {
	if f, err := strconv.ParseFloat(text, 64); err == nil {
		if !(f > 0) || math.IsInf(f, 0) {
			text = "5"
		}
		return fmt.Sprintf("needs a unit, e.g. %ss", text)
	}
	if _, err := time.ParseDuration(text); err != nil {
		return fmt.Sprintf("must be %s, not %q", nameOf(reflect.TypeFor[time.Duration]()), text)
	}
	return ""
}

// refuse reports the value of path and takes it out of the tree.
func (s *schema) refuse(path string, n *yaml.Node, msg string) {
	line := n.Line
	if p, ok := s.places[path]; ok {
		line = p.line
	}
	s.fail(path, line, "%s", msg)
	*n = nullNode(n)
}

func isNull(n *yaml.Node) bool { return n.Kind == yaml.ScalarNode && n.ShortTag() == "!!null" }

func isNumber(v any) bool {
	switch v.(type) {
	case int, int64, uint64, float64:
		return true
	}
	return false
}

// takesOne reports whether a list of type t may be written as its only item.
func takesOne(t reflect.Type) bool {
	return t == reflect.TypeFor[oneOrMany]() || t == reflect.TypeFor[codeList]()
}

func nameOf(t reflect.Type) string {
	switch {
	case t == reflect.TypeFor[time.Duration]():
		return "a duration such as 500ms, 5s or 2h"
	case t.Kind() == reflect.Int:
		return "a whole number"
	case t.Kind() == reflect.Float64:
		return "a number"
	case t.Kind() == reflect.Bool:
		return "true or false"
	}
	return "a string"
}

func keysOf(t reflect.Type) []string {
	var keys []string
	for f := range t.Fields() {
		keys = append(keys, f.Tag.Get("mapstructure"))
	}
	return keys
}

func fieldOf(t reflect.Type, key string) (reflect.StructField, bool) {
	if i := slices.Index(keysOf(t), key); i >= 0 {
		return t.Field(i), true
	}
	return reflect.StructField{}, false
}
