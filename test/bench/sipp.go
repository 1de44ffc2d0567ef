package main

import (
	"context"
	"encoding/csv"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"time"
)

// sippClient is SIPp as the client, with one socket.
type sippClient struct {
	l   *lab
	got figures
}

func (c *sippClient) load(ctx context.Context) (int, error) {
	var err error
	c.got, err = c.l.place(ctx, "load", c.l.rate, c.l.calls)
	return c.got.number("SuccessfulCall(C)"), err
}

func (c *sippClient) result(context.Context) (failed, again int, err error) {
	return c.got.number("FailedCall(C)"), c.got.number("Retransmissions(C)"), nil
}

func (l *lab) sipp(ctx context.Context, scenario, ip, port, stat string, more ...string) *exec.Cmd {
	c := exec.CommandContext(ctx, "sipp", append([]string{"-sf", filepath.Join(l.tree, "test/sipp", scenario), "-i", ip, "-p", port, "-t", l.network[:1] + "1",
		"-nostdin", "-trace_stat", "-fd", "1", "-stf", filepath.Join(l.dir, stat+".csv"), "-buff_size", "4000000", "-max_socket", "20000"}, more...)...)
	c.Env = append(os.Environ(), "TERM=xterm")
	return c
}

// place has SIPp place calls, and returns its statistics.
func (l *lab) place(ctx context.Context, name string, rate, calls int) (figures, error) {
	ctx, cancel := context.WithTimeout(ctx, time.Duration(calls/rate)*time.Second+l.hold+time.Minute)
	defer cancel()
	more := []string{proxyIP + ":5060", "-r", strconv.Itoa(rate), "-m", strconv.Itoa(calls), "-d", strconv.FormatInt(l.hold.Milliseconds(), 10), "-l", "200000",
		"-key", "ua", "ASR_MRCP_CLIENT_BENCH", "-key", "resource", "speechrecog", "-deadcall_wait", "0"}
	stat := "uac-" + name
	cmd := l.sipp(ctx, "uac_mrcp.xml", clientIP, "5060", stat, more...)
	p, err := l.start(cmd, stat)
	if err != nil {
		return nil, err
	}
	<-p.done
	l.running = l.running[:len(l.running)-1]
	if ctx.Err() != nil {
		return nil, fmt.Errorf("client: %w", ctx.Err())
	}
	return readFigures(filepath.Join(l.dir, stat+".csv"))
}

// sentAgain is how many retransmissions the servers have sent so far.
func (l *lab) sentAgain() (n int) {
	names, _ := filepath.Glob(filepath.Join(l.dir, "uas-*.csv"))
	for _, name := range names {
		if f, err := readFigures(name); err == nil {
			n += f.number("Retransmissions(C)")
		}
	}
	return n
}

// figures are the last line of SIPp's statistics, by column.
type figures map[string]string

func (f figures) number(k string) int { n, _ := strconv.Atoi(f[k]); return n }

func readFigures(name string) (figures, error) {
	file, err := os.Open(name)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	r := csv.NewReader(file)
	r.Comma, r.FieldsPerRecord = ';', -1
	rows, err := r.ReadAll()
	if err != nil || len(rows) < 2 {
		return nil, fmt.Errorf("%s: %d lines, %v", name, len(rows), err)
	}
	f := figures{}
	for i, k := range rows[0] {
		if last := rows[len(rows)-1]; i < len(last) {
			f[k] = last[i]
		}
	}
	return f, nil
}
