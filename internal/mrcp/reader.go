package mrcp

import (
	"bufio"
	"errors"
	"io"
)

// Reader cuts messages off a stream.
type Reader struct{ in *bufio.Reader }

// NewReader reads from r.
func NewReader(r io.Reader) *Reader { return &Reader{bufio.NewReaderSize(r, 4096)} }

// Read gives the next message. io.EOF: the stream ended between two messages. After any error the stream is of no more
// use.
func (r *Reader) Read() (*Message, error) {
	n, err := r.length()
	if err != nil {
		return nil, err
	}
	b := make([]byte, n)
	if _, err := io.ReadFull(r.in, b); err != nil {
		return nil, io.ErrUnexpectedEOF
	}
	m, _, err := Parse(b)
	return m, err
}

func (r *Reader) length() (int, error) {
	for k := 1; ; k++ {
		head, err := r.in.Peek(k)
		if err != nil {
			if errors.Is(err, io.EOF) && len(head) > 0 {
				err = io.ErrUnexpectedEOF
			}
			return 0, err
		}
		if n, err := Length(head); !errors.Is(err, ErrShort) {
			return n, err
		}
	}
}
