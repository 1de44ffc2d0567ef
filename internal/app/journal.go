package app

import "context"

// openJournal takes the sessions that the journal has.
func (a *App) openJournal() {
	a.journal.Open()
	a.sessions.Tick() // those that are over by now
}

// keepJournal writes the journal until ctx ends, but for the time in which a successor is to have the file.
func (a *App) keepJournal(ctx context.Context) error {
	defer close(a.journalOver)
	for {
		run, stop := context.WithCancel(ctx)
		done := make(chan error, 1)
		go func() { done <- a.journal.Run(run) }()
		select {
		case <-ctx.Done():
		case <-a.journalOut:
		}
		stop()
		if err := <-done; err != nil || ctx.Err() != nil {
			return err
		}
		select {
		case a.journalOut <- struct{}{}: // it is closed
		case <-ctx.Done():
			return nil
		}
		select {
		case <-a.journalOut: // there is no successor after all
		case <-ctx.Done():
			return nil
		}
	}
}

// releaseJournal returns when everything is written and the file closed.
func (a *App) releaseJournal() {
	if a.journal == nil {
		return
	}
	select {
	case a.journalOut <- struct{}{}:
	case <-a.journalOver:
		return
	}
	select {
	case <-a.journalOut:
	case <-a.journalOver:
	}
}

// retakeJournal writes the journal again.
func (a *App) retakeJournal() {
	if a.journal == nil {
		return
	}
	select {
	case a.journalOut <- struct{}{}:
	case <-a.journalOver:
	}
}
