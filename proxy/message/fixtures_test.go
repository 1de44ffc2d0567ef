package message

import (
	"strconv"
	"strings"
	"testing"
)

// plain is a second, naive reading of a fixture. It holds for the captures only: CRLF, long names, no folds, no merged
// values, a space behind each colon.
type plain struct {
	start  string
	fields [][2]string
	body   string
}

func readPlain(raw []byte) plain {
	head, body, _ := strings.Cut(string(raw), "\r\n\r\n")
	all := strings.Split(head, "\r\n")
	p := plain{start: all[0], body: body}
	for _, l := range all[1:] {
		name, value, _ := strings.Cut(l, ": ")
		p.fields = append(p.fields, [2]string{name, value})
	}
	return p
}

func (p *plain) get(name string) string {
	for _, f := range p.fields {
		if f[0] == name {
			return f[1]
		}
	}
	return ""
}

func (p *plain) count(name string) (n int) {
	for _, f := range p.fields {
		if f[0] == name {
			n++
		}
	}
	return n
}

// after is what follows the key up to the next semicolon or the end.
func after(s, key string) string {
	_, v, _ := strings.Cut(s, key)
	v, _, _ = strings.Cut(v, ";")
	return v
}

// TestFixtures scans every captured message and compares with the naive reading.
func TestFixtures(t *testing.T) {
	for name, raw := range fixtures(t) {
		t.Run(name, func(t *testing.T) {
			m, p := mustScan(t, string(raw)), readPlain(raw)
			start := strings.SplitN(p.start, " ", 3)
			if m.Request {
				equal(t, "method", string(m.Bytes(m.MethodText)), start[0])
				equal(t, "known method", m.Method.String(), start[0])
				equal(t, "URI", string(m.Bytes(m.URI)), start[1])
			} else {
				equal(t, "status", strconv.Itoa(m.Status), start[1])
				equal(t, "reason", string(m.Bytes(m.Reason)), start[2])
			}
			for _, f := range []struct {
				name string
				l    Line
			}{
				{"Via", m.Via.Line},
				{"From", m.From},
				{"To", m.To},
				{"Call-ID", m.CallID},
				{"CSeq", m.CSeq},
				{"Max-Forwards", m.MaxForwards},
				{"Contact", m.Contact},
				{"Record-Route", m.RecordRoute},
				{"Content-Type", m.ContentType},
				{"User-Agent", m.UserAgent},
				{"Session-Expires", m.SessionExpires},
				{"Proxy-Require", m.ProxyRequire},
			} {
				equal(t, f.name, string(m.Bytes(f.l.Value)), p.get(f.name))
				equal(t, "Field "+f.name, string(m.Field(strings.ToLower(f.name))), p.get(f.name))
				if v := p.get(f.name); v != "" {
					equal(t, f.name+" line", string(m.Bytes(f.l.All)), f.name+": "+v+"\r\n")
				}
			}
			via := p.get("Via")
			protocol, rest, _ := strings.Cut(via, " ")
			sentBy, _, _ := strings.Cut(rest, ";")
			equal(t, "transport", string(m.Bytes(m.Via.Transport)), strings.TrimPrefix(protocol, "SIP/2.0/"))
			host := string(m.Bytes(m.Via.Host))
			if m.Via.Port != 0 {
				host += ":" + strconv.Itoa(m.Via.Port)
			}
			equal(t, "sent-by", host, sentBy)
			equal(t, "branch", string(m.Bytes(m.Via.Branch)), after(via, ";branch="))
			equal(t, "rport", strconv.FormatBool(m.Via.RPortSet), strconv.FormatBool(strings.Contains(via+";", ";rport;")))
			equal(t, "From tag", string(m.Bytes(m.FromTag)), after(p.get("From"), ";tag="))
			equal(t, "To tag", string(m.Bytes(m.ToTag)), after(p.get("To"), ";tag="))
			equal(t, "CSeq", strconv.FormatUint(uint64(m.CSeqNumber), 10)+" "+string(m.Bytes(m.CSeqMethod)), p.get("CSeq"))
			equal(t, "Content-Length", strconv.Itoa(m.ContentLength), p.get("Content-Length"))
			equal(t, "body", string(m.BodyBytes()), p.body)
			if hops := p.get("Max-Forwards"); hops == "" && m.Hops != -1 || hops != "" && strconv.Itoa(m.Hops) != hops {
				t.Errorf("hops %d, want %q", m.Hops, hops)
			}
			if m.ViaFields != p.count("Via") || m.HasRoute() != (p.count("Route") > 0) || m.InDialog() != strings.Contains(p.get("To"), ";tag=") {
				t.Errorf("%d Via fields, route %v, in dialog %v", m.ViaFields, m.HasRoute(), m.InDialog())
			}
			routes, ok := m.Routes(nil)
			rr, ok2 := m.RecordRoutes(nil)
			if !ok || !ok2 || len(routes) != p.count("Route") || len(rr) != p.count("Record-Route") {
				t.Errorf("%d Routes (%v), %d Record-Routes (%v)", len(routes), ok, len(rr), ok2)
			}
		})
	}
}

// TestFreeSWITCHInvite spells out what routing reads of the message that matters most: no Contact, no user part.
func TestFreeSWITCHInvite(t *testing.T) {
	m := mustScan(t, string(fixture(t, "fs-recog-udp-01-INVITE")))
	if m.Method != Invite || m.InDialog() || m.Hops != 70 || m.CSeqNumber != 123093295 || m.ContentLength != 392 || !m.Via.RPortSet {
		t.Errorf("%+v", m)
	}
	if !m.Contact.All.Empty() || m.Field("contact") != nil {
		t.Error("it has no Contact")
	}
	equal(t, "agent", string(m.Bytes(m.UserAgent.Value)), "ASR_MRCP_CLIENT_FS_BAIDU")
	equal(t, "supported", string(m.Field("supported")), "timer, 100rel")
	u, ok := ParseURI(m.Bytes(m.URI))
	if !ok || len(u.User) != 0 || string(u.Host) != "127.0.0.11" || u.Port != 8060 {
		t.Errorf("%+v", u)
	}
}

// TestOrphanBye is the BYE that the UniMRCP client sends for a 2xx it no longer wants: no Max-Forwards, the highest CSeq.
func TestOrphanBye(t *testing.T) {
	m := mustScan(t, string(fixture(t, "umc-late-200-after-timeout-udp-2-BYE")))
	if m.Method != Bye || m.Hops != -1 || m.CSeqNumber != 1<<31-1 {
		t.Errorf("%v, hops %d, CSeq %d", m.Method, m.Hops, m.CSeqNumber)
	}
}
