package admin

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/netip"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"

	"go.uber.org/zap"

	"mrcproxy/internal/api"
)

const (
	maxBody      = 64 << 10 // of a request
	defaultLimit = 100      // sessions in a page
	maxLimit     = 1000
	maxReason    = 500 // characters
)

// endpoints are /api/v1 without the events.
func (o Options) endpoints() map[string]http.HandlerFunc {
	d := o.Daemon
	m := map[string]http.HandlerFunc{
		"GET /api/v1/status":   func(w http.ResponseWriter, _ *http.Request) { o.json(w, d.Status()) },
		"GET /api/v1/clusters": func(w http.ResponseWriter, _ *http.Request) { o.json(w, d.Clusters()) },
		"GET /api/v1/groups":   o.groups,
		"GET /api/v1/backends": o.backends,
		"GET /api/v1/backends/{id}": func(w http.ResponseWriter, r *http.Request) {
			b, err := d.Backend(r.PathValue("id"))
			o.answer(w, b, err)
		},
		"GET /api/v1/sessions": o.sessions,
		"DELETE /api/v1/sessions/{id}": func(w http.ResponseWriter, r *http.Request) {
			o.answer(w, struct{}{}, d.Terminate(r.PathValue("id"), by(r, r.FormValue("by"))))
		},
		"GET /api/v1/operator": func(w http.ResponseWriter, _ *http.Request) { o.json(w, d.Operator()) },
		"GET /api/v1/config": func(w http.ResponseWriter, _ *http.Request) {
			c, err := d.Config()
			o.answer(w, c, err)
		},
		"GET /api/v1/config/diff": func(w http.ResponseWriter, _ *http.Request) {
			diff, err := d.Diff()
			o.answer(w, diff, err)
		},
		"POST /api/v1/reload": func(w http.ResponseWriter, r *http.Request) {
			if err := d.Reload(by(r, r.FormValue("by"))); err != nil {
				o.fail(w, &api.Error{Status: http.StatusUnprocessableEntity, Message: err.Error()})
				return
			}
			c, err := d.Config()
			o.answer(w, c.Last, err)
		},
		"POST /api/v1/route": o.route,
	}
	for _, v := range []Verb{Drain, Disable, Enable, Weight, Probe} {
		m["POST /api/v1/"+string(v)] = o.action(v)
	}
	return m
}

func (o Options) groups(w http.ResponseWriter, r *http.Request) {
	cluster := r.FormValue("cluster")
	all := []api.Group{}
	for _, c := range o.Daemon.Clusters() {
		if cluster == "" || cluster == c.Name {
			all = append(all, c.Groups...)
		}
	}
	o.json(w, all)
}

func (o Options) backends(w http.ResponseWriter, r *http.Request) {
	load, err := flag(r, "load")
	if err != nil {
		o.fail(w, err)
		return
	}
	cluster, idc, state := r.FormValue("cluster"), r.FormValue("idc"), r.FormValue("state")
	all := []api.Backend{}
	for _, b := range o.Daemon.Backends(load) {
		if (cluster == "" || cluster == b.Cluster) && (idc == "" || idc == b.IDC) && (state == "" || state == b.State) {
			all = append(all, b)
		}
	}
	o.json(w, all)
}

func (o Options) sessions(w http.ResponseWriter, r *http.Request) {
	q := api.SessionQuery{
		CallID: r.FormValue("call_id"), Cluster: r.FormValue("cluster"), IDC: r.FormValue("idc"),
		Backend: r.FormValue("backend"), Route: r.FormValue("route"), After: r.FormValue("after"), Limit: defaultLimit,
	}
	if text := r.FormValue("limit"); text != "" {
		n, err := strconv.Atoi(text)
		if err != nil || n < 1 || n > maxLimit {
			o.fail(w, badRequest("limit must be 1 to %d, not %q", maxLimit, text))
			return
		}
		q.Limit = n
	}
	page, err := o.Daemon.Sessions(q)
	o.answer(w, page, err)
}

