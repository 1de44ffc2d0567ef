package main

import (
	"context"
	"encoding/csv"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

const (
	proxyIP  = "127.80.0.10"
	clientIP = "127.80.0.5"
	adminAt  = "127.80.0.10:9090"
	hepAt    = "127.80.0.11:9060"
)

// lab is one turn: servers, a proxy, a client, and who watches the proxy.
type lab struct {
	options
	subject
	tree, dir, bin string
	running        []*process
}

func (l *lab) turn(ctx context.Context) (turn, error) {
	if err := os.MkdirAll(l.dir, 0o755); err != nil {
		return turn{}, err
	}
	defer os.RemoveAll(l.dir)
	defer func() {
		for _, p := range l.running {
			p.end()
		}
	}()
	servers, err := l.servers(ctx)
	if err != nil {
		return turn{}, err
	}
	proxy, err := l.startProxy(ctx, servers)
	if err != nil {
		return turn{}, err
	}
	watch, cancel := context.WithCancel(ctx)
	defer cancel()
	for _, w := range l.with {
		if f := companions[w]; f != nil {
			if err := f(watch); err != nil {
				return turn{}, fmt.Errorf("%s: %w", w, err)
			}
		}
	}
	if _, err := l.client(ctx, "warm", 200, 200); err != nil {
		return turn{}, err
	}
	before := l.sentAgain()
	if l.profile != "" && l.proxy == "mrcproxy" {
		go l.takeProfile(watch)
	}
	made := l.allocations(ctx)
	at, used := time.Now(), proxy.cpu()
	got, err := l.client(ctx, "load", l.rate, l.calls)
	t := turn{seconds: time.Since(at).Seconds(), cpu: (proxy.cpu() - used).Seconds() * 1000, pss: float64(proxy.pss()) / 1e6}
	if err != nil {
		return turn{}, err
	}
	t.calls, t.failed = got.number("SuccessfulCall(C)"), got.number("FailedCall(C)")
	if t.calls == 0 {
		return turn{}, fmt.Errorf("none of %d calls was answered", t.failed)
	}
	t.cpu /= float64(t.calls)
	t.allocations = (l.allocations(ctx) - made) / float64(t.calls)
	time.Sleep(1200 * time.Millisecond) // SIPp writes its statistics once a second
	t.again = got.number("Retransmissions(C)") + l.sentAgain() - before
	return t, nil
}

func (l *lab) start(cmd *exec.Cmd, name string) (*process, error) {
	cmd.Dir = l.dir
	p, err := start(cmd, filepath.Join(l.dir, name+".log"))
	if err == nil {
		l.running = append(l.running, p)
	}
	return p, err
}

// servers starts them and returns their addresses when they answer.
func (l *lab) servers(ctx context.Context) ([]string, error) {
	var all []string
	if l.backends > 0 {
		if _, err := l.start(exec.CommandContext(ctx, l.binary, "sim", "--listen", "127.80.1.1:20000", "--count", strconv.Itoa(l.backends)), "sim"); err != nil {
			return nil, err
		}
		for i := range l.backends {
			all = append(all, fmt.Sprintf("127.80.1.1:%d", 20000+i))
		}
	} else {
		for i := range 4 {
			ip := fmt.Sprintf("127.80.1.%d", 21+i)
			all = append(all, ip+":8060")
			if _, err := l.start(l.sipp(ctx, "uas_mrcp.xml", ip, "8060", "uas-"+ip,
				"-key", "mrcp_port", "1544", "-deadcall_wait", "2000"), "uas-"+ip); err != nil {
				return nil, err
			}
		}
	}
	for _, a := range []string{all[0], all[len(all)-1]} {
		if err := answers(ctx, l.network, a); err != nil {
			return nil, fmt.Errorf("server %s: %w", a, err)
		}
	}
	return all, nil
}

func (l *lab) sipp(ctx context.Context, scenario, ip, port, stat string, more ...string) *exec.Cmd {
	c := exec.CommandContext(ctx, "sipp", append([]string{"-sf", filepath.Join(l.tree, "test/sipp", scenario), "-i", ip, "-p", port, "-t", l.network[:1] + "1",
		"-nostdin", "-trace_stat", "-fd", "1", "-stf", filepath.Join(l.dir, stat+".csv"), "-buff_size", "4000000", "-max_socket", "20000"}, more...)...)
	c.Env = append(os.Environ(), "TERM=xterm")
	return c
}

// client has SIPp place calls, and returns its statistics.
func (l *lab) client(ctx context.Context, name string, rate, calls int) (figures, error) {
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

// answers waits until an OPTIONS is answered, 15 s at most.
func answers(ctx context.Context, network, addr string) error {
	var last error
	for until := time.Now().Add(15 * time.Second); time.Now().Before(until) && ctx.Err() == nil; time.Sleep(20 * time.Millisecond) {
		if last = ask(network, addr); last == nil {
			return nil
		}
	}
	return fmt.Errorf("no answer to OPTIONS: %w", last)
}

func ask(network, addr string) error {
	c, err := net.DialTimeout(network, addr, time.Second)
	if err != nil {
		return err
	}
	defer c.Close()
	_ = c.SetDeadline(time.Now().Add(300 * time.Millisecond))
	me, id := c.LocalAddr().String(), strconv.FormatInt(time.Now().UnixNano(), 36)
	_, err = fmt.Fprintf(c, "OPTIONS sip:%s SIP/2.0\r\nVia: SIP/2.0/%s %s;rport;branch=z9hG4bK%s\r\nMax-Forwards: 70\r\nFrom: <sip:%s>;tag=1\r\nTo: <sip:%s>\r\n"+
		"Call-ID: %s\r\nCSeq: 1 OPTIONS\r\nContact: <sip:%s>\r\nContent-Length: 0\r\n\r\n", addr, strings.ToUpper(network), me, id, me, addr, id, me)
	if err != nil {
		return err
	}
	b := make([]byte, 4096)
	n, err := c.Read(b)
	if err == nil && !strings.HasPrefix(string(b[:n]), "SIP/2.0 200") {
		err = fmt.Errorf("answered %.40q", b[:n])
	}
	return err
}
