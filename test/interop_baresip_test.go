package test

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// phone is a baresip: a telephone, which speaks no MRCP.
type phone struct {
	lab  *lab
	cmd  *exec.Cmd
	log  string
	done chan struct{}
}

// phone starts baresip on host n, at a port and for TLS at the next, with one account by a transport, and the user's commands.
// It shows a certificate of the authority, and wants one of it.
func (l *lab) phone(ca *authority, name string, n, port int, network, params string, commands ...string) *phone {
	l.t.Helper()
	path, err := exec.LookPath("baresip")
	if err != nil {
		l.t.Fatal("baresip is not installed: `make deps` installs it (Debian package baresip-core)")
	}
	dir := filepath.Join(l.dir, name)
	cert, key := filepath.Join(l.dir, name+".crt"), filepath.Join(l.dir, name+".key")
	ca.issue(cert, key, l.ip(n))
	pair := ""
	for _, file := range []string{cert, key} {
		b, err := os.ReadFile(file)
		if err != nil {
			l.t.Fatal(err)
		}
		pair += string(b)
	}
	account := fmt.Sprintf("<sip:asr@%s:%d;transport=%s>;regint=0%s", l.ip(n), phonePort(port, network), network, params)
	config := fmt.Sprintf("sip_listen %s:%d\nsip_certificate %s\nsip_cafile %s\n", l.ip(n), port, filepath.Join(dir, "pair"), ca.file) + "module_path /usr/lib/baresip/modules\nmodule g711.so\nmodule aubridge.so\nmodule_tmp account.so\nmodule_app menu.so\n" +
		"audio_player aubridge,nil\naudio_source aubridge,nil\naudio_alert aubridge,nil\n"
	for file, text := range map[string]string{"config": config, "accounts": account + "\n", "contacts": "", "log": "", "pair": pair} {
		_ = os.Mkdir(dir, 0o700)
		if err := os.WriteFile(filepath.Join(dir, file), []byte(text), 0o600); err != nil {
			l.t.Fatal(err)
		}
	}
	p := &phone{lab: l, log: filepath.Join(dir, "log"), done: make(chan struct{})}
	out, err := os.OpenFile(p.log, os.O_WRONLY|os.O_APPEND, 0)
	if err != nil {
		l.t.Fatal(err)
	}
	defer out.Close()
	args := []string{"-4", "-s", "-f", dir}
	for _, c := range commands {
		args = append(args, "-e", c)
	}
	p.cmd = exec.Command(path, args...)
	p.cmd.Stdout, p.cmd.Stderr = out, out
	if err := p.cmd.Start(); err != nil {
		l.t.Fatal(err)
	}
	go func() {
		_ = p.cmd.Wait()
		close(p.done)
	}()
	l.t.Cleanup(func() {
		_ = p.cmd.Process.Kill()
		<-p.done
		if b, err := os.ReadFile(p.log); err == nil && l.t.Failed() {
			l.t.Logf("%s:\n%s", name, tail(b, 5000))
		}
	})
	p.await("baresip is ready")
	return p
}

// phonePort is where a phone listens for a transport.
func phonePort(port int, network string) int {
	if network == "tls" {
		return port + 1
	}
	return port
}

// await waits until it has written that.
func (p *phone) await(text string) {
	p.lab.t.Helper()
	await(p.lab.t, fmt.Sprintf("%s: %q", filepath.Base(filepath.Dir(p.log)), text), 10*time.Second, func() bool {
		b, _ := os.ReadFile(p.log)
		return strings.Contains(string(b), text)
	})
}

// quit ends it as its user would: it hangs up first.
func (p *phone) quit() {
	p.lab.t.Helper()
	_ = p.cmd.Process.Signal(syscall.SIGTERM)
	select {
	case <-p.done:
	case <-time.After(10 * time.Second):
		p.lab.t.Errorf("%s does not end", p.log)
	}
}

// otherHungUp is how baresip says that a BYE came.
const otherHungUp = "session closed: Connection reset by peer"

// TestBaresip: a telephone calls another through the daemon, which takes it for one more server, and either side hangs up.
func TestBaresip(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ client, server, by string }{
		{"udp", "udp", "bye_client"}, {"tcp", "tcp", "bye_server"}, {"udp", "tcp", "bye_server"}, {"tcp", "udp", "bye_client"},
		{"tls", "tls", "bye_server"}, {"tls", "udp", "bye_client"}, {"tls", "tcp", "bye_server"}, {"udp", "tls", "bye_server"}, {"tcp", "tls", "bye_client"},
	} {
		t.Run(c.client+" to "+c.server+" "+c.by, func(t *testing.T) {
			t.Parallel()
			l := newLab(t)
			ca := newAuthority(t)
			callee := l.phone(ca, "callee", 21, 8060, c.server, ";answermode=auto")
			server := fmt.Sprintf("sip:%s:%d;transport=%s", l.ip(21), phonePort(8060, c.server), c.server)
			d := l.start(patient(strings.Replace(l.cluster(l.group("a", server)), l.head(), ca.secure(l, ", server_ca: "+ca.file), 1)))
			d.await("the callee is up", 10*time.Second, func() bool { return d.up() == 1 })
			caller := l.phone(ca, "caller", 5, 5070, c.client, "", fmt.Sprintf("/dial sip:asr@%s:%d;transport=%s", l.ip(10), phonePort(5060, c.client), c.client))
			caller.await("Call established")
			callee.await("Call established")
			if c.by == "bye_client" {
				caller.quit()
				callee.await(otherHungUp)
			} else {
				callee.quit()
				caller.await(otherHungUp)
			}
			d.await("the log tells of the call", 5*time.Second, func() bool {
				return d.logged(`"msg":"session"`, `"code":200`, `"ended_by":"`+c.by+`"`)
			})
			d.undisturbed()
		})
	}
}
