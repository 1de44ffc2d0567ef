package probe

import (
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"
)

// Audio is speech at 8000 samples a second, one channel.
type Audio struct{ samples []int16 }

const (
	rate       = 8000
	maxSeconds = 60
)

// LoadAudio reads a WAV file (16-bit PCM, A-law or mu-law), or one without a header, whose name says what it holds: .ulaw,
// .ul or .pcmu; .alaw, .al or .pcma; .raw, .pcm, .sln or .l16 for 16-bit samples, the low byte first. It must be mono at
// 8000 Hz and not longer than a minute.
func LoadAudio(path string) (*Audio, error) {
	b, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("read audio: %w", err)
	}
	a, err := parseAudio(strings.ToLower(filepath.Ext(path)), b)
	if err != nil {
		return nil, fmt.Errorf("audio %s: %w", path, err)
	}
	return a, nil
}

func parseAudio(ext string, b []byte) (*Audio, error) {
	format := formatOf(ext)
	if string(b[:min(4, len(b))]) == "RIFF" {
		var err error
		if format, b, err = parseWAV(b); err != nil {
			return nil, err
		}
	}
	a := &Audio{}
	switch format {
	case formatLinear:
		for ; len(b) > 1; b = b[2:] {
			a.samples = append(a.samples, int16(binary.LittleEndian.Uint16(b)))
		}
	case formatA, formatU:
		payload := byte(pcmu)
		if format == formatA {
			payload = pcma
		}
		for _, c := range b {
			a.samples = append(a.samples, decode(payload, c))
		}
	default:
		return nil, errors.New("not a WAV file, and no name of one without a header: .ulaw, .ul, .pcmu, .alaw, .al, .pcma, .raw, .pcm, .sln or .l16")
	}
	switch n := len(a.samples); {
	case n == 0:
		return nil, errors.New("no samples in it")
	case n > maxSeconds*rate:
		return nil, fmt.Errorf("longer than %d s", maxSeconds)
	}
	return a, nil
}

// The formats, by their numbers in a WAV file.
const (
	formatLinear = 1
	formatA      = 6
	formatU      = 7
)

func formatOf(ext string) int {
	switch ext {
	case ".ulaw", ".ul", ".pcmu":
		return formatU
	case ".alaw", ".al", ".pcma":
		return formatA
	case ".raw", ".pcm", ".sln", ".l16":
		return formatLinear
	}
	return 0
}

// parseWAV finds the samples in a RIFF file: chunks of a name, a length and that many bytes, padded to an even number.
func parseWAV(b []byte) (format int, samples []byte, err error) {
	if len(b) < 12 || string(b[8:12]) != "WAVE" {
		return 0, nil, errors.New("a RIFF file, but no WAVE")
	}
	for b = b[12:]; len(b) >= 8; {
		name, n := string(b[:4]), int(binary.LittleEndian.Uint32(b[4:]))
		b = b[8:]
		body := b[:min(n, len(b))] // a stream's length is often left open
		switch {
		case name == "data" && format == 0:
			return 0, nil, errors.New("a WAV file without a format before its data")
		case name == "data":
			return format, body, nil
		case name == "fmt " && len(body) < 16:
			return 0, nil, errors.New("a WAV file with half a format")
		case name == "fmt ":
			channels, hz := binary.LittleEndian.Uint16(body[2:]), binary.LittleEndian.Uint32(body[4:])
			size := binary.LittleEndian.Uint16(body[14:])
			format = int(binary.LittleEndian.Uint16(body))
			if known := format == formatLinear && size == 16 || (format == formatA || format == formatU) && size == 8; !known || channels != 1 || hz != rate {
				return 0, nil, fmt.Errorf("must be mono at %d Hz, 16-bit PCM, A-law or mu-law; it is format %d of %d bits, %d channels at %d Hz", rate, format, size, channels, hz)
			}
		}
		b = b[min(n+n&1, len(b)):]
	}
	return 0, nil, errors.New("a WAV file without data")
}

const (
	frameTime    = 20 * time.Millisecond
	frameSamples = rate / 50
)

// frames cuts the audio into frames of G.711, the last one filled with silence.
func (a *Audio) frames(payload byte) [][]byte {
	if a == nil {
		return nil
	}
	var all [][]byte
	for s := a.samples; len(s) > 0; s = s[min(frameSamples, len(s)):] {
		f := silence(payload)
		for i, v := range s[:min(frameSamples, len(s))] {
			f[i] = encode(payload, v)
		}
		all = append(all, f)
	}
	return all
}

func silence(payload byte) []byte {
	f := make([]byte, frameSamples)
	for i := range f {
		f[i] = encode(payload, 0)
	}
	return f
}
