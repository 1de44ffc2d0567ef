package main

import (
	"context"
	"errors"
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
	c, err := l.warm(ctx)
	if err != nil {
		return turn{}, err
	}
	before := l.sentAgain()
	if l.profile != "" && l.proxy == "mrcproxy" {
		go l.takeProfile(watch)
	}
	made := l.allocations(ctx)
	at, used := time.Now(), proxy.cpu()
	calls, err := c.load(ctx)
	t := turn{calls: calls, seconds: time.Since(at).Seconds(), cpu: (proxy.cpu() - used).Seconds() * 1000, pss: float64(proxy.pss()) / 1e6}
	switch {
	case err != nil:
		return turn{}, err
	case calls == 0:
		return turn{}, errors.New("no call went well")
	}
	t.cpu /= float64(t.calls)
	t.allocations = (l.allocations(ctx) - made) / float64(t.calls)
	if t.failed, t.again, err = c.result(ctx); err != nil {
		return turn{}, err
	}
	time.Sleep(1200 * time.Millisecond) // SIPp writes its statistics once a second
	t.again += l.sentAgain() - before
	return t, nil
}

// client has placed a few calls, and is to place those that are measured.
type client interface {
	load(context.Context) (calls int, err error)           // that went well
	result(context.Context) (failed, again int, err error) // when none is up any more
}

func (l *lab) warm(ctx context.Context) (client, error) {
	if l.sockets > 0 {
		return l.gather(ctx)
	}
	_, err := l.place(ctx, "warm", 200, 200)
	return &sippClient{l: l}, err
}

func (l *lab) start(cmd *exec.Cmd, name string) (*process, error) {
	cmd.Dir = l.dir
	p, err := start(cmd, filepath.Join(l.dir, name+".log"))
	if err == nil {
		l.running = append(l.running, p)
	}
	return p, err
}

// tail is the end of what a process has written.
func (l *lab) tail(name string) []byte {
	log, _ := os.ReadFile(filepath.Join(l.dir, name+".log"))
	return log[max(0, len(log)-2000):]
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
