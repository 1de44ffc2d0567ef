package main

import (
	"fmt"
	"strconv"
	"strings"
	"time"
)

// picture is all that the terminal shows at one moment.
type picture struct {
	at        time.Duration
	counts    counts
	failovers uint64
	rows      []row
	events    []event
}

// row is one server in the table.
type row struct {
	cluster, idc, uri, state string
	sessions, capacity       int // capacity is negative for no limit
	picked, failedOver       uint64
	fault                    string // what the demo has made of it: killed, silent or ""
}

type event struct {
	at   time.Duration
	text string
}

func (e event) String() string { return fmt.Sprintf("%6.1fs  %s", e.at.Seconds(), e.text) }

// short is a server's URI for a table.
func short(uri string) string {
	addr, tcp := strings.CutSuffix(strings.TrimPrefix(uri, "sip:"), ";transport=tcp")
	if tcp {
		return addr + "/tcp"
	}
	return addr + "/udp"
}

// The table fits 80 columns with the shortest bar, which has room for what a server's fault is called.
const (
	barMin     = 6
	barMax     = 20
	backendMin = len("127.0.0.1:65535/udp")
	restWidth  = 54 // of a line, without backend and bar
)

// lines is the picture as text for a screen of so many columns and lines; 0: no limit. The oldest events give way.
func (p *picture) lines(paint palette, columns, height int) []string {
	wide := backendMin
	for i := range p.rows {
		wide = max(wide, len(short(p.rows[i].uri)))
	}
	bar := barMax
	if columns > 0 {
		bar = min(barMax, max(barMin, columns-restWidth-wide))
	}
	c := p.counts
	l := []string{
		fmt.Sprintf("%6.1fs  sessions: %d now, %d ended well, %s; failovers: %d", p.at.Seconds(), c.active, c.ok, paint.failed(c.failed), p.failovers),
		"",
		fmt.Sprintf("CLUSTER  IDC   %-*s  STATE     %-*s  PICKED  FAILOVERS", wide, "BACKEND", bar+8, "SESSIONS"),
	}
	for i := range p.rows {
		l = append(l, p.rows[i].line(wide, bar, paint))
	}
	l = append(l, "")
	events := p.events
	if height > 0 {
		events = events[max(0, min(len(events), len(events)+len(l)-height)):]
	}
	for _, e := range events {
		l = append(l, e.String())
	}
	if height > 0 {
		l = l[:min(len(l), height)]
	}
	return l
}

func (r *row) line(wide, bar int, paint palette) string {
	used := fmt.Sprintf("%d/%d", r.sessions, r.capacity)
	if r.capacity < 0 {
		used = strconv.Itoa(r.sessions)
	}
	return fmt.Sprintf("%-7s  %-4s  %-*s  %s  %s %-7s  %6d  %9d", r.cluster, r.idc, wide, short(r.uri),
		paint.state(r.state, fmt.Sprintf("%-8s", r.state)), r.bar(bar, paint), used, r.picked, r.failedOver)
}

// bar is the share of the capacity that is used, or what the demo has made of the server.
func (r *row) bar(width int, paint palette) string {
	if r.fault != "" {
		return paint.colour(yellow, fmt.Sprintf("%-*s", width, r.fault))
	}
	n := 0
	if r.capacity > 0 {
		n = min(width, (r.sessions*width+r.capacity-1)/r.capacity)
	}
	return strings.Repeat("#", n) + strings.Repeat(".", width-n)
}
