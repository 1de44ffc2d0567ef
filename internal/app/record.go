package app

import (
	"strconv"
	"time"

	"mrcproxy/balancer"
	"mrcproxy/internal/cdr"
	"mrcproxy/internal/session"
	"mrcproxy/proxy"
)

// ReopenFiles opens the file of call records anew, after it was renamed.
func (a *App) ReopenFiles() { a.cdr.Reopen() }

// recordSession writes the record of a session that has ended.
func (a *App) recordSession(s *session.Session, why session.Reason) {
	if !a.cdr.On() {
		return
	}
	now := time.Now()
	b := s.Backend()
	r := &cdr.Record{
		Start: stamp(s.Start), End: stamp(now), CallID: clip(s.CallID), Route: s.Route, Wanted: s.Cluster, Cluster: b.Cluster(), IDC: b.IDC(), Backend: b.URI(),
		Attempts: recordedAttempts(s.Attempts), Resource: s.Resource, Code: 200, SetupMS: ms(s.Setup), EndedBy: cdr.EndedBy(why), Reason: why.String(), Learned: s.Learned,
	}
	if s.Client.IsValid() {
		r.Client = s.Client.String()
	}
	answered := s.Start.Add(s.Setup)
	r.DurationMS = now.Sub(answered).Milliseconds()
	if !s.Learned {
		r.Answer = stamp(answered)
	}
	withDetail(r, s.Detail)
	a.cdr.Write(r)
}

// recordInvite writes the record of an INVITE that became no session.
func (a *App) recordInvite(i *proxy.Invite) {
	if !a.cdr.On() {
		return
	}
	now := time.Now()
	r := &cdr.Record{
		Start: stamp(now.Add(-i.Took)), End: stamp(now), CallID: clip(i.CallID), Client: i.Client.String(), Route: i.Route, Wanted: i.Cluster, Cluster: i.Cluster,
		Attempts: recordedAttempts(i.Attempts), Code: i.Code, SetupMS: ms(i.Took), QueuedMS: ms(i.Queued), EndedBy: cdr.ByProxy, Reason: i.Why,
	}
	if b := i.Backend; b != nil {
		r.Cluster, r.IDC, r.Backend = b.Cluster(), b.IDC(), b.URI()
	}
	switch {
	case i.Route == "":
		r.Reason = "no route matches"
	case i.Code == 487:
		r.EndedBy, r.Reason = cdr.ByClient, "cancelled"
	case i.Why == "":
		r.EndedBy, r.Reason = cdr.ByServer, "refused"
	}
	withDetail(r, i.Detail)
	a.cdr.Write(r)
}

func withDetail(r *cdr.Record, d *session.Detail) {
	if d == nil {
		return
	}
	if r.Resource == "" {
		r.Resource = d.Resource
	}
	r.Channels = d.Channels
	if len(d.Headers) > 0 {
		r.Headers = make(map[string]string, len(d.Headers))
	}
	for _, h := range d.Headers {
		r.Headers[h.Name] = h.Value
	}
}

func recordedAttempts(l []session.Attempt) []cdr.Attempt {
	all := make([]cdr.Attempt, len(l))
	for i := range l {
		all[i] = recordedAttempt(l[i].Backend, &l[i])
	}
	return all
}

func recordedAttempt(b *balancer.Backend, a *session.Attempt) cdr.Attempt {
	code, _ := strconv.Atoi(a.Outcome) // 0: it ended without an answer
	return cdr.Attempt{Backend: b.URI(), IDC: b.IDC(), Code: code, Outcome: a.Outcome, MS: ms(a.Took)}
}

// stamp is a time as records have it.
func stamp(t time.Time) time.Time { return t.UTC().Truncate(time.Millisecond) }
