package cdr

import (
	"time"

	"mrcproxy/internal/session"
)

// Record is one line of the file; docs/cdr.md says what each field means.
type Record struct {
	Start      time.Time         `json:"start"`
	Answer     time.Time         `json:"answer,omitzero"`
	End        time.Time         `json:"end"`
	CallID     string            `json:"call_id"`
	Headers    map[string]string `json:"headers,omitempty"`
	Client     string            `json:"client,omitempty"`
	Route      string            `json:"route,omitempty"`
	Wanted     string            `json:"wanted,omitempty"`
	Cluster    string            `json:"cluster,omitempty"`
	IDC        string            `json:"idc,omitempty"`
	Backend    string            `json:"backend,omitempty"`
	Attempts   []Attempt         `json:"attempts"`
	Resource   string            `json:"resource,omitempty"`
	Channels   []string          `json:"channels,omitempty"`
	Code       int               `json:"code"`
	SetupMS    float64           `json:"setup_ms"`
	QueuedMS   float64           `json:"queued_ms,omitempty"`
	DurationMS int64             `json:"duration_ms"`
	EndedBy    string            `json:"ended_by"`
	Reason     string            `json:"reason"`
	Learned    bool              `json:"learned,omitempty"`
}

// Attempt is one server that the INVITE was sent to.
type Attempt struct {
	Backend string  `json:"backend"`
	IDC     string  `json:"idc,omitempty"`
	Code    int     `json:"code,omitempty"`
	Outcome string  `json:"outcome"`
	MS      float64 `json:"ms"`
}

// Who ends a call, as EndedBy has it.
const (
	ByClient   = "client"
	ByServer   = "server"
	ByProxy    = "proxy"
	ByOperator = "operator"
	ByInstance = "instance" // another one
	Unknown    = "unknown"
)

// EndedBy is who ends a session for that reason.
func EndedBy(r session.Reason) string {
	switch r {
	case session.ByeClient:
		return ByClient
	case session.ByeServer:
		return ByServer
	case session.Operator:
		return ByOperator
	case session.Elsewhere:
		return ByInstance
	case session.ByeUnanswered, session.ByeUnknown:
		return Unknown
	case session.Gone, session.Expired, session.TooLong, session.NoAck, session.BackendDown:
		return ByProxy
	}
	return Unknown
}
