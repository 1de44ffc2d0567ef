// Package systemd is what a service manager of systemd's kind and a service say to each other: state by sd_notify(3), and
// sockets by sd_listen_fds(3). It owns the socket that notices go to. It decides nothing, and does nothing where there is no
// such manager.
package systemd

import (
	"fmt"
	"net"
	"os"
	"strconv"
	"time"

	"golang.org/x/sys/unix"
)

// Notifier tells the manager how the service is. A nil one tells nobody.
type Notifier struct {
	conn *net.UnixConn
}

// NewNotifier connects to the socket that $NOTIFY_SOCKET names; nil where it names none.
func NewNotifier() (*Notifier, error) {
	name := os.Getenv("NOTIFY_SOCKET")
	if name == "" {
		return nil, nil
	}
	// A name that begins with @ is abstract, for net as for systemd.
	c, err := net.DialUnix("unixgram", nil, &net.UnixAddr{Net: "unixgram", Name: name})
	if err != nil {
		return nil, fmt.Errorf("NOTIFY_SOCKET: %w", err)
	}
	return &Notifier{c}, nil
}

// send sends one notice. That a manager does not take it is not the service's fault, nor its business.
func (n *Notifier) send(text string) {
	if n != nil {
		_, _ = n.conn.Write([]byte(text))
	}
}

// Ready says that the service serves, or that a reload is over.
func (n *Notifier) Ready() { n.send("READY=1") }

// Reloading says that a reload begins; Ready ends it.
func (n *Notifier) Reloading() {
	var now unix.Timespec
	_ = unix.ClockGettime(unix.CLOCK_MONOTONIC, &now) // it never fails
	n.send(fmt.Sprintf("RELOADING=1\nMONOTONIC_USEC=%d", now.Nano()/1000))
}

// Stopping says that the service is ending.
func (n *Notifier) Stopping() { n.send("STOPPING=1") }

// MainPID says that another process is the service from now on.
func (n *Notifier) MainPID(pid int) { n.send("MAINPID=" + strconv.Itoa(pid)) }

// Alive is the sign of life that a watchdog waits for.
func (n *Notifier) Alive() { n.send("WATCHDOG=1") }

// Close closes the connection to the manager.
func (n *Notifier) Close() {
	if n != nil {
		_ = n.conn.Close()
	}
}

// Watchdog is within which time the manager wants signs of life; 0: it wants none from this process (sd_watchdog_enabled(3)).
func Watchdog() time.Duration {
	if pid := os.Getenv("WATCHDOG_PID"); pid != "" && pid != strconv.Itoa(os.Getpid()) {
		return 0
	}
	usec, err := strconv.ParseInt(os.Getenv("WATCHDOG_USEC"), 10, 64)
	if err != nil || usec <= 0 {
		return 0
	}
	return time.Duration(usec) * time.Microsecond
}
