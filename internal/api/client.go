package api

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"
)

// Client asks one instance. Its fields do not change once it is in use.
type Client struct {
	Base  string // such as http://127.0.0.1:9060
	Token string // a bearer token; "" for none
	By    string // who asks, for the log
	HTTP  *http.Client
}

// ErrUnreachable is in the errors of a daemon that gave no answer.
var ErrUnreachable = errors.New("the daemon gives no answer")

// Get asks for a path below /api/v1/ and decodes the answer.
func (c *Client) Get(ctx context.Context, path string, query url.Values, into any) error {
	return c.ask(ctx, http.MethodGet, path, query, "", nil, into)
}

// Do carries an action out: drain, disable, enable, weight or probe.
func (c *Client) Do(ctx context.Context, verb string, a Action) (r Result, err error) {
	a.By = c.By
	body, err := json.Marshal(a)
	if err != nil {
		return r, err
	}
	err = c.ask(ctx, http.MethodPost, verb, nil, "application/json", body, &r)
	return r, err
}

// Reload has the daemon load its configuration again.
func (c *Client) Reload(ctx context.Context) (r Reload, err error) {
	err = c.ask(ctx, http.MethodPost, "reload", c.by(), "", nil, &r)
	return r, err
}

// Terminate ends a session.
func (c *Client) Terminate(ctx context.Context, id string) error {
	return c.ask(ctx, http.MethodDelete, "sessions/"+url.PathEscape(id), c.by(), "", nil, nil)
}

// Route says what would become of an INVITE from source, "" for any.
func (c *Client) Route(ctx context.Context, invite []byte, source string) (r Route, err error) {
	q := url.Values{}
	if source != "" {
		q.Set("source", source)
	}
	err = c.ask(ctx, http.MethodPost, "route", q, "message/sip", invite, &r)
	return r, err
}

// Follow calls f with each event after the number, until ctx ends or the connection does.
func (c *Client) Follow(ctx context.Context, after uint64, f func(Event)) error {
	resp, err := c.send(ctx, http.MethodGet, "events", url.Values{"after": {fmt.Sprint(after)}}, "", nil, "text/event-stream")
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	for lines := bufio.NewReader(resp.Body); ; {
		line, err := lines.ReadString('\n')
		switch {
		case ctx.Err() != nil:
			return nil
		case err != nil:
			return fmt.Errorf("%w: %w", ErrUnreachable, err)
		}
		if data, ok := strings.CutPrefix(line, "data: "); ok {
			var e Event
			if err := json.Unmarshal([]byte(data), &e); err != nil {
				return fmt.Errorf("event %s: %w", data, err)
			}
			f(e)
		}
	}
}

// Trace writes a trace to w until it ends or ctx does, and says how many messages it has and how many it lacks. Where ctx has ended it,
// nobody knows.
func (c *Client) Trace(ctx context.Context, q url.Values, w io.Writer) (messages, dropped int, err error) {
	q.Set("by", c.By)
	resp, err := c.send(ctx, http.MethodGet, "trace", q, "", nil, "*/*")
	if err != nil {
		return 0, 0, err
	}
	defer resp.Body.Close()
	if _, err = io.Copy(w, resp.Body); err != nil {
		return 0, 0, err
	}
	messages, err = strconv.Atoi(resp.Trailer.Get(TraceMessages))
	if err != nil {
		return 0, 0, fmt.Errorf("%w: the trace was cut off", ErrUnreachable)
	}
	dropped, _ = strconv.Atoi(resp.Trailer.Get(TraceDropped))
	return messages, dropped, nil
}

func (c *Client) by() url.Values { return url.Values{"by": {c.By}} }

func (c *Client) ask(ctx context.Context, method, path string, query url.Values, kind string, body []byte, into any) error {
	resp, err := c.send(ctx, method, path, query, kind, body, "application/json")
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if into == nil {
		_, err = io.Copy(io.Discard, resp.Body)
		return err
	}
	if err := json.NewDecoder(resp.Body).Decode(into); err != nil {
		return fmt.Errorf("answer of %s: %w", c.Base, err)
	}
	return nil
}

// send returns the answer when it is a good one.
func (c *Client) send(ctx context.Context, method, path string, query url.Values, kind string, body []byte, accept string) (*http.Response, error) {
	target := strings.TrimSuffix(c.Base, "/") + "/api/v1/" + path
	if len(query) > 0 {
		target += "?" + query.Encode()
	}
	req, err := http.NewRequestWithContext(ctx, method, target, bytes.NewReader(body))
	if err != nil {
		return nil, err
	}
	req.Header.Set("Accept", accept)
	if kind != "" {
		req.Header.Set("Content-Type", kind)
	}
	if c.Token != "" {
		req.Header.Set("Authorization", "Bearer "+c.Token)
	}
	resp, err := c.HTTP.Do(req)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrUnreachable, err)
	}
	if resp.StatusCode < 300 {
		return resp, nil
	}
	defer resp.Body.Close()
	text, _ := io.ReadAll(io.LimitReader(resp.Body, 1<<20))
	e := Error{Status: resp.StatusCode}
	if json.Unmarshal(text, &e) != nil || e.Message == "" {
		e.Message = fmt.Sprintf("%s: %s", resp.Status, strings.TrimSpace(string(text)))
	}
	return nil, &e
}
