package proxy

import (
	"bytes"

	"mrcproxy/internal/session"
	"mrcproxy/proxy/message"
)

// Record says what is kept of calls for their records.
type Record struct {
	On      bool
	Headers []RecordedHeader
}

// RecordedHeader is a header field of INVITEs, by its name in lower case, and the name that records have for it.
type RecordedHeader struct{ Field, Name string }

// maxRecorded bounds what of one value is kept, in bytes.
const maxRecorded = 256

// detail is what a record has of an INVITE; nil when there is none to be written, or the INVITE is not there any more.
func (r *Record) detail(m *message.Message) *session.Detail {
	if !r.On || m == nil {
		return nil
	}
	asked, _ := nextLine(m.BodyBytes(), resourceLine)
	d := &session.Detail{Resource: recorded(asked)}
	for _, h := range r.Headers {
		if v := m.Field(h.Field); v != nil {
			d.Headers = append(d.Headers, session.Header{Name: h.Name, Value: recorded(v)})
		}
	}
	return d
}

func recorded(b []byte) string { return string(b[:min(len(b), maxRecorded)]) }

var resourceLine = []byte("\na=resource:")

// maxChannels are the MRCP channels of one session that are told: RFC 6787 knows six resources.
const maxChannels = 8

// channelsOf are the MRCP channels that a 2xx gives.
func channelsOf(m *message.Message) (l []string) {
	id, rest := nextLine(m.BodyBytes(), channel)
	for ; len(id) > 0 && len(l) < maxChannels; id, rest = nextLine(rest, channel) {
		l = append(l, recorded(id))
	}
	return l
}

// nextLine is the rest of the first line of an SDP that begins with prefix, which includes the line break before it, and what
// comes behind.
func nextLine(body, prefix []byte) (line, rest []byte) {
	_, line, ok := bytes.Cut(body, prefix)
	if !ok {
		return nil, nil
	}
	end := bytes.IndexByte(line, '\n')
	if end < 0 {
		end = len(line)
	}
	return bytes.TrimSpace(line[:end]), line[end:]
}
