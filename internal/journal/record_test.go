package journal

import (
	"net/netip"
	"reflect"
	"testing"
	"time"

	"mrcproxy/balancer"
	"mrcproxy/internal/session"
)

// FuzzRecord: no bytes make the parser fail in another way than with an error, and what it takes has no more in it than
// there was.
func FuzzRecord(f *testing.F) {
	b := balancer.New()
	l := b.Recall("asr", "a", balancer.BackendSpec{URI: "sip:10.0.0.1", Network: "udp", Addr: netip.MustParseAddrPort("10.0.0.1:5060"), Weight: 1})
	tab := session.NewTable(session.Options{OnEnd: func(*session.Session, session.Reason) {}})
	s := &session.Session{
		Kind: &session.Kind{Route: "r", Cluster: "c", Resource: "speechsynth"}, CallID: "call", Client: netip.MustParseAddrPort("10.0.0.9:5060"), Start: time.Unix(1, 0), Setup: 7, Lease: l,
		Dialog: "x\ny", Learned: true, Attempts: []session.Attempt{{Backend: l.Backend(), Outcome: "503", Took: 9}, {Backend: l.Backend(), Outcome: "200", Took: 1}},
		Detail: &session.Detail{Resource: "speechsynth", Channels: []string{"1@speechsynth"}, Headers: []session.Header{{Name: "X-CID", Value: "7"}}},
	}
	if !tab.Add(3, s, time.Minute) {
		f.Fatal("not taken")
	}
	text := appendRecord(nil, s, time.Now())
	got, err := parseRecord(text)
	id := l.Backend().ID()
	want := record{expires: got.expires, server: id, learned: true, setup: 7, callID: "call", kind: *s.Kind, client: s.Client, dialog: s.Dialog,
		attempts: []attempt{{id, "503", 9}, {id, "200", 1}}, detail: s.Detail}
	if err != nil || !reflect.DeepEqual(got, want) || time.Until(time.UnixMilli(got.expires)).Round(time.Second) != 80*time.Second {
		f.Fatalf("%+v, %v", got, err)
	}
	if _, err := parseRecord(append([]byte{1}, text...)); err == nil {
		f.Error("another record")
	}
	f.Add(text[:len(text)-4])
	plain := *s.Kind
	bare := &session.Session{Kind: &plain, CallID: "call", Client: s.Client, Start: s.Start, Lease: l}
	if !tab.Add(5, bare, time.Minute) {
		f.Fatal("not taken")
	}
	if got, err := parseRecord(appendRecord(nil, bare, time.Now())); err != nil || got.detail != nil {
		f.Errorf("%+v, %v", got, err)
	}
	f.Add([]byte{})
	f.Add([]byte("\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01"))
	f.Fuzz(func(t *testing.T, b []byte) {
		r, err := parseRecord(seal(b))
		if err == nil && len(r.callID)+len(r.dialog)+3*len(r.attempts) > len(b) {
			t.Errorf("%d bytes became %+v", len(b), r)
		}
	})
}
