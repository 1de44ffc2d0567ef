package main

import (
	"fmt"
	"io"
	"os"
	"strings"
	"sync"

	"golang.org/x/sys/unix"
)

// console is where people read. On a terminal the picture is drawn in place, elsewhere pictures follow each other.
type console struct {
	live  bool
	paint palette

	mu    sync.Mutex
	w     io.Writer
	size  func() (columns, lines int) // of the terminal; 0: not known
	drawn int                         // lines of the picture that is on it
}

// newConsole is on standard output, or on standard error when that is for the JSON.
func newConsole(o demoOptions) *console {
	c := &console{w: o.human(), size: func() (int, int) { return 0, 0 }}
	if o.quiet {
		c.w = io.Discard
		return c
	}
	f, ok := c.w.(*os.File)
	if !ok {
		return c
	}
	if _, err := unix.IoctlGetWinsize(int(f.Fd()), unix.TIOCGWINSZ); err != nil || os.Getenv("TERM") == "dumb" {
		return c // no terminal
	}
	c.live, c.paint = true, palette{on: os.Getenv("NO_COLOR") == ""}
	c.size = func() (int, int) {
		s, err := unix.IoctlGetWinsize(int(f.Fd()), unix.TIOCGWINSZ)
		if err != nil {
			return 0, 0
		}
		return int(s.Col), int(s.Row)
	}
	return c
}

// human is the stream for people.
func (o *demoOptions) human() io.Writer {
	if o.output == "json" {
		return o.err
	}
	return o.out
}

// ANSI control sequences (ECMA-48). Lines that are too wide are cut, not wrapped, so that a picture has as many lines on
// the screen as in the text.
const (
	hideCursor = "\x1b[?25l"
	showCursor = "\x1b[?25h"
	noWrap     = "\x1b[?7l"
	wrap       = "\x1b[?7h"
	clearLine  = "\x1b[K" // to its end
	clearBelow = "\x1b[J"
)

// print writes lines, not to be mixed with pictures on a terminal.
func (c *console) print(lines ...string) { c.write(strings.Join(lines, "\n") + "\n") }

// write drops what cannot be written: nobody reads it.
func (c *console) write(s string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	_, _ = io.WriteString(c.w, s)
}

func (c *console) open() {
	if c.live {
		c.write(hideCursor)
	}
}

func (c *console) close() {
	if c.live {
		c.write(showCursor)
	}
}

// draw puts the picture in the place of the last one; where that cannot be, it prints the table.
func (c *console) draw(p *picture) {
	if !c.live {
		p.events = nil // printed when they happened
		c.print(append([]string{""}, p.lines(c.paint, 0, 0)...)...)
		return
	}
	columns, height := c.size()
	if height > 0 {
		height = max(1, height-1) // the cursor stands below the picture
	}
	lines := p.lines(c.paint, columns, height)
	var b strings.Builder
	b.WriteString(noWrap)
	if c.drawn > 0 {
		fmt.Fprintf(&b, "\x1b[%dA", c.drawn)
	}
	for _, l := range lines {
		b.WriteString("\r" + clearLine + l + "\n") // in this order: behind a full line, it would clear the last column
	}
	b.WriteString(clearBelow + wrap)
	c.drawn = len(lines)
	c.write(b.String())
}

// palette colours text; the zero one does not.
type palette struct{ on bool }

func (p palette) colour(code, text string) string {
	if !p.on {
		return text
	}
	return "\x1b[" + code + "m" + text + "\x1b[0m"
}

const (
	red    = "31"
	green  = "32"
	yellow = "33"
)

// state colours text by the state of a server.
func (p palette) state(state, text string) string {
	switch state {
	case "up":
		return p.colour(green, text)
	case "down", "removed":
		return p.colour(red, text)
	}
	return p.colour(yellow, text)
}

func (p palette) failed(n int) string {
	text := fmt.Sprintf("%d failed", n)
	if n == 0 {
		return text
	}
	return p.colour(red, text)
}
