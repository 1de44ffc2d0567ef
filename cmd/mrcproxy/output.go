package main

import (
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"
	"go.yaml.in/yaml/v3"
)

// output is how a command writes its answer: as a table for people, or as the API has it.
type output struct{ format string }

func (o *output) flag(c *cobra.Command) {
	outputFlag(c, &o.format, "table, json or yaml", "table", "json", "yaml")
}

// outputFlag adds --output, one of some formats, of which the first is the default. Another is refused before the command does anything.
func outputFlag(c *cobra.Command, format *string, help string, formats ...string) {
	*format = formats[0]
	c.Flags().VarP(&choice{format, formats}, "output", "o", help)
	_ = c.RegisterFlagCompletionFunc("output", cobra.FixedCompletions(formats, cobra.ShellCompDirectiveNoFileComp)) // the flag is there
}

// choice is the value of a flag that is one of some words.
type choice struct {
	value *string
	of    []string
}

// Set implements pflag.Value.
func (c *choice) Set(s string) error {
	if last := len(c.of) - 1; !slices.Contains(c.of, s) {
		return fmt.Errorf("must be %s or %s", strings.Join(c.of[:last], ", "), c.of[last])
	}
	*c.value = s
	return nil
}

// String implements pflag.Value.
func (c *choice) String() string {
	if c.value == nil {
		return ""
	}
	return *c.value
}

// Type implements pflag.Value.
func (*choice) Type() string { return "string" }

// write writes v, or calls table for the form that people read.
func (o *output) write(w io.Writer, v any, table func(io.Writer)) error {
	switch o.format {
	case "json":
		enc := json.NewEncoder(w)
		enc.SetIndent("", "  ")
		enc.SetEscapeHTML(false)
		return enc.Encode(v)
	case "yaml":
		return writeYAML(w, v)
	}
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	table(t)
	return t.Flush()
}

// writeYAML writes what JSON has, in its order.
func writeYAML(w io.Writer, v any) error {
	b, err := json.Marshal(v)
	if err != nil {
		return err
	}
	var n yaml.Node
	if err := yaml.Unmarshal(b, &n); err != nil { // JSON is YAML
		return err
	}
	plain(&n)
	enc := yaml.NewEncoder(w)
	enc.SetIndent(2)
	if err := enc.Encode(&n); err != nil {
		return err
	}
	return enc.Close()
}

// plain takes the brackets and quotes of JSON away.
func plain(n *yaml.Node) {
	n.Style = 0
	for _, c := range n.Content {
		plain(c)
	}
}

// cells writes the cells of a table; an empty one is a dash.
func cells(w io.Writer, all ...any) {
	texts := make([]string, len(all))
	for i, c := range all {
		if texts[i] = fmt.Sprint(c); texts[i] == "" {
			texts[i] = "-"
		}
	}
	fmt.Fprintln(w, strings.Join(texts, "\t"))
}

// when is a time in a table.
func when(t time.Time) string {
	if t.IsZero() {
		return ""
	}
	return t.Local().Format(time.DateTime)
}

// many is a number of things.
func many(n int, one string) string {
	if n != 1 {
		one += "s"
	}
	return fmt.Sprintf("%d %s", n, one)
}

// places is a number of sessions against a capacity.
func places(sessions, capacity int) string {
	if capacity < 0 {
		return fmt.Sprint(sessions)
	}
	return fmt.Sprintf("%d/%d", sessions, capacity)
}

// writeLine writes v as one line of JSON.
func writeLine(w io.Writer, v any) error {
	enc := json.NewEncoder(w)
	enc.SetEscapeHTML(false)
	return enc.Encode(v)
}
