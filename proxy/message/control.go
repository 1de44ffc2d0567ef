package message

import "bytes"

// control looks for what other stacks read in another way: a CR alone, which some take for a line end (RFC 3261 7 knows
// only CRLF; a LF alone ends a line here as in most stacks), and NUL, where some take the text to end. head is the header
// section with the start line, crlf the number of its lines that end in CRLF.
func (m *Message) control(head []byte, crlf int) error {
	if bytes.Count(head, []byte{'\r'}) != crlf {
		return ErrBareCR
	}
	if bytes.IndexByte(head, 0) >= 0 && m.strayNUL() {
		return ErrNUL
	}
	return nil
}

// strayNUL reports whether there is a NUL where it changes the message's meaning: in the start line, in a field's name,
// in Via, Call-ID or CSeq, or in From or To outside of a quoted string. RFC 3261 25.1 has it in quoted strings; the values
// of other fields are not ours to judge.
func (m *Message) strayNUL() bool {
	if bytes.IndexByte(m.Raw[:m.Headers], 0) >= 0 {
		return true
	}
	stray := false
	m.eachField("", every, func(l Line) bool {
		text := m.Bytes(l.All)
		n := bytes.IndexByte(text, 0)
		if n < 0 {
			return true
		}
		colon := bytes.IndexByte(text, ':')
		switch name := bytes.TrimRight(text[:colon], " \t"); {
		case n < colon, isField(name, "via", 'v'), isField(name, "call-id", 'i'), isField(name, "cseq", 0):
			stray = true
		case isField(name, "from", 'f'), isField(name, "to", 't'):
			stray = unquotedNUL(m.Bytes(l.Value))
		}
		return !stray
	})
	return stray
}

func unquotedNUL(b []byte) bool {
	for p := 0; p < len(b); p++ {
		switch b[p] {
		case 0:
			return true
		case '"':
			if p = quoteEnd(b, p, len(b)) - 1; p < 0 {
				return true
			}
		}
	}
	return false
}
