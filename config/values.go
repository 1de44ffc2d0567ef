package config

import (
	"fmt"
	"math"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"time"
)

// The most listeners and attempts that the proxy has room for.
const (
	maxListeners = 16
	maxAttempts  = 16
)

// duration sets dst to a value that was given; least is the shortest allowed.
func (b *builder) duration(path string, dst, src *time.Duration, least time.Duration) {
	if src == nil {
		return
	}
	if *dst = *src; *src >= least {
		return
	}
	switch {
	case least == 0:
		b.fail(path, "must not be negative, not %s", *src)
	case least == 1:
		b.fail(path, "must be longer than 0, not %s", *src)
	default:
		b.fail(path, "must be at least %s, not %s", short(least), *src)
	}
}

// mostOf is the largest that a number of anything can be: what is made of it must not overflow.
const mostOf = math.MaxInt32

// count sets dst to a value that was given; least is the smallest allowed.
func (b *builder) count(path string, dst, src *int, least int) {
	if src == nil {
		return
	}
	*dst = *src
	b.within(path, *src, least)
}

// within reports whether n is from least to mostOf, and fails if it is not.
func (b *builder) within(path string, n, least int) bool {
	switch {
	case n < least:
		b.fail(path, "must be at least %d, not %d", least, n)
	case n > mostOf:
		b.fail(path, "must be at most %d, not %d", mostOf, n)
	default:
		return true
	}
	return false
}

// part sets dst to a value that was given, 0 to 1.
func (b *builder) part(path string, dst, src *float64) {
	if src == nil {
		return
	}
	if *dst = *src; *src < 0 || *src > 1 {
		b.fail(path, "must be 0 to 1, not %v", *src)
	}
}

// oneOf sets dst to a value that was given and is one of known.
func oneOf[T ~string](b *builder, path string, dst *T, src *string, known ...T) {
	if src == nil {
		return
	}
	if *dst = T(*src); slices.Contains(known, *dst) {
		return
	}
	words := make([]string, len(known))
	for i, k := range known {
		words[i] = string(k)
	}
	list := strings.Join(words[:len(words)-1], ", ") + " or " + words[len(words)-1]
	if near := closest(*src, words); near != "" {
		b.fail(path, "must be %s, not %q: did you mean %s?", list, *src, near)
	} else {
		b.fail(path, "must be %s, not %q", list, *src)
	}
}

// short writes d without the zero units that time.Duration writes: 5m, not 5m0s.
func short(d time.Duration) string {
	s := d.String()
	if strings.HasSuffix(s, "m0s") {
		s = strings.TrimSuffix(s, "0s")
	}
	if strings.HasSuffix(s, "h0m") {
		s = strings.TrimSuffix(s, "0m")
	}
	return s
}

// prefixes reads networks in CIDR notation, or single addresses.
func (b *builder) prefixes(path string, texts []string) []netip.Prefix {
	var all []netip.Prefix
	for i, text := range texts {
		sub := b.item(path, i)
		p, err := parsePrefix(text)
		switch {
		case err != nil:
			b.fail(sub, "%s", err)
		case slices.Contains(all, p):
			b.fail(sub, "%s is given twice", p)
		default:
			all = append(all, p)
		}
	}
	return all
}

func parsePrefix(text string) (netip.Prefix, error) {
	if addr, err := netip.ParseAddr(text); err == nil && addr.Zone() == "" {
		addr = addr.Unmap()
		return netip.PrefixFrom(addr, addr.BitLen()), nil
	}
	p, err := netip.ParsePrefix(text)
	if err != nil || p.Addr().Is4In6() {
		return netip.Prefix{}, fmt.Errorf("must be a network such as 10.0.0.0/8, or an IP address, not %q", text)
	}
	if p != p.Masked() {
		return netip.Prefix{}, fmt.Errorf("%s has address bits beyond its prefix length, did you mean %s or %s?", text, p.Masked(), p.Addr())
	}
	return p, nil
}

// tls reads the certificate files' names; whether the files can be used shows when they are loaded.
func (b *builder) tls(c *Config, raw *rawTLS) {
	if raw != nil {
		for dst, src := range map[*string]*string{&c.TLS.Cert: raw.Cert, &c.TLS.Key: raw.Key, &c.TLS.ClientCA: raw.ClientCA, &c.TLS.ServerCA: raw.ServerCA} {
			if src != nil {
				*dst = *src
			}
		}
		oneOf(b, "tls.client_auth", &c.TLS.ClientAuth, raw.ClientAuth, "none", "request", "require")
	}
	switch t := c.TLS; {
	case (t.Cert == "") != (t.Key == ""):
		b.fail("tls", "cert and key must be given together")
	case t.ClientAuth != "none" && t.ClientCA == "":
		b.fail("tls.client_auth", "needs client_ca: whose certificates are good")
	case t.ClientAuth == "none" && t.ClientCA != "":
		b.fail("tls.client_ca", "does nothing without client_auth: request or require")
	}
	for i, l := range c.Listen {
		if l.Network == "tls" && c.TLS.Cert == "" {
			b.fail(index("listen", i), "a tls listener needs tls.cert and tls.key")
		}
	}
}

