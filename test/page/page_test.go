package page

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/chromedp/chromedp"
	"github.com/chromedp/chromedp/kb"
	"go.uber.org/zap"

	"mrcproxy/config"
	"mrcproxy/internal/api"
	"mrcproxy/internal/app"
	"mrcproxy/internal/sim"
)

// house is a daemon with two simulated servers in each of two data centres, and a client with sessions.
type house struct {
	t       *testing.T
	servers []*sim.Server
	app     *app.App
	client  *sim.Client
}

func newHouse(t *testing.T) *house {
	t.Helper()
	h := &house{t: t}
	var uris []any
	for range 4 {
		s, err := sim.StartServer(sim.ServerOptions{})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(s.Stop)
		h.servers = append(h.servers, s)
		uris = append(uris, s.Addr())
	}
	text := fmt.Sprintf(`
idc: sh-a
data_dir: %[5]s
listen: ["udp://127.0.0.1:0"]
admin: {listen: "127.0.0.1:0"}
health: {interval: 50ms, timeout: 500ms, rise: 1, fall: 1}
otherwise: {cluster: asr}
clusters:
  - name: asr
    groups:
      - {idc: sh-a, backends: [{uri: "sip:%[1]s", capacity: 20}, {uri: "sip:%[2]s", capacity: 20}]}
      - {idc: sh-b, backends: [{uri: "sip:%[3]s", capacity: 20}, {uri: "sip:%[4]s", capacity: 20}]}
`, append(uris, t.TempDir())...)
	var err error
	h.app, err = app.New(app.Options{Load: func() (*config.Config, error) { return config.Parse("f.yaml", []byte(text)) }, Log: zap.NewNop(), Version: "v1.2.3"})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error)
	go func() { done <- h.app.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	h.client, err = sim.NewClient(sim.ClientOptions{Proxy: netip.MustParseAddrPort(h.app.SIP(0).String())})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = h.client.Close() })
	return h
}

// call has n sessions held until the test ends.
func (h *house) call(n int) {
	for range n {
		go h.client.Session(h.t.Context(), time.Hour)
	}
}

func (h *house) uri(n int) string { return "sip:" + h.servers[n].Addr().String() }

func (h *house) get(path string, into any) {
	h.t.Helper()
	resp, err := http.Get("http://" + h.app.Admin() + "/api/v1/" + path)
	if err != nil {
		h.t.Fatal(err)
	}
	defer resp.Body.Close()
	if err := json.NewDecoder(resp.Body).Decode(into); err != nil {
		h.t.Fatal(err)
	}
}

// row is the JavaScript that finds a server's row by its URI.
func (h *house) row(n int) string {
	return fmt.Sprintf("[...document.querySelectorAll('.servers tbody tr')].find((r) => r.textContent.includes(%q))", h.servers[n].Addr())
}

