package app

import (
	"fmt"
	"net/http"
	"net/netip"
	"path/filepath"
	"strconv"
	"time"

	"go.uber.org/zap"

	"mrcproxy/balancer"
	"mrcproxy/config"
	"mrcproxy/internal/admin"
	"mrcproxy/internal/api"
	"mrcproxy/internal/operator"
)

// control is the daemon as the API sees it.
type control struct{ *App }

var _ admin.Daemon = control{}

func operatorFile(c *config.Config) string { return filepath.Join(c.DataDir, "operator.json") }

func failure(status int, format string, args ...any) error {
	return &api.Error{Status: status, Message: fmt.Sprintf(format, args...)}
}

// backendID is how the API names a backend.
func backendID(id uint32) string { return fmt.Sprintf("%08x", id) }

// Do does one thing to a scope, and tells of it.
func (c control) Do(v admin.Verb, a api.Action) (api.Result, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	s, covered, err := c.scope(a.Scope)
	if err != nil {
		return api.Result{}, err
	}
	res := api.Result{Backends: len(covered), Changed: true}
	for _, b := range covered {
		res.Sessions += b.Sessions
	}
	switch v {
	case admin.Drain, admin.Disable:
		err = c.want(operator.Mode(v), s, a)
	case admin.Enable:
		res.Changed = c.book.Lift(s)
		res.Warning = c.stillOut(covered)
	case admin.Weight:
		res.Changed, err = c.weigh(s, a)
	case admin.Probe:
		for _, b := range covered {
			c.health.ProbeNow(b.ID)
		}
	default:
		err = failure(http.StatusBadRequest, "unknown verb %q", v)
	}
	if err != nil {
		return api.Result{}, err
	}
	c.probeBackends(c.cfg.Load())
	if lost := c.book.Lost(); lost != nil && v != admin.Probe {
		c.log.Warn("what operators want will not outlive a restart", zap.Error(lost))
		res.Warning = join(res.Warning, "this will not outlive a restart: "+lost.Error())
	}
	c.told(v, s, covered, a, res)
	return res, nil
}

// want has a wish hold.
func (c control) want(mode operator.Mode, s operator.Scope, a api.Action) error {
	now := time.Now()
	until := a.Until
	if a.For != "" {
		d, err := time.ParseDuration(a.For)
		switch {
		case err != nil || d <= 0:
			return failure(http.StatusBadRequest, "for must be a duration such as 30m, not %q", a.For)
		case !until.IsZero():
			return failure(http.StatusBadRequest, "give for or until, not both")
		}
		until = now.Add(d)
	}
	if !until.IsZero() && !until.After(now) {
		return failure(http.StatusBadRequest, "until %s has passed already", until.Format(time.RFC3339))
	}
	c.book.Put(operator.Wish{Scope: s, Mode: mode, Since: now.Truncate(time.Second), Until: until, Reason: a.Reason, By: a.By})
	return nil
}

// weigh gives one backend another weight, or without one the configuration's again.
func (c control) weigh(s operator.Scope, a api.Action) (changed bool, err error) {
	switch {
	case s.Backend == "":
		return false, failure(http.StatusBadRequest, "a weight is of one backend")
	case a.Weight == nil:
		changed = c.book.LiftWeight(s.Cluster, s.Backend)
	case *a.Weight < 0 || *a.Weight > maxWeight:
		return false, failure(http.StatusBadRequest, "weight must be 0 to %d, not %d", maxWeight, *a.Weight)
	default:
		changed = true
		c.book.PutWeight(operator.Weight{Cluster: s.Cluster, Backend: s.Backend, Weight: *a.Weight, Since: time.Now().Truncate(time.Second), Reason: a.Reason, By: a.By})
	}
	return changed, c.applySpec(c.spec(c.cfg.Load()))
}

// maxWeight keeps what an operator types within what cannot be a slip.
const maxWeight = 1_000_000

// stillOut says what else keeps backends out that were just enabled.
func (c control) stillOut(covered []balancer.BackendView) string {
	for _, b := range covered {
		if w, ok := c.book.For(b.Cluster, b.IDC, b.URI); ok {
			return fmt.Sprintf("%s is out still: %s of %s by %s", b.URI, w.Mode, w.Scope, w.By)
		}
	}
	return ""
}

func join(a, b string) string {
	switch {
	case a == "":
		return b
	case b == "":
		return a
	}
	return a + "; " + b
}

