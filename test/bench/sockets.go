package main

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"syscall"
	"time"
)

// crowd is a client with many sockets: `mrcproxy bench`, a process of its own, which places calls from them in turns from the warming
// up to the end of what is measured, so that all of them are open and in use then. SIPp does not open its again.
type crowd struct {
	l *lab
	p *process
}

const crowdLog = "crowd"

// gather starts the crowd, and returns when each of its sockets has had a call.
func (l *lab) gather(ctx context.Context) (client, error) {
	warm := max(200, l.sockets)
	p, err := l.start(exec.CommandContext(ctx, l.binary, "bench", "sip:"+proxyIP+":5060;transport="+l.network, "--sockets", strconv.Itoa(l.sockets),
		"--rate", strconv.Itoa(l.rate), "--for", "1h", "--hold", l.hold.String(), "--concurrency", "200000",
		"--user-agent", "ASR_MRCP_CLIENT_BENCH", "-o", "json"), crowdLog)
	if err != nil {
		return nil, err
	}
	c := &crowd{l, p}
	ctx, cancel := context.WithTimeout(ctx, time.Duration(warm)*time.Second/time.Duration(l.rate)+time.Minute)
	defer cancel()
	for c.ended(ctx) < warm {
		if err := c.wait(ctx, 100*time.Millisecond); err != nil {
			return nil, err
		}
	}
	return c, c.wait(ctx, time.Second) // it catches up with its rate, if opening sockets took long
}

// ended is how many of its calls have gone well so far.
func (c *crowd) ended(ctx context.Context) int {
	n, _ := metric(ctx, `mrcproxy_sessions_ended_total{cluster="asr",reason="bye_client"}`) // which is not there before the first
	return int(n)
}

// load lets the crowd go on for as long as it takes to place the calls, and says how many there were.
func (c *crowd) load(ctx context.Context) (int, error) {
	before := c.ended(ctx)
	err := c.wait(ctx, time.Duration(c.l.calls)*time.Second/time.Duration(c.l.rate))
	return c.ended(ctx) - before, err
}

// wait fails when the crowd ends meanwhile.
func (c *crowd) wait(ctx context.Context, d time.Duration) error {
	select {
	case <-c.p.done:
		return fmt.Errorf("the client has ended; its log ends with\n%s", c.l.tail(crowdLog))
	case <-ctx.Done():
		return fmt.Errorf("the client has placed %d calls: %w", c.ended(context.WithoutCancel(ctx)), ctx.Err())
	case <-time.After(d):
		return nil
	}
}

// result ends the crowd, and counts the warming up, too.
func (c *crowd) result(ctx context.Context) (failed, again int, err error) {
	_ = c.p.cmd.Process.Signal(syscall.SIGTERM) // its calls end with BYE, and it reports
	select {
	case <-c.p.done:
	case <-ctx.Done():
		return 0, 0, ctx.Err()
	}
	f, err := os.Open(filepath.Join(c.l.dir, crowdLog+".log"))
	if err != nil {
		return 0, 0, err
	}
	defer f.Close()
	var report struct {
		Failed int `json:"failed"`
		Again  int `json:"sent_again"`
	}
	if err := json.NewDecoder(f).Decode(&report); err != nil {
		return 0, 0, fmt.Errorf("%w; the client's log ends with\n%s", err, c.l.tail(crowdLog))
	}
	return report.Failed, report.Again, nil
}
