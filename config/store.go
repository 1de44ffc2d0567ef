package config

import (
	"errors"
	"fmt"
	"net"
	"net/url"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Store is where sessions are counted: in this instance's memory alone, where Addrs is empty, or in Redis or Valkey together
// with those of all instances that have the same store.
type Store struct {
	Addrs  []string // host:port of Redis, or of the Sentinels
	Master string   // the name that Sentinel has for the server; "" without Sentinel
	DB     int
	TLS    bool
	CA     string // PEM file of who issued its certificate; the system's roots where empty
	Prefix string // of every key

	User, Password                 string
	SentinelUser, SentinelPassword string

	Timeout time.Duration // that an answer may take
	Renew   time.Duration // within which each session is renewed
}

// InMemory reports whether no other instance is counted with.
func (s Store) InMemory() bool { return len(s.Addrs) == 0 }

// OnStoreLoss is what holds for new sessions while the store does not answer.
type OnStoreLoss string

// The rules.
const (
	ShareLimits   OnStoreLoss = "share"  // each instance keeps to its part of every limit
	OpenLimits    OnStoreLoss = "open"   // each instance keeps to every limit by itself
	RejectOnALoss OnStoreLoss = "reject" // none is taken
)

const memory = "memory"

// String is the store as the file has it, without its passwords.
func (s Store) String() string {
	if s.InMemory() {
		return memory
	}
	u := url.URL{Scheme: "redis", Host: strings.Join(s.Addrs, ","), Path: "/" + strconv.Itoa(s.DB)}
	if s.TLS {
		u.Scheme = "rediss"
	}
	if s.Master != "" {
		u.Scheme += "+sentinel"
		u.Path = "/" + s.Master + u.Path
	}
	if s.User != "" || s.Password != "" {
		u.User = url.User(s.User)
	}
	d := defaultStore()
	q := url.Values{}
	set := func(name, value, none string) {
		if value != none {
			q.Set(name, value)
		}
	}
	set("ca", s.CA, "")
	set("prefix", s.Prefix, d.Prefix)
	set("sentinel_user", s.SentinelUser, "")
	set("timeout", short(s.Timeout), short(d.Timeout))
	set("renew", short(s.Renew), short(d.Renew))
	u.RawQuery = q.Encode()
	return u.String()
}

func defaultStore() Store {
	return Store{Prefix: "mrcproxy", Timeout: 50 * time.Millisecond, Renew: 10 * time.Second}
}

func (s Store) equal(t Store) bool {
	return s.String() == t.String() && s.Password == t.Password && s.SentinelPassword == t.SentinelPassword
}

// store reads store, on_store_loss and instances.
func (b *builder) store(c *Config, raw *rawConfig) {
	if raw.Store != nil {
		s, err := parseStore(*raw.Store)
		if err != nil {
			b.fail("store", "%s", err)
		}
		c.Store = s
	}
	oneOf(b, "on_store_loss", &c.OnStoreLoss, raw.OnStoreLoss, ShareLimits, OpenLimits, RejectOnALoss)
	b.count("instances", &c.Instances, raw.Instances, 1)
	if c.Store.InMemory() {
		return
	}
	if len(c.Secret) == 0 {
		b.fail("secret", "must be given with a store: instances that count together serve each other's sessions")
	}
	if c.OnStoreLoss == ShareLimits && !b.given("instances") {
		b.fail("instances", "must be given with a store, because on_store_loss is share")
	}
}

const storeForms = "must be memory, redis[s]://[user:password@]host[:port][/db] or redis[s]+sentinel://[user:password@]host[:port],.../master[/db]"

// parseStore reads a store. Its errors repeat nothing of the text, which may hold a password.
func parseStore(text string) (Store, error) {
	if text == memory {
		return Store{}, nil
	}
	scheme, rest, ok := strings.Cut(text, "://")
	scheme, sentinel := strings.CutSuffix(scheme, "+sentinel")
	if !ok || scheme != "redis" && scheme != "rediss" {
		return Store{}, errors.New(storeForms)
	}
	s := defaultStore()
	s.TLS = scheme == "rediss"
	rest, query, _ := strings.Cut(rest, "?")
	userinfo, rest := cutLast(rest, "@")
	hosts, path, _ := strings.Cut(rest, "/")
	for _, err := range []error{s.login(userinfo), s.hosts(hosts, sentinel), s.path(path, sentinel), s.options(query, sentinel)} {
		if err != nil {
			return Store{}, err
		}
	}
	return s, nil
}

// cutLast is strings.Cut at the last sep; without one all of it is after.
func cutLast(s, sep string) (before, after string) {
	if i := strings.LastIndex(s, sep); i >= 0 {
		return s[:i], s[i+len(sep):]
	}
	return "", s
}

func (s *Store) login(userinfo string) error {
	user, password, _ := strings.Cut(userinfo, ":")
	var userErr, passwordErr error
	s.User, userErr = url.PathUnescape(user)
	s.Password, passwordErr = url.PathUnescape(password)
	if userErr != nil || passwordErr != nil {
		return errors.New("has a user or password with a % that is not written as %25")
	}
	return nil
}

func (s *Store) hosts(text string, sentinel bool) error {
	port := "6379"
	if sentinel {
		port = "26379"
	}
	if text == "" {
		return errors.New(storeForms)
	}
	for host := range strings.SplitSeq(text, ",") {
		h, p, err := net.SplitHostPort(host)
		if err != nil {
			h, p = strings.Trim(host, "[]"), port
			host = net.JoinHostPort(h, p)
		}
		if n, err := strconv.ParseUint(p, 10, 16); h == "" || strings.ContainsAny(h, " [](){}") || err != nil || n == 0 {
			return errors.New("has a host without a name, or a port that is none")
		}
		if slices.Contains(s.Addrs, host) {
			return errors.New("has a host twice")
		}
		s.Addrs = append(s.Addrs, host)
	}
	if !sentinel && len(s.Addrs) > 1 {
		return errors.New("must have one host: several are for redis+sentinel://")
	}
	return nil
}

func (s *Store) path(path string, sentinel bool) error {
	if sentinel {
		s.Master, path, _ = strings.Cut(path, "/")
		if s.Master == "" {
			return errors.New("must name the master that Sentinel watches: redis+sentinel://host/master")
		}
	}
	if path == "" {
		return nil
	}
	n, err := strconv.ParseUint(path, 10, 16)
	if err != nil {
		return errors.New("must have the number of a database behind the last slash, or nothing")
	}
	s.DB = int(n)
	return nil
}

// options reads what stands behind the question mark.
func (s *Store) options(query string, sentinel bool) error {
	q, err := url.ParseQuery(query)
	if err != nil {
		return errors.New("has options that cannot be read: name=value, joined by &")
	}
	for name, values := range q {
		if len(values) != 1 || values[0] == "" {
			return fmt.Errorf("must have the option %s once, with a value", name)
		}
		value := values[0]
		var err error
		switch {
		case name == "ca" && s.TLS:
			s.CA = value
			if !filepath.IsAbs(value) {
				err = errors.New("must be an absolute path")
			}
		case name == "prefix":
			s.Prefix = value
			if strings.ContainsAny(value, "{} ") {
				err = errors.New("must be without braces and spaces")
			}
		case name == "sentinel_user" && sentinel:
			s.SentinelUser = value
		case name == "sentinel_password" && sentinel:
			s.SentinelPassword = value
		case name == "timeout":
			s.Timeout, err = within(value, time.Millisecond, 10*time.Second)
		case name == "renew":
			s.Renew, err = within(value, time.Second, 5*time.Minute)
		default:
			return fmt.Errorf("has the option %q, but only timeout, renew and prefix are known, ca with rediss, and sentinel_user and sentinel_password with sentinel", name)
		}
		if err != nil {
			return fmt.Errorf("%s %w", name, err)
		}
	}
	return nil
}

func within(text string, least, most time.Duration) (time.Duration, error) {
	d, err := time.ParseDuration(text)
	if err != nil || d < least || d > most {
		return 0, fmt.Errorf("must be %s to %s, with its unit", short(least), short(most))
	}
	return d, nil
}