// scope finds what an action is about, and the backends that it covers. Something that does not exist is an error, so that
// a slip of the pen is not taken for an order.
func (c control) scope(s api.Scope) (operator.Scope, []balancer.BackendView, error) {
	switch {
	case s.Backend != "" && s.IDC != "":
		return operator.Scope{}, nil, failure(http.StatusBadRequest, "give idc, cluster and idc, or backend; not backend and idc")
	case s.Backend == "" && s.IDC == "":
		return operator.Scope{}, nil, failure(http.StatusBadRequest, "say what: idc, cluster and idc, or backend")
	}
	o := operator.Scope(s)
	var covered []balancer.BackendView
	for _, b := range c.bal.View() {
		switch {
		case s.Backend == "":
			if o.Covers(b.Cluster, b.IDC, b.URI) {
				covered = append(covered, b)
			}
		case (s.Cluster == "" || s.Cluster == b.Cluster) && (s.Backend == b.URI || s.Backend == backendID(b.ID)):
			covered = append(covered, b)
		}
	}
	switch {
	case len(covered) > 1 && s.Backend != "":
		return o, nil, failure(http.StatusConflict, "%s is in the clusters %s and %s: say which", s.Backend, covered[0].Cluster, covered[1].Cluster)
	case len(covered) == 1 && s.Backend != "":
		o = operator.Scope{Cluster: covered[0].Cluster, Backend: covered[0].URI}
	case len(covered) == 0 && !c.known(o):
		return o, nil, failure(http.StatusNotFound, "there is no %s", o)
	}
	return o, covered, nil
}

// known reports whether something is wanted of the scope, though nothing is in it now.
func (c control) known(s operator.Scope) bool {
	wishes, weights := c.book.List()
	for _, w := range wishes {
		if w.Scope == s {
			return true
		}
	}
	for _, w := range weights {
		if w.Cluster == s.Cluster && w.Backend == s.Backend {
			return true
		}
	}
	return false
}

// told writes an action down.
func (c control) told(v admin.Verb, s operator.Scope, covered []balancer.BackendView, a api.Action, res api.Result) {
	text := string(v) + " " + s.String()
	if v == admin.Weight {
		text += ": back to the configuration's"
		if a.Weight != nil {
			text = fmt.Sprintf("%s %s: %d", v, s, *a.Weight)
		}
	}
	if a.Reason != "" {
		text += ": " + a.Reason
	}
	c.log.Info("operator", zap.String("action", string(v)), zap.Stringer("scope", s), zap.String("by", a.By), zap.String("reason", a.Reason),
		zap.Int("backends", len(covered)), zap.Bool("changed", res.Changed))
	c.recent.Add(api.Event{At: time.Now(), Type: "operator", Cluster: s.Cluster, IDC: s.IDC, Backend: s.Backend, Text: text, By: a.By})
}

// Operator is what operators want.
func (c control) Operator() api.Operator {
	wishes, weights := c.book.List()
	o := api.Operator{Wishes: []api.Wish{}, Weights: []api.Weight{}, Kept: true}
	for _, w := range wishes {
		o.Wishes = append(o.Wishes, wish(w))
	}
	for _, w := range weights {
		o.Weights = append(o.Weights, api.Weight(w))
	}
	if lost := c.book.Lost(); lost != nil {
		o.Kept, o.Why = false, lost.Error()
	}
	return o
}

func wish(w operator.Wish) api.Wish {
	return api.Wish{Scope: api.Scope(w.Scope), Mode: string(w.Mode), Since: w.Since, Until: w.Until, Reason: w.Reason, By: w.By}
}

// Reload implements admin.Daemon.
func (c control) Reload(by string) error { return c.App.Reload("API, by " + by) }

// Config is what runs.
func (c control) Config() (api.Config, error) {
	text, err := config.Render(c.cfg.Load())
	if err != nil {
		return api.Config{}, err
	}
	r := c.reloads.Load()
	return api.Config{File: c.opts.Watch, Loaded: r.loaded, YAML: string(text), Last: r.last}, nil
}

// Diff is what a reload would change.
func (c control) Diff() (api.Diff, error) {
	next, err := c.opts.Load()
	if err != nil {
		return api.Diff{}, failure(http.StatusUnprocessableEntity, "%s", err)
	}
	return DiffOf(c.cfg.Load(), next), nil
}

// DiffOf is how two configurations differ.
func DiffOf(old, next *config.Config) api.Diff {
	return api.Diff{Changes: orNone(config.Diff(old, next)), NeedsRestart: orNone(config.NeedsRestart(old, next))}
}

// orNone makes a list that JSON has as [].
func orNone(l []string) []string {
	if l == nil {
		return []string{}
	}
	return l
}

// Route says what would become of an INVITE.
func (c control) Route(invite []byte, source netip.Addr) (api.Route, error) {
	return explain(routing(c.cfg.Load()), c.bal, invite, source)
}

// Backend is one of them, with its load.
func (c control) Backend(id string) (api.Backend, error) {
	n, err := strconv.ParseUint(id, 16, 32)
	if err == nil {
		now := time.Now()
		for _, v := range c.bal.View() {
			if uint64(v.ID) == n {
				return c.backend(v, now, true), nil
			}
		}
	}
	return api.Backend{}, failure(http.StatusNotFound, "there is no backend with the id %q", id)
}