// TestPage: it loads without a complaint, follows what happens, and does what an operator asks of it.
func TestPage(t *testing.T) {
	h := newHouse(t)
	h.call(6)
	b := newBrowser(t)
	b.do(chromedp.Navigate("http://" + h.app.Admin() + "/"))
	b.await("it is live", "document.querySelector('#live.on')")
	for n := range h.servers {
		b.await("each server has its row, and is up", h.row(n)+"?.className === 'up'")
	}
	b.await("the sessions are counted live", h.row(0)+".querySelector('.count').textContent === '3 / 20'")
	b.await("all are local", "document.querySelector('.idc.local .much').textContent === '6 local · 100 %'")
	b.accessible()

	// Who is at a button with the keyboard stays there while the numbers change.
	b.do(chromedp.Evaluate("document.querySelector('.idc.remote [aria-label^=Drain]').focus()", nil))
	h.call(2)
	b.await("the new ones are counted", "document.querySelector('.idc.local .much').textContent === '8 local · 100 %'")
	if at := eval[string](b, "document.activeElement.ariaLabel ?? document.activeElement.tagName"); at != "Drain sh-b" {
		t.Errorf("the keyboard was at the other data centre's button, and is at %s", at)
	}

	// A server dies: the row follows by itself, and the change is told.
	h.servers[1].Kill()
	b.await("the server is down", h.row(1)+"?.className === 'down'")
	b.await("why is said", h.row(1)+".querySelector('.why').textContent.length > 5")
	b.await("it was told", fmt.Sprintf("document.querySelector('#recent tbody tr.ev-state.to-down')?.textContent.includes(%q)", h.servers[1].Addr()))
	b.await("and for those who hear", fmt.Sprintf("document.querySelector('#announce').textContent === 'sip:%s is down'", h.servers[1].Addr()))

	// The other is drained, by keyboard: the button, a question, a reason.
	b.do(chromedp.Evaluate(h.row(0)+".querySelector('[aria-label^=Drain]').focus()", nil), chromedp.KeyEvent(kb.Enter))
	b.await("a question", "document.querySelector('#ask[open]')")
	if text := eval[string](b, "document.querySelector('#ask').innerText"); !strings.Contains(text, h.uri(0)) || !strings.Contains(text, "no new sessions") {
		t.Errorf("the question: %s", text)
	}
	b.do(chromedp.KeyEvent(kb.Escape))
	b.await("the answer was no", "!document.querySelector('#ask[open]')")
	var one []api.Backend
	if h.get("backends", &one); one[0].State != "up" {
		t.Errorf("drained without a yes: %+v", one[0])
	}
	b.do(chromedp.Evaluate(h.row(0)+".querySelector('[aria-label^=Drain]').focus()", nil), chromedp.KeyEvent(kb.Enter),
		chromedp.SendKeys("#ask [name=for]", "soon", chromedp.ByQuery), chromedp.SendKeys("#ask [name=reason]", "new disk", chromedp.ByQuery))
	b.do(chromedp.Click("#ask .main", chromedp.ByQuery))
	if !eval[bool](b, "document.querySelector('#ask').open") {
		t.Error("a duration that is none was taken")
	}
	b.do(chromedp.SetValue("#ask [name=for]", "30m", chromedp.ByQuery), chromedp.Click("#ask .main", chromedp.ByQuery))
	b.await("it is draining", h.row(0)+"?.className === 'draining'")
	if at := eval[string](b, "document.activeElement.ariaLabel ?? document.activeElement.tagName"); at != "Enable "+h.uri(0) {
		t.Errorf("from Drain the keyboard is led to %s", at)
	}
	b.await("with the reason", h.row(0)+".querySelector('.why').textContent.includes('new disk')")
	if h.get("backends", &one); one[0].State != "draining" || one[0].Wish == nil || one[0].Wish.Until.IsZero() {
		t.Errorf("the daemon has %+v", one[0])
	}
	h.call(4)
	b.await("new sessions go to the other data centre", "document.querySelector('.idc.remote .much')?.textContent.startsWith('4 spilled')")

	// And enabled again.
	b.do(chromedp.Evaluate(h.row(0)+".querySelector('[aria-label^=Enable]').click()", nil), chromedp.Click("#ask .main", chromedp.ByQuery))
	b.await("it is up", h.row(0)+"?.className === 'up'")

	// A session is found by its Call-ID, and ended.
	var page api.SessionPage
	h.get("sessions", &page)
	b.do(chromedp.KeyEvent("/"))
	b.await("the key leads to the search", "document.activeElement.id === 'call-id'")
	b.do(chromedp.Evaluate("document.activeElement.value = ''", nil), chromedp.SendKeys("#call-id", page.Sessions[0].CallID[3:]+kb.Enter, chromedp.ByQuery))
	b.await("one session is found", fmt.Sprintf("document.querySelectorAll('.sessions li').length === 1 && document.querySelector('.sessions code').textContent === %q", page.Sessions[0].CallID))
	b.do(chromedp.Click(".sessions button", chromedp.ByQuery), chromedp.Click("#ask .main", chromedp.ByQuery))
	b.await("it is gone", "document.querySelector('#found p').textContent.startsWith('0 sessions')")

	// All that is known of a server.
	b.do(chromedp.Evaluate(h.row(1)+".querySelector('th button').click()", nil))
	b.await("its changes are shown", "document.querySelector('#details[open]')?.innerText.includes('→ down')")
	b.do(chromedp.KeyEvent(kb.Escape))

	// Nothing but what is wanted is shown, in the colours that are wanted.
	b.do(chromedp.Click("#trouble", chromedp.ByQuery))
	if n := eval[int](b, "[...document.querySelectorAll('.servers tbody tr')].filter((r) => !r.hidden).length"); n != 1 {
		t.Errorf("%d servers that are not up", n)
	}
	colour := func() string { return eval[string](b, "getComputedStyle(document.body).backgroundColor") }
	b.do(chromedp.Click("#theme", chromedp.ByQuery))
	light := colour()
	b.do(chromedp.Click("#theme", chromedp.ByQuery))
	if dark := colour(); dark == light {
		t.Errorf("dark is as light: %s", dark)
	}
}
