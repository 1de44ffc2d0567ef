package main

import (
	"errors"
	"fmt"
	"net/url"
	"os"
	"strconv"
	"time"

	"github.com/spf13/cobra"
)

func traceCommand() *cobra.Command {
	var r remote
	var call, backend, file string
	var lasts time.Duration
	var count int
	c := &cobra.Command{
		Use:   "trace",
		Short: "Show SIP messages as they are received and sent",
		Long: "Show SIP messages as they are received and sent, until interrupted. With -w they go into a pcap file, for Wireshark, sngrep or\n" +
			"tcpdump; -w - writes it to standard output: mrcproxy trace -w - | sngrep -I /dev/stdin",
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			cl, err := r.client()
			if err != nil {
				return err
			}
			q := url.Values{"call_id": {call}, "backend": {backend}}
			if c.Flags().Changed("for") {
				q.Set("for", lasts.String())
			}
			if c.Flags().Changed("count") {
				q.Set("count", strconv.Itoa(count))
			}
			out, into, f := c.OutOrStdout(), "", lateFile{path: file}
			if file != "" {
				q.Set("format", "pcap")
			}
			if file != "" && file != "-" {
				out, into = &f, " in "+file
			}
			messages, dropped, err := cl.Trace(c.Context(), q, out)
			if c.Context().Err() != nil { // interrupted, which is its usual end
				return f.close()
			}
			if err = errors.Join(err, f.close()); err != nil {
				return err
			}
			lost := ""
			if dropped > 0 {
				lost = fmt.Sprintf(", %d more came too fast", dropped)
			}
			fmt.Fprintf(c.ErrOrStderr(), "%s%s%s\n", many(messages, "message"), into, lost)
			return nil
		},
	}
	r.flags(c)
	f := c.Flags()
	f.StringVar(&call, "call-id", "", "only whose Call-ID has this in it")
	f.StringVar(&backend, "backend", "", "only from this server and to it, by its URI or id")
	f.StringVarP(&file, "write", "w", "", "write a pcap file; - is standard output")
	f.DurationVar(&lasts, "for", 0, "end after this duration, such as 30s")
	f.IntVarP(&count, "count", "n", 0, "end after so many messages")
	return c
}

// lateFile is a file that is made when there is something to write: a request that is refused leaves the one before.
type lateFile struct {
	path string
	f    *os.File
}

// Write implements io.Writer.
func (l *lateFile) Write(b []byte) (_ int, err error) {
	if l.f == nil {
		if l.f, err = os.OpenFile(l.path, os.O_CREATE|os.O_TRUNC|os.O_WRONLY, 0o600); err != nil {
			return 0, err
		}
	}
	return l.f.Write(b)
}

func (l *lateFile) close() error {
	if l.f == nil {
		return nil
	}
	return l.f.Close()
}
