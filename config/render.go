package config

import (
	"fmt"
	"maps"
	"net/netip"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode"

	"go.yaml.in/yaml/v3"
)

// hidden stands for a secret in what Render gives.
const hidden = "(hidden)"

// Render is the configuration as a file that gives the same one: with every default and what the environment overrides,
// and without its secrets.
func Render(c *Config) ([]byte, error) {
	shown := *c
	if len(c.Secret) > 0 {
		shown.Secret = []string{hidden}
	}
	if c.Admin.Token != "" {
		shown.Admin.Token = hidden
	}
	if c.HEP.Password != "" {
		shown.HEP.Password = hidden
	}
	if c.Admin.Listen == "" {
		shown.Admin.Listen = "off"
	}
	n := node(reflect.ValueOf(shown))
	return yaml.Marshal(n)
}

// node is a value in YAML; nil when there is nothing to say.
func node(v reflect.Value) *yaml.Node {
	if n, ok := special(v.Interface()); ok {
		return n
	}
	switch v.Kind() {
	case reflect.Pointer:
		if v.IsNil() {
			return nil
		}
		return node(v.Elem())
	case reflect.Struct:
		return mapping(v)
	case reflect.Slice:
		return sequence(v)
	case reflect.String:
		return text(v.String())
	case reflect.Float64:
		return plain(strconv.FormatFloat(v.Float(), 'g', -1, 64))
	}
	return plain(fmt.Sprint(v.Interface()))
}

// special is a value that the file has in a form of its own.
func special(v any) (n *yaml.Node, ok bool) {
	switch v := v.(type) {
	case time.Duration:
		return plain(short(v)), true
	case netip.Addr:
		if !v.IsValid() {
			return nil, true
		}
		return text(v.String()), true
	case Clients:
		return entries("allow", node(reflect.ValueOf(v.Allow)), "rate", text(rateText(v.Rate)), "total_rate", text(rateText(v.TotalRate)),
			"max_connections", plain(strconv.Itoa(v.MaxConnections))), true
	case CDR: // with no header fields, too: some are the default
		return entries("file", text(v.File), "headers", list(v.Headers)), true
	case Otherwise:
		return entries("reject", plain(number(v.Reject, 0)), "cluster", text(v.Cluster)), true
	case Cluster:
		return v.node(), true
	case Backend:
		return entries("uri", text(v.URI), "capacity", v.capacityNode(), "max_cps", plain(number(v.MaxCPS, 0)), "weight", plain(strconv.Itoa(v.Weight))), true
	case Deep: // with what is empty, too: a cluster can take back what stands above it
		return whole(reflect.ValueOf(v)), true
	case CodeSet:
		return list(strings.Split(v.String(), ",")), true
	case *Pattern:
		if v == nil {
			return nil, true
		}
		return text(v.String()), true
	case []HeaderMatch:
		var pairs []any
		for _, h := range v {
			pairs = append(pairs, h.Name, text(h.Pattern.String()))
		}
		return entries(pairs...), true
	case fmt.Stringer:
		return text(v.String()), true
	}
	return nil, false
}

// node is a cluster as the file has it.
func (c Cluster) node() *yaml.Node {
	fallback := node(reflect.ValueOf(c.Fallback))
	pairs := []any{"name", text(c.Name)}
	for _, f := range c.fields() {
		value := plain(f.value)
		switch f.key {
		case "fallback":
			value = fallback
		case "slow_start.window":
			f.key, value = "slow_start", entries("window", value)
		}
		pairs = append(pairs, f.key, value)
	}
	return entries(append(pairs, "groups", node(reflect.ValueOf(c.Groups)), "health", node(reflect.ValueOf(c.Health)))...)
}

// capacityNode is one number, or a mapping where there are limits for resources.
func (b Backend) capacityNode() *yaml.Node {
	if len(b.Resources) == 0 {
		return plain(number(b.Capacity, Unlimited))
	}
	var pairs []any
	for _, name := range slices.Sorted(maps.Keys(b.Resources)) {
		pairs = append(pairs, name, plain(strconv.Itoa(b.Resources[name])))
	}
	return entries(append(pairs, total, plain(number(b.Capacity, Unlimited)))...)
}

// mapping is a struct with its fields as keys.
func mapping(v reflect.Value) *yaml.Node {
	var pairs []any
	for f, value := range v.Fields() {
		pairs = append(pairs, snake(f.Name), node(value))
	}
	return entries(pairs...)
}

// whole is a struct with all of its fields, those that have nothing to say as empty strings.
func whole(v reflect.Value) *yaml.Node {
	var pairs []any
	for f, value := range v.Fields() {
		n := node(value)
		if n == nil {
			n = &yaml.Node{Kind: yaml.ScalarNode, Tag: "!!str", Style: yaml.DoubleQuotedStyle}
		}
		pairs = append(pairs, snake(f.Name), n)
	}
	return entries(pairs...)
}

// entries are keys and their nodes by turns; keys without one are left out.
func entries(pairs ...any) *yaml.Node {
	n := &yaml.Node{Kind: yaml.MappingNode}
	for i := 0; i < len(pairs); i += 2 {
		key, _ := pairs[i].(string)
		if value, _ := pairs[i+1].(*yaml.Node); value != nil {
			n.Content = append(n.Content, text(key), value)
		}
	}
	if n.Content == nil {
		return nil
	}
	return n
}

func sequence(v reflect.Value) *yaml.Node {
	n := &yaml.Node{Kind: yaml.SequenceNode}
	for i := range v.Len() {
		if item := node(v.Index(i)); item != nil {
			n.Content = append(n.Content, item)
		}
	}
	if n.Content == nil {
		return nil
	}
	return n
}

func list(items []string) *yaml.Node {
	n := &yaml.Node{Kind: yaml.SequenceNode, Style: yaml.FlowStyle}
	for _, item := range items {
		n.Content = append(n.Content, text(item))
	}
	return n
}

// text is a string, with quotes where it needs them; nil for none.
func text(s string) *yaml.Node {
	if s == "" {
		return nil
	}
	n := &yaml.Node{}
	n.SetString(s)
	return n
}

// plain is a number, a duration or the like; nil for none.
func plain(s string) *yaml.Node {
	if s == "" {
		return nil
	}
	return &yaml.Node{Kind: yaml.ScalarNode, Value: s}
}

// snake is the key of a field: MaxConnections is max_connections, TCPAbove tcp_above.
func snake(field string) string {
	var sb strings.Builder
	r := []rune(field)
	for i, c := range r {
		if i > 0 && unicode.IsUpper(c) && (!unicode.IsUpper(r[i-1]) || i+1 < len(r) && unicode.IsLower(r[i+1])) {
			sb.WriteByte('_')
		}
		sb.WriteRune(unicode.ToLower(c))
	}
	return sb.String()
}
