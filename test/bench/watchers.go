package main

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
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
		go func() { _ = fetch(ctx, "/api/v1/events?load=true") }() // what the page follows
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

func fetch(ctx context.Context, path string) error {
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+adminAt+path, nil)
	if err != nil {
		return err
	}
	a, err := http.DefaultClient.Do(r)
	if err != nil {
		return err
	}
	defer a.Body.Close()
	if a.StatusCode != http.StatusOK {
		return fmt.Errorf("GET %s: %s", path, a.Status)
	}
	_, err = io.Copy(io.Discard, a.Body)
	return err
}
