package app

import (
	"os"
	"strings"
	"time"

	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"

	"mrcproxy/config"
	"mrcproxy/internal/session"
)

// attempts writes the servers tried, in order, with how each went.
type attempts []session.Attempt

// MarshalLogArray implements zapcore.ArrayMarshaler.
func (l attempts) MarshalLogArray(enc zapcore.ArrayEncoder) error {
	for i := range l {
		if err := enc.AppendObject((*attempt)(&l[i])); err != nil {
			return err
		}
	}
	return nil
}

type attempt session.Attempt

// MarshalLogObject implements zapcore.ObjectMarshaler.
func (a *attempt) MarshalLogObject(enc zapcore.ObjectEncoder) error {
	enc.AddString("backend", a.Backend.URI())
	enc.AddString("outcome", a.Outcome)
	enc.AddInt64("ms", a.Took.Milliseconds())
	return nil
}

// Within a second, the first burst lines of one kind are written, then every later-th: a flood of bad messages or of
// failing sessions must not fill the disk.
const (
	burst  = 100
	thin   = 1000
	notify = time.Second
)

// NewLogger makes the logger that a configuration asks for, writing to standard error. Lines may wait a second in memory;
// the func flushes them. The level is the logger's, and can be changed.
func NewLogger(c config.Log) (*zap.Logger, *zap.AtomicLevel, func(), error) {
	level, err := zap.ParseAtomicLevel(c.Level)
	if err != nil {
		return nil, nil, nil, err
	}
	ec := zap.NewProductionEncoderConfig()
	ec.TimeKey, ec.EncodeTime = "time", zapcore.RFC3339NanoTimeEncoder
	ec.EncodeDuration = zapcore.StringDurationEncoder
	enc := zapcore.NewJSONEncoder(ec)
	if c.Format == "console" {
		ec.EncodeLevel = zapcore.CapitalLevelEncoder
		enc = zapcore.NewConsoleEncoder(ec)
	}
	out := &zapcore.BufferedWriteSyncer{WS: zapcore.Lock(os.Stderr), Size: 256 << 10, FlushInterval: time.Second}
	return zap.New(thinned(zapcore.NewCore(enc, out, level))), &level, func() { _ = out.Stop() }, nil
}

// changeLevel sets the level that a reload asks for. The reload's own lines, which tell writes, have the lower of both.
func (a *App) changeLevel(c config.Log, tell func()) {
	next, err := zapcore.ParseLevel(c.Level)
	if a.opts.Level == nil || err != nil { // config has checked it
		tell()
		return
	}
	a.opts.Level.SetLevel(min(next, a.opts.Level.Level()))
	tell()
	a.opts.Level.SetLevel(next)
}

// thinned writes what matters whole, and of the rest what a flood leaves readable.
func thinned(core zapcore.Core) zapcore.Core {
	return &split{whole: core, rest: zapcore.NewSamplerWithOptions(core, notify, burst, thin)}
}

// split samples what strangers can make many of. Of what sessions, servers and operators do no line may be missing, and there are
// no more of them than sessions are set up, servers probed and orders given: when a data centre dies, each of its servers has its line.
type split struct{ whole, rest zapcore.Core }

func (s *split) Enabled(l zapcore.Level) bool { return s.whole.Enabled(l) }

func (s *split) With(f []zapcore.Field) zapcore.Core {
	return &split{s.whole.With(f), s.rest.With(f)}
}

func (s *split) Check(e zapcore.Entry, ce *zapcore.CheckedEntry) *zapcore.CheckedEntry {
	switch m := e.Message; {
	case m == "session", m == "operator", m == "deep probe", m == deadEnded, strings.HasPrefix(m, "backend "):
		return s.whole.Check(e, ce)
	}
	return s.rest.Check(e, ce)
}

func (s *split) Write(e zapcore.Entry, f []zapcore.Field) error { return s.whole.Write(e, f) }

func (s *split) Sync() error { return s.whole.Sync() }

// deadEnded is the line of a server whose sessions were ended because it is dead.
const deadEnded = "sessions of a dead backend ended"
