package probe

import (
	"encoding/binary"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestG711 holds the coders against values of ITU-T G.711 tables 1a and 2a, and against each other.
func TestG711(t *testing.T) {
	for _, c := range []struct {
		payload, b byte
		sample     int16
	}{
		{pcmu, 0xff, 0}, {pcmu, 0x7f, 0}, {pcmu, 0x80, 32124}, {pcmu, 0x00, -32124}, {pcmu, 0xfe, 8}, {pcmu, 0x7e, -8}, {pcmu, 0xcf, 924},
		{pcma, 0xd5, 8}, {pcma, 0x55, -8}, {pcma, 0xaa, 32256}, {pcma, 0x2a, -32256}, {pcma, 0xd4, 24},
	} {
		if got := decode(c.payload, c.b); got != c.sample {
			t.Errorf("payload %d, %#02x: %d, want %d", c.payload, c.b, got, c.sample)
		}
	}
	for _, payload := range []byte{pcmu, pcma} {
		for b := range 256 {
			if got := encode(payload, decode(payload, byte(b))); got != byte(b) && !(payload == pcmu && b == 0x7f) { // two zeros
				t.Errorf("payload %d: %#02x became %#02x", payload, b, got)
			}
		}
		last := int16(math.MinInt16)
		for v := math.MinInt16; v <= math.MaxInt16; v++ {
			got := decode(payload, encode(payload, int16(v)))
			if off := int(got) - v; off > max(abs(v)/16, 8)+100 || -off > max(abs(v)/16, 8)+100 && abs(v) < 32000 {
				t.Fatalf("payload %d: %d became %d", payload, v, got)
			}
			if got < last {
				t.Fatalf("payload %d: not monotonic at %d", payload, v)
			}
			last = got
		}
	}
}

func abs(v int) int { return max(v, -v) }

// wav is a RIFF file with the fields that matter here.
func wav(format, channels, hz, size int, extra string, data []byte) []byte {
	b := []byte("RIFF\x00\x00\x00\x00WAVE" + extra + "fmt ")
	b = binary.LittleEndian.AppendUint32(b, 16)
	for _, v := range []int{format, channels} {
		b = binary.LittleEndian.AppendUint16(b, uint16(v))
	}
	b = binary.LittleEndian.AppendUint32(b, uint32(hz))
	b = append(b, 0, 0, 0, 0, 0, 0)
	b = binary.LittleEndian.AppendUint16(b, uint16(size))
	b = append(b, "data"...)
	b = binary.LittleEndian.AppendUint32(b, uint32(len(data)))
	return append(b, data...)
}

func TestLoadAudio(t *testing.T) {
	dir := t.TempDir()
	linear := []byte{0, 0, 0x00, 0x10, 0x00, 0xf0} // 0, 4096, -4096
	for name, c := range map[string]struct {
		content []byte
		samples int
		err     string
	}{
		"a.wav":      {wav(1, 1, 8000, 16, "", linear), 3, ""},
		"list.WAV":   {wav(1, 1, 8000, 16, "LIST\x03\x00\x00\x00abc\x00", linear), 3, ""},
		"u.wav":      {wav(7, 1, 8000, 8, "", []byte{0xff, 0x80}), 2, ""},
		"alaw.wav":   {wav(6, 1, 8000, 8, "", []byte{0xd5}), 1, ""},
		"a.raw":      {linear, 3, ""},
		"a.ulaw":     {linear, 6, ""},
		"a.al":       {linear, 6, ""},
		"hz.wav":     {wav(1, 1, 16000, 16, "", linear), 0, "must be mono at 8000 Hz, 16-bit PCM, A-law or mu-law; it is format 1 of 16 bits, 1 channels at 16000 Hz"},
		"stereo.wav": {wav(1, 2, 8000, 16, "", linear), 0, "2 channels"},
		"mp3.wav":    {wav(85, 1, 8000, 16, "", linear), 0, "format 85"},
		"avi.wav":    {[]byte("RIFF\x00\x00\x00\x00AVI "), 0, "no WAVE"},
		"cut.wav":    {wav(1, 1, 8000, 16, "", nil)[:30], 0, "half a format"},
		"head.wav":   {wav(1, 1, 8000, 16, "", nil)[:36], 0, "without data"},
		"early.wav":  {[]byte("RIFF\x00\x00\x00\x00WAVEdata\x00\x00\x00\x00"), 0, "without a format"},
		"none.wav":   {wav(1, 1, 8000, 16, "", nil), 0, "no samples"},
		"a.mp3":      {linear, 0, "not a WAV file"},
		"long.ul":    {make([]byte, 61*8000), 0, "longer than 60 s"},
	} {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, c.content, 0o600); err != nil {
			t.Fatal(err)
		}
		a, err := LoadAudio(path)
		switch {
		case c.err == "" && (err != nil || len(a.samples) != c.samples):
			t.Errorf("%s: %v, %v", name, a, err)
		case c.err != "" && (err == nil || !strings.Contains(err.Error(), c.err) || !strings.Contains(err.Error(), path)):
			t.Errorf("%s: %v, want %s", name, err, c.err)
		}
	}
	if _, err := LoadAudio(filepath.Join(dir, "missing")); err == nil {
		t.Error("a file that is not there")
	}
}

// TestFrames: the last frame is filled up, and what is silence to one law is silence to the other.
func TestFrames(t *testing.T) {
	a := &Audio{samples: make([]int16, frameSamples+1)}
	a.samples[frameSamples] = 4096
	for payload, quiet := range map[byte]byte{pcmu: 0xff, pcma: 0xd5} {
		f := a.frames(payload)
		if len(f) != 2 || len(f[0]) != frameSamples || len(f[1]) != frameSamples || f[0][0] != quiet || f[1][1] != quiet || f[1][0] == quiet {
			t.Errorf("payload %d: %d frames", payload, len(f))
		}
	}
	var none *Audio
	if len(none.frames(pcmu)) != 0 {
		t.Error("frames of nothing")
	}
}

func FuzzAudio(f *testing.F) {
	f.Add(".wav", wav(1, 1, 8000, 16, "LIST\x03\x00\x00\x00abc\x00", []byte{1, 2}))
	f.Add(".ul", []byte{1})
	f.Fuzz(func(t *testing.T, ext string, b []byte) {
		if a, err := parseAudio(ext, b); err == nil && (len(a.samples) == 0 || len(a.samples) > maxSeconds*rate) {
			t.Errorf("%d samples", len(a.samples))
		}
	})
}
