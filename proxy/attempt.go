package proxy

import (
	"time"

	"mrcproxy/proxy/transaction"
)

// Why an attempt ended without an answer, as logs and metrics spell it; an answer is spelled by its code.
const (
	whyNoResponse  = "no_response" // silence
	whyNoAnswer    = "no_answer"   // a provisional response, then silence
	whyUnreachable = "unreachable" // ICMP
	whyConnection  = "connection"  // TCP: refused, timed out, or broken
	whySend        = "send_failed"
	whyTooLarge    = "too_large" // for a datagram
	whyDeadline    = "deadline"
	whyNoRoom      = "no room for a transaction"
)

// ended is how an attempt ended.
type ended struct {
	why   string
	code  int           // 0: without a final response
	retry time.Duration // the response's Retry-After
}

// mostRetry bounds what of a server's Retry-After our own answer repeats: it says when to come back to the proxy, which has others.
const mostRetry = 30 * time.Second

// finish notes the end of the last attempt, tells the balancer, and gives the lease back.
func (p *Proxy) finish(c *call, e ended, took transaction.Time) {
	a := &c.attempts[len(c.attempts)-1]
	a.Outcome, a.Took = e.why, time.Duration(took)*time.Millisecond
	c.steps.ended()
	o := Outcome{Kind: Failed, Reason: e.why, RetryAfter: e.retry}
	switch {
	case refusal(e.code):
		o.Kind = Refused
		c.retry = max(c.retry, min(e.retry, mostRetry))
	case e.code >= 500 && e.code < 600:
		o.Kind = Errored
	case e.code != 0:
		o.Kind = Answered
	}
	// A cancelled INVITE's silence proves nothing, nor does a message that cannot be sent for its size.
	if (!c.cancelled || e.code != 0) && e.why != whyTooLarge {
		p.bal.Report(a.Backend, o)
	}
	c.lease.Release()
	c.lease = nil
	p.earlyOver(c)
}

// refusal reports whether a code says full, or not willing: the server lives, another may take the call.
func refusal(code int) bool { return code == 406 || code == 480 || code == 486 || code == 503 }

// retryable reports whether another server may do better than this code.
func retryable(code int) bool { return refusal(code) || code == 408 || code >= 500 && code < 600 }
