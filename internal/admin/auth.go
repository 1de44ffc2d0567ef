package admin

import (
	"context"
	"crypto/subtle"
	"net"
	"net/http"
	"net/netip"
	"strings"
)

// who is the key of a request's user in its context.
type who struct{}

// whoOf is the user that a request is logged in as; "" for none.
func whoOf(r *http.Request) string {
	name, _ := r.Context().Value(who{}).(string)
	return name
}

// guard lets a request through to next when it may see and change things: with the token, as a user of the web
// configuration, or, where that has no users, with a client certificate that it asks for. Where there are neither token nor
// users, everyone may, on a loopback address, and nobody elsewhere. Health and readiness are for everyone.
type guard struct {
	token    func() string
	web      *webConfig // nil: none
	loopback bool
	next     http.Handler
}

// ServeHTTP implements http.Handler.
func (g *guard) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if r.URL.Path == "/-/healthy" || r.URL.Path == "/-/ready" {
		g.next.ServeHTTP(w, r)
		return
	}
	token, users := g.token(), g.web.users()
	name, ok := g.login(r, token)
	switch {
	case ok:
	case token != "" || users:
		w.Header().Set("WWW-Authenticate", `Basic realm="mrcproxy", charset="UTF-8"`)
		text(w, http.StatusUnauthorized, "log in with the token of admin.token, or as a user of admin.web_config")
		return
	case !g.loopback:
		text(w, http.StatusForbidden, "on an address that is not loopback this needs admin.token or admin.web_config")
		return
	case !local(r.Host): // a page elsewhere, whose name leads here (DNS rebinding)
		text(w, http.StatusForbidden, "without admin.token, ask by address or as localhost")
		return
	}
	g.next.ServeHTTP(w, r.WithContext(context.WithValue(r.Context(), who{}, name)))
}

// login is the user that a request shows to be.
func (g *guard) login(r *http.Request, token string) (name string, ok bool) {
	// With users, certificate and password are both needed, as at any server that has such a file.
	if r.TLS != nil && len(r.TLS.VerifiedChains) > 0 && !g.web.users() {
		return r.TLS.VerifiedChains[0][0].Subject.CommonName, true
	}
	if bearer, found := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer "); found {
		return "token", same(bearer, token)
	}
	name, password, found := r.BasicAuth()
	if !found {
		return "", false
	}
	// The token serves as a password too, for browsers; the name is for the log.
	return name, same(password, token) || g.web.login(name, password)
}

// same compares in constant time; nothing is the same as no token.
func same(given, token string) bool {
	return token != "" && subtle.ConstantTimeCompare([]byte(given), []byte(token)) == 1
}

// local reports whether a Host header names this machine in a way that no DNS server can.
func local(host string) bool {
	if h, _, err := net.SplitHostPort(host); err == nil {
		host = h
	}
	_, err := netip.ParseAddr(strings.Trim(host, "[]"))
	return err == nil || host == "localhost"
}

func isLoopback(a net.Addr) bool {
	tcp, ok := a.(*net.TCPAddr)
	return ok && tcp.IP.IsLoopback()
}
