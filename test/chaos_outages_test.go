package test

import (
	"math/rand/v2"
	"slices"
	"strings"
	"syscall"
	"time"
)

// outage is something that breaks at a time, and is mended at another, since the beginning.
type outage struct {
	name       string
	breaks     []string // what does not work meanwhile, as in window
	begin, end func()
	at, until  time.Duration
	began      bool
	from       time.Time
}

func (o *outage) due() time.Duration {
	if o.began {
		return o.until
	}
	return o.at
}

// plan says what breaks when.
func (c *chaos) plan(dice *rand.Rand, lasts time.Duration) (all []outage) {
	kinds := c.outages()
	for at := time.Second; at < lasts; at += time.Duration(100+dice.IntN(700)) * time.Millisecond {
		o := kinds[dice.IntN(len(kinds))]
		o.at, o.until = at, at+time.Duration(500+dice.IntN(4000))*time.Millisecond
		if !slices.ContainsFunc(all, o.excludes) {
			all = append(all, o)
		}
	}
	return all
}

// excludes says that two outages may not be there together, or too soon one after the other: a thing breaks in one way at a time;
// there is a proxy that serves, though clients have to find it; and there are servers that the proxies know to be well.
func (o *outage) excludes(other outage) bool {
	within := func(d time.Duration) bool { return o.at < other.until+d && other.at < o.until+d }
	part := func(o *outage, prefix string) string {
		for _, b := range o.breaks {
			if strings.HasPrefix(b, prefix) {
				return b
			}
		}
		return ""
	}
	common := slices.ContainsFunc(o.breaks, func(b string) bool { return slices.Contains(other.breaks, b) })
	proxies := part(o, "proxy") != "" && part(&other, "proxy") != ""
	mine, its := part(o, "server"), part(&other, "server")
	elsewhere := mine != "" && its != "" && mine[:len("server2")] != its[:len("server2")] // in the other data centre
	return common && within(time.Second) || proxies && within(2*time.Second) || elsewhere && within(6*time.Second)
}

// outages are all that can break.
func (c *chaos) outages() (all []outage) {
	add := func(name string, begin, end func(), breaks ...string) {
		all = append(all, outage{name: name, begin: begin, end: end, breaks: breaks})
	}
	cable := func(who, name string, breaks ...string) {
		add(name+" is unplugged", func() { c.hosts.unplug(who) }, func() { c.hosts.plug(who) }, breaks...)
	}
	for i, d := range c.proxies {
		who := proxyName(10 + i)
		add(who+" is killed", func() { d.kill(syscall.SIGKILL) }, func() { d.run() }, who)
		add(who+" stands still", func() { d.signal(c.t, syscall.SIGSTOP) }, func() { d.signal(c.t, syscall.SIGCONT) }, who)
		cable(who, who, who)
		for _, other := range []string{"a", "b", "redis"} {
			add(who+" is cut off from "+other, func() { c.hosts.cut(who, other) }, func() { c.hosts.mend(who, other) }, c.living(other)...)
		}
	}
	for _, s := range c.servers {
		who := serverName(s.n)
		add(who+" is killed", func() { s.kill(syscall.SIGKILL) }, func() { s.run() }, who)
		add(who+" stands still", func() { s.signal(c.t, syscall.SIGSTOP) }, func() { s.signal(c.t, syscall.SIGCONT) }, who)
	}
	for _, idc := range []string{"a", "b"} {
		cable(idc, "data centre "+idc, c.living(idc)...)
	}
	for range 2 { // as likely as the others
		add("Redis is killed", c.redis.Kill, c.redis.Run, "redis")
		add("Redis stands still", c.redis.Pause, c.redis.Resume, "redis")
		cable("redis", "Redis", "redis")
	}
	return all
}

// living are who lives on a machine, as in window.
func (c *chaos) living(who string) (l []string) {
	if who == "redis" {
		return []string{"redis"}
	}
	for _, n := range c.hosts.ips[who] {
		l = append(l, serverName(n))
	}
	return l
}