// action does one thing to a scope.
func (o Options) action(v Verb) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		dec := json.NewDecoder(http.MaxBytesReader(w, r.Body, maxBody))
		dec.DisallowUnknownFields()
		var a api.Action
		if err := dec.Decode(&a); err != nil {
			o.fail(w, badRequest("the body is not an action: %s", err))
			return
		}
		if err := checkReason(a.Reason); err != nil {
			o.fail(w, err)
			return
		}
		a.By = by(r, a.By)
		res, err := o.Daemon.Do(v, a)
		o.answer(w, res, err)
	}
}

// checkReason refuses what would not be a line of a log, a page or a terminal.
func checkReason(reason string) error {
	switch {
	case utf8.RuneCountInString(reason) > maxReason:
		return badRequest("reason must be at most %d characters long", maxReason)
	case strings.ContainsFunc(reason, func(c rune) bool { return !unicode.IsPrint(c) }):
		return badRequest("reason must be printable, on one line")
	}
	return nil
}

// route takes a message as it would stand on the wire.
func (o Options) route(w http.ResponseWriter, r *http.Request) {
	source := netip.IPv4Unspecified()
	if text := r.URL.Query().Get("source"); text != "" {
		var err error
		if source, err = netip.ParseAddr(text); err != nil {
			o.fail(w, badRequest("source must be an IP address, not %q", text))
			return
		}
	}
	invite, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxBody))
	if err != nil {
		o.fail(w, badRequest("the message cannot be read: %s", err))
		return
	}
	answer, err := o.Daemon.Route(invite, source)
	o.answer(w, answer, err)
}

// by is who asks: as logged in, else as claimed, and from where.
func by(r *http.Request, claimed string) string {
	name := whoOf(r)
	switch {
	case name == "":
		name = claimed
	case claimed != "" && claimed != name:
		name += " (" + claimed + ")"
	}
	if name == "" {
		name = "somebody"
	}
	host, _, _ := strings.Cut(r.RemoteAddr, "%")
	if a, err := netip.ParseAddrPort(r.RemoteAddr); err == nil {
		host = a.Addr().String()
	}
	return printable(name) + " at " + host
}

// printable bounds what a client can write into the log.
func printable(s string) string {
	s = strings.Map(func(r rune) rune {
		if !unicode.IsPrint(r) {
			return -1
		}
		return r
	}, s)
	return strings.ToValidUTF8(s[:min(len(s), 128)], "")
}

func flag(r *http.Request, name string) (bool, error) {
	text := r.FormValue(name)
	if text == "" {
		return false, nil
	}
	v, err := strconv.ParseBool(text)
	if err != nil {
		return false, badRequest("%s must be true or false, not %q", name, text)
	}
	return v, nil
}

func badRequest(format string, args ...any) *api.Error {
	return &api.Error{Status: http.StatusBadRequest, Message: fmt.Sprintf(format, args...)}
}

func (o Options) answer(w http.ResponseWriter, v any, err error) {
	if err != nil {
		o.fail(w, err)
		return
	}
	o.json(w, v)
}

func (o Options) fail(w http.ResponseWriter, err error) {
	e := &api.Error{Status: http.StatusInternalServerError, Message: err.Error()}
	if known, ok := errors.AsType[*api.Error](err); ok {
		e = known
	}
	o.write(w, e.Status, e)
}

func (o Options) json(w http.ResponseWriter, v any) { o.write(w, http.StatusOK, v) }

func (o Options) write(w http.ResponseWriter, code int, v any) {
	body, err := json.Marshal(v)
	if err != nil { // a type of ours that JSON cannot have
		o.Log.Error("answer of the API", zap.Error(err))
		code, body = http.StatusInternalServerError, []byte(`{"error":"the answer cannot be encoded"}`)
	}
	h := w.Header()
	h.Set("Content-Type", "application/json")
	h.Set("Cache-Control", "no-store")
	h.Set("X-Content-Type-Options", "nosniff")
	w.WriteHeader(code)
	_, _ = w.Write(append(body, '\n')) // the client has gone: nothing to do
}