// rate reads a number of requests in a unit of time, such as 200/s, 30/m or 1000/h.
func (b *builder) rate(path string, dst *float64, raw *rawRate) {
	if raw == nil {
		return
	}
	number, unit, _ := strings.Cut(string(*raw), "/")
	n, err := strconv.ParseFloat(strings.TrimSpace(number), 64)
	seconds := map[string]float64{"s": 1, "m": 60, "h": 3600}[strings.TrimSpace(unit)]
	if err != nil || seconds == 0 || !(n > 0) || n > 1e9 {
		b.fail(path, "must be requests in a unit of time, such as 200/s or 1000/m, not %q", *raw)
		return
	}
	*dst = n / seconds
}

func (b *builder) failover(f *Failover, raw *rawFailover) {
	b.duration("failover.first_response_timeout", &f.FirstResponseTimeout, raw.FirstResponseTimeout, 1)
	b.duration("failover.answer_timeout", &f.AnswerTimeout, raw.AnswerTimeout, 1)
	b.duration("failover.deadline", &f.Deadline, raw.Deadline, 1)
	b.count("failover.max_attempts", &f.MaxAttempts, raw.MaxAttempts, 1)
	if f.MaxAttempts > maxAttempts {
		b.fail("failover.max_attempts", "must be at most %d, not %d", maxAttempts, f.MaxAttempts)
	}
	b.duration("failover.connect_timeout", &f.ConnectTimeout, raw.ConnectTimeout, 1)
	b.duration("failover.t1", &f.T1, raw.T1, time.Millisecond)
	b.duration("failover.trying_after", &f.TryingAfter, raw.TryingAfter, 1)
	b.count("failover.tcp_above", &f.TCPAbove, raw.TCPAbove, 0)
	b.count("failover.reject", &f.Reject, raw.Reject, 0)
	if f.Reject != 480 && f.Reject != 503 {
		b.fail("failover.reject", "must be 480 or 503, not %d", f.Reject)
	}
	b.duration("failover.retry_after", &f.RetryAfter, raw.RetryAfter, time.Second)
	if f.RetryAfter%time.Second != 0 {
		b.fail("failover.retry_after", "must be whole seconds, not %s", f.RetryAfter)
	}
	if f.FirstResponseTimeout > f.Deadline && f.Deadline > 0 {
		b.fail(b.blame("failover.first_response_timeout", "failover.deadline"),
			"first_response_timeout, %s, must not be longer than deadline, %s", short(f.FirstResponseTimeout), short(f.Deadline))
	}
}

// health lays the values given at path over those in h.
func (b *builder) health(path string, h *Health, raw *rawHealth) {
	b.duration(path+".interval", &h.Interval, raw.Interval, 10*time.Millisecond)
	b.duration(path+".fast_interval", &h.FastInterval, raw.Fast, 10*time.Millisecond)
	b.duration(path+".slow_interval", &h.SlowInterval, raw.Slow, 10*time.Millisecond)
	b.duration(path+".timeout", &h.Timeout, raw.Timeout, time.Millisecond)
	if raw.Timeout != nil && h.Timeout > 10*time.Second {
		b.fail(path+".timeout", "must be at most 10s, not %s", short(h.Timeout))
	}
	b.part(path+".jitter", &h.Jitter, raw.Jitter)
	b.count(path+".rise", &h.Rise, raw.Rise, 1)
	b.count(path+".fall", &h.Fall, raw.Fall, 1)
	b.upCodes(path+".up_codes", h, raw.UpCodes)
	b.count(path+".eject_after", &h.EjectAfter, raw.EjectAfter, 0)
	b.duration(path+".eject_for", &h.EjectFor, raw.EjectFor, time.Millisecond)
	b.duration(path+".eject_max", &h.EjectMax, raw.EjectMax, time.Millisecond)
	b.duration(path+".hold_for", &h.HoldFor, raw.HoldFor, 0)
	b.duration(path+".hold_max", &h.HoldMax, raw.HoldMax, 0)
	b.count(path+".suspect_after", &h.SuspectAfter, raw.SuspectAfter, 0)
	b.part(path+".error_rate", &h.ErrorRate, raw.ErrorRate)
	b.duration(path+".error_window", &h.ErrorWindow, raw.ErrorWindow, time.Second)
	b.count(path+".error_volume", &h.ErrorVolume, raw.ErrorVolume, 1)
	b.part(path+".max_ejected", &h.MaxEjected, raw.MaxEjected)
	b.deep(path+".deep", &h.Deep, raw.Deep)
	if raw.EjectFor != nil || raw.EjectMax != nil {
		b.notLonger(path, "eject_for", "eject_max", h.EjectFor, h.EjectMax)
	}
	if raw.HoldFor != nil || raw.HoldMax != nil {
		b.notLonger(path, "hold_for", "hold_max", h.HoldFor, h.HoldMax)
	}
}

// notLonger reports a time that begins above the longest that it may grow to; 0 for one that does not grow.
func (b *builder) notLonger(path, first, longest string, d, most time.Duration) {
	if d > most && most > 0 {
		b.fail(b.blame(path+"."+first, path+"."+longest), "%s, %s, must not be longer than %s, %s", first, short(d), longest, short(most))
	}
}

func (b *builder) upCodes(path string, h *Health, raw codeList) {
	if raw == nil || b.badWithin(path) {
		return
	}
	items := make([]string, len(raw))
	for i, item := range raw {
		items[i] = string(item)
	}
	codes, err := ParseCodeSet(items...)
	if err == nil && codes == (CodeSet{}) {
		err = fmt.Errorf("must hold at least one status code")
	}
	if err != nil {
		b.fail(path, "%s", err)
		return
	}
	h.UpCodes = codes
}
