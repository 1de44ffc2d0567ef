package store

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"math/big"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"mrcproxy/internal/store/redistest"
)

// certificate writes a self-signed certificate for 127.0.0.1 and its key, and gives their files and a client's configuration.
func certificate(t *testing.T) (cert, key string, client *tls.Config) {
	t.Helper()
	k, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	c := &x509.Certificate{SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(time.Hour), IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, IsCA: true, BasicConstraintsValid: true}
	der, err := x509.CreateCertificate(rand.Reader, c, c, &k.PublicKey, k)
	if err != nil {
		t.Fatal(err)
	}
	pk, err := x509.MarshalPKCS8PrivateKey(k)
	if err != nil {
		t.Fatal(err)
	}
	write := func(name, kind string, b []byte) string {
		file := filepath.Join(t.TempDir(), name)
		if err := os.WriteFile(file, pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: b}), 0o600); err != nil {
			t.Fatal(err)
		}
		return file
	}
	cert, key = write("crt", "CERTIFICATE", der), write("key", "PRIVATE KEY", pk)
	client = &tls.Config{RootCAs: x509.NewCertPool()}
	client.RootCAs.AppendCertsFromPEM(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}))
	return cert, key, client
}

func freePort(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return strconv.Itoa(l.Addr().(*net.TCPAddr).Port)
}

// acl is a user who may do what docs/scaling.md says is needed, and no more.
var acl = []string{"--user", "app", "on", ">a word", "~t:*", "+@connection", "+eval", "+evalsha", "+time", "+get", "+set", "+zadd", "+zrem",
	"+zcard", "+zscore", "+zremrangebyscore", "+pttl", "+pexpire"}

// TestLogin: by TLS, with user and password, in another database, as a user who may do nothing else; and not without them.
func TestLogin(t *testing.T) {
	cert, key, client := certificate(t)
	port := freePort(t)
	s := redistest.Start(t, append([]string{"--tls-port", port, "--tls-cert-file", cert, "--tls-key-file", key, "--tls-auth-clients", "no"}, acl...)...)
	at := Server{Addrs: []string{"127.0.0.1:" + port}, User: "app", Password: "a word", DB: 0, TLS: client, Prefix: "t"}
	i := patient(t, Dial(at), three)
	exact(t, i)
	if v := i.admit(1, 1, 1); v != Admitted || s.Size(server) != 1 {
		t.Errorf("verdict %v, %d in Redis", v, s.Size(server))
	}
	i.establish(1)
	i.bye(1)
	await(t, "it is gone", func() bool { return s.Size(server) == 0 })
	i.Ended(9, i.place())
	await(t, "its end is there", func() bool { return s.Size(ended) > 0 })
	if st := i.Stats(); st.Losses != 0 {
		t.Errorf("%+v", st)
	}
	for name, wrong := range map[string]func(*Server){
		"another password":  func(s *Server) { s.Password = "no word" },
		"no trust":          func(s *Server) { s.TLS = &tls.Config{} },
		"TLS to a TCP port": func(s1 *Server) { s1.Addrs = []string{s.Addr()} },
	} {
		bad := at
		wrong(&bad)
		if i := patient(t, Dial(bad), three); i.Stats().Up {
			t.Errorf("%s: it is taken", name)
		}
	}
}

// TestDatabase: the number of the database is that of the store.
func TestDatabase(t *testing.T) {
	s := redistest.Start(t)
	i := patient(t, Dial(Server{Addrs: []string{s.Addr()}, DB: 3, Prefix: "t"}), three)
	exact(t, i)
	if v := i.admit(1, 1, 1); v != Admitted || s.Size(server) != 0 {
		t.Errorf("verdict %v, %d in database 0", v, s.Size(server))
	}
}

// TestSentinel: the master dies, Sentinel has a replica take its place, and the sessions are counted there.
func TestSentinel(t *testing.T) {
	a := redistest.Start(t)
	host, aPort, _ := net.SplitHostPort(a.Addr())
	b := redistest.Start(t, "--replicaof", host+" "+aPort)
	port := freePort(t)
	file := filepath.Join(t.TempDir(), "sentinel.conf")
	text := fmt.Sprintf("port %s\nbind 127.0.0.1\nrequirepass watch\nsentinel monitor mrcp %s %s 1\nsentinel down-after-milliseconds mrcp 300\nsentinel failover-timeout mrcp 2000\n", port, host, aPort)
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	watch := exec.Command("redis-server", file, "--sentinel")
	if err := watch.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = watch.Process.Kill()
		_ = watch.Wait()
	})
	await(t, "the replica follows", func() bool {
		info, err := b.Client.Info(context.Background(), "replication").Result()
		return err == nil && strings.Contains(info, "master_link_status:up")
	})
	i := patient(t, Dial(Server{Addrs: []string{"127.0.0.1:" + port}, Master: "mrcp", SentinelPassword: "watch", Prefix: "t"}), Rule{Open, 1})
	await(t, "the store is found", func() bool { return i.Stats().Exact })
	for key := range uint64(5) {
		if v := i.admit(key+1, 9, 9); v != Admitted {
			t.Fatal(v)
		}
		i.establish(key + 1)
	}
	await(t, "the replica has them", func() bool { return b.Size(server) == 5 })
	a.Kill()
	for key := range uint64(5) {
		if v := i.admit(key+10, 20, 20); v != Admitted {
			t.Error(v)
		}
		i.establish(key + 10)
	}
	for end := time.Now().Add(30 * time.Second); b.Size(server) != 10 || !i.Stats().Up; time.Sleep(10 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("%d sessions at the new master, %+v", b.Size(server), i.Stats())
		}
	}
}
