package probe

import (
	"context"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"time"

	"mrcproxy/internal/mrcp"
)

// do is the method.
func (d *Deep) do(ctx context.Context, r *Report, ch *channel, m *media) error {
	switch d.Method {
	case mrcp.Recognize:
		return d.recognize(ctx, r, ch, m)
	case mrcp.Speak:
		return d.speak(ctx, r, ch, m)
	}
	_, err := ch.do(ctx, mrcp.GetParams, "", nil, "", nil)
	return err
}

// recognize plays the audio from when the recogniser listens.
func (d *Deep) recognize(ctx context.Context, r *Report, ch *channel, m *media) error {
	frames := d.Audio.frames(m.payload)
	var talking sync.WaitGroup
	defer talking.Wait()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	// It is told to wait nearly as long as we do: longer than what is said, and so that we hear why it gives up.
	ms := strconv.Itoa(int(patience(ctx) * 9 / 10 / time.Millisecond))
	kind, _ := GrammarType(d.Grammar)
	fields := d.fields(kind)
	fields.Add(mrcp.CancelIfQueue, "false")
	fields.Add(mrcp.StartInputTimersHeader, "true")
	fields.Add(mrcp.NoInputTimeout, ms)
	fields.Add(mrcp.RecognitionTimeout, ms)
	fields.Add(mrcp.ContentID, "<probe@mrcproxy>")
	done, err := ch.do(ctx, mrcp.Recognize, mrcp.RecognitionComplete, fields, d.Grammar, func() {
		talking.Go(func() { m.talk(ctx, frames) })
	})
	if err != nil {
		return err
	}
	if err := cause(done, 0, 8); err != nil { // success, success-maxtime
		return err
	}
	h := parseResult(done.Body)
	r.Result, r.Confidence = h.String(), h.confidence
	return h.check(d.Expect, d.Confidence)
}

// patience is how long there is for the method.
func patience(ctx context.Context) time.Duration {
	if t, ok := ctx.Deadline(); ok {
		return max(time.Until(t), time.Millisecond)
	}
	return time.Minute
}

// fewest is how many packets of RTP, 100 ms, must come before speech is believed in.
const fewest = 5

func (d *Deep) speak(ctx context.Context, r *Report, ch *channel, m *media) error {
	var hearing sync.WaitGroup
	hearing.Go(m.hear)
	kind := "text/plain"
	if strings.HasPrefix(strings.TrimSpace(d.Text), "<") {
		kind = "application/ssml+xml"
	}
	done, err := ch.do(ctx, mrcp.Speak, mrcp.SpeakComplete, d.fields(kind), d.Text, nil)
	_ = m.conn.Close()
	hearing.Wait()
	r.Packets = int(m.packets.Load())
	if err != nil {
		return err
	}
	if err := cause(done, 0); err != nil { // normal
		return err
	}
	switch {
	case r.Packets < fewest:
		return failure(NoAudio, "SPEAK completed, and %d packets of RTP came", r.Packets)
	case m.loud.Load() == 0:
		return failure(SilentAudio, "SPEAK completed, and all of %d packets of RTP were silence", r.Packets)
	}
	return nil
}

// fields are those of a request with a body.
func (d *Deep) fields(contentType string) (h mrcp.Header) {
	if d.Language != "" {
		h.Add(mrcp.SpeechLanguage, d.Language)
	}
	h.Add(mrcp.ContentType, contentType)
	return h
}

// GrammarType is the media type of a grammar, or of the URI of one; false for what is neither.
func GrammarType(grammar string) (string, bool) {
	switch g := strings.TrimSpace(grammar); {
	case strings.HasPrefix(g, "<"):
		return "application/srgs+xml", true
	case strings.HasPrefix(g, "#ABNF"):
		return "application/srgs", true
	case strings.HasPrefix(g, "#JSGF"):
		return "application/x-jsgf", true
	case uri.MatchString(g):
		return "text/uri-list", true
	}
	return "", false
}

var uri = regexp.MustCompile(`^[A-Za-z][A-Za-z0-9+.-]*:\S+$`)
