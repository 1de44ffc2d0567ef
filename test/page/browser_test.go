package page

import (
	"bytes"
	"cmp"
	"context"
	"fmt"
	"image"
	"image/color"
	"image/png"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/chromedp/cdproto/accessibility"
	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/cdproto/log"
	"github.com/chromedp/cdproto/runtime"
	"github.com/chromedp/chromedp"
)

// browser is one tab. What its console says that is no good, and every exception, fails the test.
type browser struct {
	t   *testing.T
	ctx context.Context

	mu    sync.Mutex
	wrong []string
}

func newBrowser(t *testing.T) *browser {
	t.Helper()
	path, err := exec.LookPath("chromium")
	if err != nil {
		t.Fatal("chromium is not installed: make deps")
	}
	opts := []chromedp.ExecAllocatorOption{
		chromedp.ExecPath(path), chromedp.Headless, chromedp.NoSandbox, chromedp.DisableGPU, chromedp.NoFirstRun, chromedp.UserDataDir(t.TempDir()),
		chromedp.Flag("disable-quic", true), chromedp.Flag("disable-background-networking", true), chromedp.Flag("disable-component-update", true),
		chromedp.Flag("disable-sync", true), chromedp.WindowSize(1360, 900), chromedp.WSURLReadTimeout(60 * time.Second),
	}
	alloc, endAlloc := chromedp.NewExecAllocator(context.Background(), opts...)
	ctx, end := chromedp.NewContext(alloc, chromedp.WithErrorf(func(string, ...any) {})) // of events that it does not know
	ctx, endTime := context.WithTimeout(ctx, 3*time.Minute)
	b := &browser{t: t, ctx: ctx}
	t.Cleanup(func() {
		_ = chromedp.Cancel(ctx) // waits for the browser's end, so that its folder can be removed
		endTime()
		end()
		endAlloc()
		for _, w := range b.complaints() {
			t.Errorf("console: %s", w)
		}
	})
	chromedp.ListenTarget(ctx, b.listen)
	b.do(log.Enable(), runtime.Enable())
	return b
}

func (b *browser) listen(ev any) {
	b.mu.Lock()
	defer b.mu.Unlock()
	switch e := ev.(type) {
	case *log.EventEntryAdded:
		if e.Entry.Level == log.LevelError || e.Entry.Level == log.LevelWarning {
			b.wrong = append(b.wrong, e.Entry.Text+" "+e.Entry.URL)
		}
	case *runtime.EventExceptionThrown:
		b.wrong = append(b.wrong, e.ExceptionDetails.Error())
	case *runtime.EventConsoleAPICalled:
		if e.Type == runtime.APITypeError || e.Type == runtime.APITypeWarning {
			b.wrong = append(b.wrong, fmt.Sprintf("%s: %s", e.Type, e.Args[0].Value))
		}
	}
}

func (b *browser) complaints() []string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.wrong
}

func (b *browser) do(actions ...chromedp.Action) {
	b.t.Helper()
	if err := chromedp.Run(b.ctx, actions...); err != nil {
		b.t.Fatal(err, b.complaints())
	}
}

// eval is what a JavaScript expression gives.
func eval[T any](b *browser, js string) T {
	b.t.Helper()
	var v T
	b.do(chromedp.Evaluate(js, &v))
	return v
}

// await waits until a JavaScript expression is true.
func (b *browser) await(what, js string) {
	b.t.Helper()
	if err := chromedp.Run(b.ctx, chromedp.Poll("Boolean("+js+")", nil, chromedp.WithPollingInterval(50*time.Millisecond), chromedp.WithPollingTimeout(20*time.Second))); err != nil {
		b.t.Fatalf("in vain: %s: %v\n%v\n%s", what, err, b.complaints(), eval[string](b, "document.body.innerText"))
	}
}

// keep writes a picture of the page, where pictures are wanted and it has a name; it fails when there is none.
func (b *browser) keep(name string, width, height int, dark bool) {
	b.t.Helper()
	scheme := "light"
	if dark {
		scheme = "dark"
	}
	var picture []byte
	b.do(emulation.SetDeviceMetricsOverride(int64(width), int64(height), 1, false),
		emulation.SetEmulatedMedia().WithFeatures([]*emulation.MediaFeature{{Name: "prefers-color-scheme", Value: scheme}}),
		chromedp.Evaluate("document.querySelector('main').offsetHeight", nil), chromedp.CaptureScreenshot(&picture))
	if len(picture) < 5000 {
		b.t.Errorf("%s: a picture of %d bytes", name, len(picture))
	}
	if dir := os.Getenv("MRCPROXY_SCREENSHOTS"); dir != "" && name != "" {
		if err := os.WriteFile(filepath.Join(dir, name), smaller(b.t, picture), 0o644); err != nil {
			b.t.Error(err)
		}
	}
}

// smaller is a picture with 256 colours at most: those that it has the most of.
func smaller(t *testing.T, picture []byte) []byte {
	t.Helper()
	img, err := png.Decode(bytes.NewReader(picture))
	if err != nil {
		t.Fatal(err)
	}
	count := map[color.RGBA]int{}
	at := func(x, y int) color.RGBA { // of pictures of pages
		r, g, b, _ := img.At(x, y).RGBA()
		return color.RGBA{uint8(r>>8) &^ 3, uint8(g>>8) &^ 3, uint8(b>>8) &^ 3, 255}
	}
	area := img.Bounds()
	for y := area.Min.Y; y < area.Max.Y; y++ {
		for x := area.Min.X; x < area.Max.X; x++ {
			count[at(x, y)]++
		}
	}
	all := slices.SortedFunc(maps.Keys(count), func(a, b color.RGBA) int { return cmp.Compare(count[b], count[a]) })
	var palette color.Palette
	for _, c := range all[:min(len(all), 256)] {
		palette = append(palette, c)
	}
	known := map[color.RGBA]uint8{}
	for _, c := range all {
		known[c] = uint8(palette.Index(c))
	}
	out := image.NewPaletted(area, palette)
	for y := area.Min.Y; y < area.Max.Y; y++ {
		for x := area.Min.X; x < area.Max.X; x++ {
			out.SetColorIndex(x, y, known[at(x, y)])
		}
	}
	var b bytes.Buffer
	if err := (&png.Encoder{CompressionLevel: png.BestCompression}).Encode(&b, out); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// accessible fails for a control that a screen reader has no name for.
func (b *browser) accessible() {
	b.t.Helper()
	var nodes []*accessibility.Node
	b.do(chromedp.ActionFunc(func(ctx context.Context) (err error) {
		nodes, err = accessibility.GetFullAXTree().Do(ctx)
		return err
	}))
	controls := map[string]int{}
	for _, n := range nodes {
		if n.Ignored || n.Role == nil {
			continue
		}
		role := strings.Trim(string(n.Role.Value), `"`)
		switch role {
		case "button", "textbox", "searchbox", "checkbox", "link", "meter", "table", "dialog":
			controls[role]++
			if n.Name == nil || strings.Trim(string(n.Name.Value), `"`) == "" {
				b.t.Errorf("a %s without a name: %v", role, n.Properties)
			}
		}
	}
	if controls["button"] < 5 || controls["searchbox"] != 2 {
		b.t.Errorf("controls: %v", controls)
	}
}
