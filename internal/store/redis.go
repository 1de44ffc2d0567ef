package store

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/redis/go-redis/v9"
)

// Link carries calls to Redis.
type Link interface {
	// Do makes the calls, in their order and as one exchange, and fills in the replies of those that were answered. The
	// error says why some were not.
	Do(ctx context.Context, calls []*call) error
	Close() error
}

// Redis is where the counts are.
type Redis struct {
	Link   Link
	Prefix string // of every key
}

// client is a Link by go-redis.
type client struct {
	c redis.UniversalClient
}

func (c *client) Close() error { return c.c.Close() }

// Do sends each script by its name, and those that Redis has not seen since it was started once more, with their text.
func (c *client) Do(ctx context.Context, calls []*call) error {
	err := c.pipe(ctx, calls, func(p redis.Pipeliner, k *call) *redis.Cmd {
		return p.EvalSha(ctx, k.script.sha, k.keys, k.args...)
	})
	if !isNoScript(err) {
		return err
	}
	var unknown []*call
	for _, k := range calls {
		if !k.reply.ok {
			unknown = append(unknown, k)
		}
	}
	return c.pipe(ctx, unknown, func(p redis.Pipeliner, k *call) *redis.Cmd {
		return p.Eval(ctx, k.script.text, k.keys, k.args...)
	})
}

func isNoScript(err error) bool { return err != nil && strings.HasPrefix(err.Error(), "NOSCRIPT") }

// pipe sends calls as one pipeline. Its error is the worst: one that is not NOSCRIPT, if there is one.
func (c *client) pipe(ctx context.Context, calls []*call, send func(redis.Pipeliner, *call) *redis.Cmd) error {
	p := c.c.Pipeline()
	cmds := make([]*redis.Cmd, len(calls))
	for i, k := range calls {
		cmds[i] = send(p, k)
	}
	_, err := p.Exec(ctx)
	if err != nil && len(calls) == 0 {
		return err
	}
	var worst error
	for i, cmd := range cmds {
		if err := calls[i].read(cmd); err != nil && (worst == nil || isNoScript(worst)) {
			worst = err
		}
	}
	return worst
}

var errReply = errors.New("a reply that no script of ours gives")

// read takes the reply out of a command.
func (k *call) read(cmd *redis.Cmd) error {
	n, err := cmd.Int64Slice()
	if err != nil {
		return err
	}
	if len(n) < 3 || n[0] < int64(tooLate) || n[0] > int64(done) || (k.script != nil && !k.fits(n)) {
		return fmt.Errorf("%w: %d numbers", errReply, len(n))
	}
	k.reply = reply{status: status(n[0]), now: n[1], since: n[2], rest: n[3:], ok: true}
	return nil
}

// fits reports whether there is a number for each pool that is counted.
func (k *call) fits(n []int64) bool {
	want := len(k.pools)
	if len(k.leases) == 1 && k.leases[0].ask != nil {
		want = len(k.keys) - head
	}
	return status(n[0]) == tooLate || len(n)-3 >= want
}
