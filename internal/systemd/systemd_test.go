package systemd

import (
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"
)

// passedEnv makes the test binary print the sockets it was passed, as a service would see them.
const passedEnv = "SYSTEMD_TEST_PASSED"

func TestMain(m *testing.M) {
	if os.Getenv(passedEnv) == "" {
		os.Exit(m.Run())
	}
	l, err := Sockets()
	if err != nil {
		fmt.Println("error:", err)
	}
	for _, s := range l {
		fmt.Println(s)
	}
	if again, _ := Sockets(); again != nil || os.Getenv("LISTEN_FDS") != "" {
		fmt.Println("the environment is left to children")
	}
}

// passed runs the test binary with files as systemd passes them, and returns what it prints.
func passed(t *testing.T, names, pid string, files ...*os.File) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	c := exec.CommandContext(ctx, "/bin/sh", "-c", `export LISTEN_PID=`+pid+`; exec "$0"`, os.Args[0])
	c.Env = append(os.Environ(), passedEnv+"=1", "LISTEN_FDS="+strconv.Itoa(len(files)), "LISTEN_FDNAMES="+names)
	c.ExtraFiles = files
	out, err := c.CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	return string(out)
}

func fileOf(t *testing.T, s interface{ File() (*os.File, error) }) *os.File {
	t.Helper()
	f, err := s.File()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = f.Close() })
	return f
}

func TestSockets(t *testing.T) {
	u, err := net.ListenUDP("udp4", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	defer u.Close()
	ln, err := net.ListenTCP("tcp4", &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	udp, tcp := fileOf(t, u), fileOf(t, ln)
	want := fmt.Sprintf("sip (udp://%s)\nunknown (tcp://%s)\n", u.LocalAddr(), ln.Addr())
	if got := passed(t, "sip:", "$$", udp, tcp); got != want {
		t.Errorf("got %q, want %q", got, want)
	}
	if got := passed(t, "", "1", udp, tcp); got != "" {
		t.Errorf("sockets of another process: %q", got)
	}

	c, err := net.Dial("tcp", ln.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if got := passed(t, "web", "$$", fileOf(t, c.(*net.TCPConn))); !strings.Contains(got, "web (descriptor 3): neither a UDP socket nor a TCP listener") {
		t.Errorf("a connection is no listener: %q", got)
	}
	plain, err := os.Create(filepath.Join(t.TempDir(), "f"))
	if err != nil {
		t.Fatal(err)
	}
	defer plain.Close()
	if got := passed(t, "file", "$$", plain); !strings.Contains(got, "file (descriptor 3)") {
		t.Errorf("a file is no socket: %q", got)
	}
}

func TestNotify(t *testing.T) {
	t.Setenv("NOTIFY_SOCKET", "")
	n, err := NewNotifier()
	if n != nil || err != nil {
		t.Fatalf("without a manager: %v, %v", n, err)
	}
	n.Ready() // tells nobody
	n.Close()

	for _, path := range []string{filepath.Join(t.TempDir(), "notify"), fmt.Sprintf("@mrcproxy-test-%d", os.Getpid())} {
		manager, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Net: "unixgram", Name: path})
		if err != nil {
			t.Fatal(err)
		}
		t.Setenv("NOTIFY_SOCKET", path)
		if n, err = NewNotifier(); err != nil {
			t.Fatal(err)
		}
		got := func() string {
			b := make([]byte, 1000)
			_ = manager.SetReadDeadline(time.Now().Add(10 * time.Second))
			k, err := manager.Read(b)
			if err != nil {
				t.Fatal(err)
			}
			return string(b[:k])
		}
		for want, tell := range map[string]func(){
			"READY=1": n.Ready, "STOPPING=1": n.Stopping, "WATCHDOG=1": n.Alive, "MAINPID=42": func() { n.MainPID(42) },
		} {
			tell()
			if g := got(); g != want {
				t.Errorf("got %q, want %q", g, want)
			}
		}
		n.Reloading()
		text, usec, _ := strings.Cut(got(), "\nMONOTONIC_USEC=")
		if v, err := strconv.ParseInt(usec, 10, 64); text != "RELOADING=1" || err != nil || v <= 0 {
			t.Errorf("reloading: %q, %q", text, usec)
		}
		n.Close()
		_ = manager.Close()
	}
	t.Setenv("NOTIFY_SOCKET", filepath.Join(t.TempDir(), "nobody"))
	if _, err := NewNotifier(); err == nil {
		t.Error("no error where nobody listens")
	}
}

func TestWatchdog(t *testing.T) {
	for _, c := range []struct {
		usec, pid string
		want      time.Duration
	}{
		{"", "", 0}, {"0", "", 0}, {"x", "", 0}, {"2000000", "", 2 * time.Second}, {"2000000", "1", 0},
		{"2000000", strconv.Itoa(os.Getpid()), 2 * time.Second},
	} {
		t.Setenv("WATCHDOG_USEC", c.usec)
		t.Setenv("WATCHDOG_PID", c.pid)
		if got := Watchdog(); got != c.want {
			t.Errorf("%+v: %v", c, got)
		}
	}
}
