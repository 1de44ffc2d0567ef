package main

import (
	"context"
	_ "embed"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"time"
)

//go:embed kamailio.cfg
var kamailioConfig string

// startProxy starts the subject's proxy and returns when it takes calls.
func (l *lab) startProxy(ctx context.Context, servers []string) (*process, error) {
	var cmd *exec.Cmd
	var err error
	switch l.proxy {
	case "mrcproxy":
		cmd, err = l.mrcproxy(ctx, l.binary, servers)
	case "before":
		cmd, err = l.mrcproxy(ctx, l.against, servers)
	case "kamailio", "kamailio-fm":
		cmd, err = l.kamailio(ctx, servers)
	case "forwarder":
		cmd = exec.CommandContext(ctx, filepath.Join(l.bin, "forwarder"), "-listen", proxyIP+":5060", "-net", l.network, "-to", strings.Join(servers, ","))
		cmd.Env = append(os.Environ(), "GOMAXPROCS="+strconv.Itoa(l.procs))
	default:
		err = fmt.Errorf("no proxy %q", l.proxy)
	}
	if err != nil {
		return nil, err
	}
	cmd.Env = append(cmd.Env, l.env...)
	p, err := l.start(cmd, "proxy")
	if err != nil {
		return nil, err
	}
	if err := answers(ctx, l.network, proxyIP+":5060"); err != nil {
		return nil, fmt.Errorf("%w; its log ends with\n%s", err, l.tail("proxy"))
	}
	time.Sleep(2500 * time.Millisecond) // its probes: Kamailio's come every 2 s, and it has no event to wait for
	return p, nil
}

func (l *lab) mrcproxy(ctx context.Context, binary string, servers []string) (*exec.Cmd, error) {
	var b strings.Builder
	fmt.Fprintf(&b, "idc: idc-a\nlisten: [\"%s://%s:5060\"]\nadmin: {listen: \"%s\", pprof: true}\nclients: {allow: [127.0.0.0/8], max_connections: 16384}\ndata_dir: %s\n", l.network, proxyIP, adminAt, l.dir)
	if slices.Contains(l.with, "cdr") {
		fmt.Fprintf(&b, "cdr: {file: %s}\n", filepath.Join(l.dir, "cdr.json"))
	}
	if slices.Contains(l.with, "hep") {
		fmt.Fprintf(&b, "hep: {server: \"udp://%s\"}\n", hepAt)
	}
	b.WriteString("routes:\n  - {name: asr, match: {user_agent: ASR_MRCP_CLIENT}, cluster: asr}\nclusters:\n  - name: asr\n    groups:\n      - idc: idc-a\n        backends:\n")
	for _, s := range servers {
		fmt.Fprintf(&b, "          - {uri: \"sip:%s%s\", capacity: 100000}\n", s, map[string]string{"udp": "", "tcp": ";transport=tcp"}[l.network])
	}
	file := filepath.Join(l.dir, "mrcproxy.yaml")
	cmd := exec.CommandContext(ctx, binary, "serve", "-c", file)
	cmd.Env = os.Environ()
	return cmd, os.WriteFile(file, []byte(b.String()), 0o644)
}

func (l *lab) kamailio(ctx context.Context, servers []string) (*exec.Cmd, error) {
	var list strings.Builder
	for _, s := range servers {
		fmt.Fprintf(&list, "1 sip:%s;transport=%s 0 0 duid=%s;maxload=100000\n", s, l.network, s)
	}
	file := filepath.Join(l.dir, "dispatcher.list")
	if err := os.WriteFile(file, []byte(list.String()), 0o644); err != nil {
		return nil, err
	}
	conf := filepath.Join(l.dir, "kamailio.cfg")
	modules := fmt.Sprintf("/usr/lib/%s-linux-gnu/kamailio/modules/", map[string]string{"amd64": "x86_64", "arm64": "aarch64"}[runtime.GOARCH])
	text := strings.NewReplacer("@WORKERS@", strconv.Itoa(l.procs), "@LISTEN@", proxyIP, "@LIST@", file, "@MODULES@", modules, "@DIR@", l.dir).Replace(kamailioConfig)
	if err := os.WriteFile(conf, []byte(text), 0o644); err != nil {
		return nil, err
	}
	args := []string{"-DD", "-E", "-m", "2048", "-M", "32", "-f", conf, "-P", filepath.Join(l.dir, "pid"), "-Y", l.dir}
	if l.proxy == "kamailio-fm" {
		args = append(args, "-x", "fm", "-X", "fm")
	}
	cmd := exec.CommandContext(ctx, "kamailio", args...)
	cmd.Env = append(os.Environ(), "PATH="+os.Getenv("PATH")+":/usr/sbin")
	if cmd.Err != nil {
		cmd = exec.CommandContext(ctx, "/usr/sbin/kamailio", args...)
	}
	return cmd, nil
}

// takeProfile has mrcproxy profile itself while the load lasts.
func (l *lab) takeProfile(ctx context.Context) {
	profile, err := get(ctx, fmt.Sprintf("/debug/pprof/profile?seconds=%d", max(1, l.calls/l.rate-1)))
	if err != nil {
		fmt.Fprintln(os.Stderr, "profile:", err)
		return
	}
	f, err := os.CreateTemp(l.profile, strings.ReplaceAll(l.name, " ", "-")+"-*.pprof")
	if err != nil {
		fmt.Fprintln(os.Stderr, "profile:", err)
		return
	}
	defer f.Close()
	_, _ = f.WriteString(profile)
}
