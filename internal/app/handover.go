package app

import (
	"context"
	"fmt"
	"time"

	"go.uber.org/zap"

	"mrcproxy/internal/handover"
)

// offer opens the socket at which a successor will find us. Without it the daemon serves as well, but an upgrade is a
// restart.
func (a *App) offer(path string) {
	if path == "" {
		return
	}
	o := handover.Options{Path: path, Engine: a.proxy, Kept: a.found.heir, Log: a.log, Left: a.handedOver,
		Halted: a.releaseJournal, Resumed: a.retakeJournal}
	if a.admin != nil {
		o.Admin = a.admin.Socket()
	}
	var err error
	if a.heirs, err = handover.Listen(o); err != nil {
		a.log.Warn("this process cannot hand over to a successor", zap.Error(err))
	}
}

// handedOver is called when the process pid has our sockets.
func (a *App) handedOver(pid int) {
	a.opts.Notify.MainPID(pid)
	if a.together != nil {
		a.together.store.Leave()
	}
	close(a.left)
}

// takeOver gets what the predecessor has, if there is one. From here until Run serves, what arrives waits in the kernel.
func (a *App) takeOver() error {
	before := a.found.before
	if before == nil {
		return nil
	}
	got, err := before.Take(a.found.own)
	if err != nil {
		return err
	}
	if a.journal != nil { // it was the predecessor's until now
		a.openJournal()
	}
	a.proxy.Adopt(got.Streams)
	a.proxy.Follow(before, got.Generations)
	a.log.Info("taken over", zap.Int("pid", before.PID), zap.Int("connections", len(got.Streams)), zap.Int("processes", len(got.Generations)))
	return nil
}

// succeed tells whom it concerns that we serve, and passes on what is the predecessor's until it ends.
func (a *App) succeed(ctx context.Context) error {
	select {
	case <-a.proxy.Ready():
	case <-ctx.Done():
		return nil
	}
	before := a.found.before
	if before == nil {
		a.appear()
		a.opts.Notify.Ready()
		return nil
	}
	defer before.Close()
	a.appear() // the predecessor does not listen for successors any more
	if err := before.Serving(); err != nil {
		return fmt.Errorf("the predecessor has taken its sockets back: %w", err)
	}
	a.opts.Notify.Ready()
	before.Run(ctx, a.proxy.Relay)
	a.proxy.Follow(nil, nil)
	return nil
}

// appear lets a successor find us.
func (a *App) appear() {
	if a.heirs != nil {
		if err := a.heirs.Appear(); err != nil {
			a.log.Warn("this process cannot hand over to a successor", zap.Error(err))
		}
	}
}

// watchdog gives signs of life for as long as the engine lives.
func (a *App) watchdog(ctx context.Context) error {
	t := time.NewTicker(a.opts.Watchdog / 3)
	defer t.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-t.C:
			if a.proxy.Alive(a.opts.Watchdog / 3) {
				a.opts.Notify.Alive()
			}
		}
	}
}
