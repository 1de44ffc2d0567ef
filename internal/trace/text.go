package trace

import (
	"io"
	"strings"
	"unicode"
	"unicode/utf8"
)

const hex = "0123456789abcdef"

// Text writes messages for people to read.
type Text struct {
	w   io.Writer
	buf []byte
}

// NewText makes one that writes to w.
func NewText(w io.Writer) *Text { return &Text{w: w} }

// Write writes one message: a line that says when and between whom, the message, and an empty line. What could be an order to a
// terminal is written as \xNN.
func (t *Text) Write(m *Message) error {
	way := "received"
	if m.Sent {
		way = "sent"
	}
	b := m.At.UTC().AppendFormat(t.buf[:0], "2006-01-02T15:04:05.000000Z")
	b = append(b, ' ')
	b = append(b, way...)
	b = append(b, ' ')
	b = append(b, strings.ToLower(m.Proto.String())...)
	b = append(b, ' ')
	b = m.Src.AppendTo(b)
	b = append(b, " -> "...)
	b = m.Dst.AppendTo(b)
	b = append(b, '\n')
	for i := 0; i < len(m.Text); {
		r, n := utf8.DecodeRune(m.Text[i:])
		switch {
		case r == '\r' && i+1 < len(m.Text) && m.Text[i+1] == '\n':
		case r == '\n' || r == '\t' || unicode.IsPrint(r) && (r != utf8.RuneError || n > 1):
			b = append(b, m.Text[i:i+n]...)
		default:
			for _, c := range m.Text[i : i+n] {
				b = append(b, '\\', 'x', hex[c>>4], hex[c&15])
			}
		}
		i += n
	}
	if b[len(b)-1] != '\n' {
		b = append(b, '\n')
	}
	t.buf = append(b, '\n')
	_, err := t.w.Write(t.buf)
	return err
}
