package app

import (
	"os"
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
// failing sessions must not fill the disk. The sessions' own lines have a far higher bound than a server can set up.
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
	core := &split{
		sessions: zapcore.NewCore(enc, out, level),
		rest:     zapcore.NewSamplerWithOptions(zapcore.NewCore(enc, out, level), notify, burst, thin),
	}
	return zap.New(core), &level, func() { _ = out.Stop() }, nil
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

// split samples everything but the lines of sessions, of which none may be missing.
type split struct{ sessions, rest zapcore.Core }

func (s *split) Enabled(l zapcore.Level) bool { return s.sessions.Enabled(l) }

func (s *split) With(f []zapcore.Field) zapcore.Core {
	return &split{s.sessions.With(f), s.rest.With(f)}
}

func (s *split) Check(e zapcore.Entry, ce *zapcore.CheckedEntry) *zapcore.CheckedEntry {
	if e.Message == "session" {
		return s.sessions.Check(e, ce)
	}
	return s.rest.Check(e, ce)
}

func (s *split) Write(e zapcore.Entry, f []zapcore.Field) error { return s.sessions.Write(e, f) }

func (s *split) Sync() error { return s.sessions.Sync() }
