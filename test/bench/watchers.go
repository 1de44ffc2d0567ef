package main

import (
	"context"
	"fmt"
	"io"
	"math"
	"net"
	"net/http"
	"strconv"
	"strings"
	"time"
)

// companions watch mrcproxy as others do in production, until the context is done. Call records need nobody.
var companions = map[string]func(context.Context) error{
	"scrape": func(ctx context.Context) error {
		go func() {
			for tick := time.NewTicker(time.Second); ctx.Err() == nil; <-tick.C {
				_ = fetch(ctx, "/metrics")
			}
		}()
		return fetch(ctx, "/metrics")
	},
	"page": func(ctx context.Context) error {
		go func() { _ = fetch(ctx, "/api/v1/events?load=true") }() // what the page follows, until ctx is done
		return fetch(ctx, "/")
	},
	"hep": func(ctx context.Context) error {
		c, err := net.ListenPacket("udp", hepAt)
		if err != nil {
			return err
		}
		context.AfterFunc(ctx, func() { c.Close() })
		go func() {
			for b := make([]byte, 65536); ; {
				if _, _, err := c.ReadFrom(b); err != nil {
					return
				}
			}
		}()
		return nil
	},
}

// allocations is how many mrcproxy has made so far; 0 for others.
func (l *lab) allocations(ctx context.Context) float64 {
	if l.proxy != "mrcproxy" {
		return 0
	}
	n, found := metric(ctx, "go_memstats_mallocs_total")
	if !found {
		return math.NaN()
	}
	return n
}

// metric is the value of one of mrcproxy's series.
func metric(ctx context.Context, series string) (n float64, found bool) {
	text, err := get(ctx, "/metrics")
	_, after, found := strings.Cut(text, "\n"+series+" ")
	n, bad := strconv.ParseFloat(after[:max(0, strings.IndexByte(after, '\n'))], 64)
	return n, err == nil && found && bad == nil
}

func fetch(ctx context.Context, path string) error {
	_, err := get(ctx, path)
	return err
}

func get(ctx context.Context, path string) (string, error) {
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+adminAt+path, nil)
	if err != nil {
		return "", err
	}
	a, err := http.DefaultClient.Do(r)
	if err != nil {
		return "", err
	}
	defer a.Body.Close()
	if a.StatusCode != http.StatusOK {
		return "", fmt.Errorf("GET %s: %s", path, a.Status)
	}
	var b strings.Builder
	_, err = io.Copy(&b, a.Body)
	return b.String(), err
}
