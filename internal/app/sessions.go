package app

import (
	"cmp"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"go.uber.org/zap"

	"mrcproxy/internal/api"
	"mrcproxy/internal/session"
)

// Sessions implements admin.Daemon. Pages are in the order of the sessions' keys: one that begins or ends between two pages
// moves no other.
func (c control) Sessions(q api.SessionQuery) (api.SessionPage, error) {
	var after uint64
	if q.After != "" {
		var err error
		if after, err = strconv.ParseUint(q.After, 16, 64); err != nil {
			return api.SessionPage{}, failure(http.StatusBadRequest, "after must be the next of another page, not %q", q.After)
		}
	}
	page := api.SessionPage{Sessions: []api.Session{}}
	var all []*session.Session
	c.sessions.Each(func(s *session.Session) bool {
		if wanted(q, s) {
			page.Total++
			if s.Key() > after {
				all = append(all, s)
			}
		}
		return true
	})
	slices.SortFunc(all, func(a, b *session.Session) int { return cmp.Compare(a.Key(), b.Key()) })
	if len(all) > q.Limit {
		all = all[:q.Limit]
		page.Next = sessionID(all[len(all)-1].Key())
	}
	for _, s := range all {
		page.Sessions = append(page.Sessions, c.shownSession(s))
	}
	return page, nil
}

func sessionID(key uint64) string { return fmt.Sprintf("%016x", key) }

func wanted(q api.SessionQuery, s *session.Session) bool {
	b := s.Backend()
	return strings.Contains(s.CallID, q.CallID) && (q.Cluster == "" || q.Cluster == b.Cluster()) && (q.IDC == "" || q.IDC == b.IDC()) &&
		(q.Backend == "" || q.Backend == b.URI() || q.Backend == backendID(b.ID())) && (q.Route == "" || q.Route == s.Route)
}

func (c control) shownSession(s *session.Session) api.Session {
	b := s.Backend()
	shown := api.Session{ID: sessionID(s.Key()), CallID: s.CallID, Route: s.Route, Cluster: b.Cluster(), Wanted: s.Cluster, IDC: b.IDC(), Backend: b.URI(),
		Resource: s.Resource, Start: s.Start, Expires: s.Expires(), SetupMS: ms(s.Setup), Attempts: []api.Attempt{}, Learned: s.Learned, Endable: c.proxy.CanHangUp(s)}
	if s.Client.IsValid() {
		shown.Client = s.Client.String()
	}
	for _, a := range s.Attempts {
		shown.Attempts = append(shown.Attempts, api.Attempt{Backend: a.Backend.URI(), Outcome: a.Outcome, MS: ms(a.Took)})
	}
	return shown
}

// unendable is why a session that the API does not show as endable cannot be ended.
const unendable = "this session cannot be ended from here, only by its client or server: what a BYE needs of its INVITE's answer is not known. It began at " +
	"another instance, or was lost by the journal and learned again, or was written down by a version that did not keep that, or the secret has changed since"

// Terminate implements admin.Daemon.
func (c control) Terminate(id, by string) error {
	key, err := strconv.ParseUint(id, 16, 64)
	var found *session.Session
	if err == nil {
		c.sessions.Each(func(s *session.Session) bool {
			if s.Key() == key {
				found = s
			}
			return found == nil
		})
	}
	switch {
	case found == nil:
		return failure(http.StatusNotFound, "there is no session with the id %q", id)
	case !c.proxy.HangUp(found, `SIP;cause=200;text="ended by an operator"`):
		return failure(http.StatusNotImplemented, unendable)
	}
	c.sessions.End(key, session.Operator)
	b := found.Backend()
	c.log.Info("operator", zap.String("action", "terminate"), zap.String("call_id", clip(found.CallID)), zap.String("backend", b.URI()), zap.String("by", by))
	c.recent.Add(api.Event{At: time.Now(), Type: "operator", Cluster: b.Cluster(), IDC: b.IDC(), Backend: b.URI(), Text: "terminate session", CallID: clip(found.CallID), By: by})
	return nil
}
