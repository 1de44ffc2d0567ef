package config

import "time"

// The raw structs are the file's keys. A nil field was not given. Every key of the file, its type and its place come
// from here: the checks, the environment overrides and the tests of the documentation walk these types.

// oneOrMany is written as one string or as a list of them.
type oneOrMany []string

// codeList is written as one status code or range, or as a list of them; bare numbers are allowed.
type codeList []codeText

type codeText string

// partText is a number, or a part of a whole such as 30%.
type partText string

// rawRate is a number of requests in a unit of time, such as 200/s.
type rawRate string

// rawCapacity is written as one number, which is its total, or as numbers for MRCP resources and the total.
type rawCapacity map[string]int

// total is the key of a capacity that is for all sessions.
const total = "total"

type rawConfig struct {
	IDC       *string       `mapstructure:"idc"`
	Listen    []string      `mapstructure:"listen"`
	Advertise *string       `mapstructure:"advertise"`
	Secret    oneOrMany     `mapstructure:"secret"`
	DataDir   *string       `mapstructure:"data_dir"`
	TLS       *rawTLS       `mapstructure:"tls"`
	Admin     *rawAdmin     `mapstructure:"admin"`
	Log       *rawLog       `mapstructure:"log"`
	Clients   *rawClients   `mapstructure:"clients"`
	Failover  *rawFailover  `mapstructure:"failover"`
	Health    *rawHealth    `mapstructure:"health"`
	Sessions  *rawSessions  `mapstructure:"sessions"`
	Drain     *rawDrain     `mapstructure:"drain"`
	Handover  *rawHandover  `mapstructure:"handover"`
	CDR       *rawCDR       `mapstructure:"cdr"`
	HEP       *rawHEP       `mapstructure:"hep"`
	OTLP      *rawOTLP      `mapstructure:"otlp"`
	Routes    []rawRoute    `mapstructure:"routes"`
	Otherwise *rawOtherwise `mapstructure:"otherwise"`
	Clusters  []rawCluster  `mapstructure:"clusters"`

	Store       *string `mapstructure:"store"`
	OnStoreLoss *string `mapstructure:"on_store_loss"`
	Instances   *int    `mapstructure:"instances"`
}

type rawAdmin struct {
	Listen       *string   `mapstructure:"listen"`
	Token        *string   `mapstructure:"token"`
	WebConfig    *string   `mapstructure:"web_config"`
	ProbeTargets oneOrMany `mapstructure:"probe_targets"`
	Pprof        *bool     `mapstructure:"pprof"`
}

type rawTLS struct {
	Cert       *string `mapstructure:"cert"`
	Key        *string `mapstructure:"key"`
	ClientAuth *string `mapstructure:"client_auth"`
	ClientCA   *string `mapstructure:"client_ca"`
	ServerCA   *string `mapstructure:"server_ca"`
}

type rawLog struct {
	Level  *string `mapstructure:"level"`
	Format *string `mapstructure:"format"`
}

type rawClients struct {
	Allow     []string `mapstructure:"allow"`
	Rate      *rawRate `mapstructure:"rate"`
	TotalRate *rawRate `mapstructure:"total_rate"`
	MaxConns  *int     `mapstructure:"max_connections"`
}

type rawFailover struct {
	FirstResponseTimeout *time.Duration `mapstructure:"first_response_timeout"`
	AnswerTimeout        *time.Duration `mapstructure:"answer_timeout"`
	Deadline             *time.Duration `mapstructure:"deadline"`
	MaxAttempts          *int           `mapstructure:"max_attempts"`
	ConnectTimeout       *time.Duration `mapstructure:"connect_timeout"`
	T1                   *time.Duration `mapstructure:"t1"`
	TryingAfter          *time.Duration `mapstructure:"trying_after"`
	TCPAbove             *int           `mapstructure:"tcp_above"`
	Reject               *int           `mapstructure:"reject"`
	RetryAfter           *time.Duration `mapstructure:"retry_after"`
}

type rawHealth struct {
	Interval     *time.Duration `mapstructure:"interval"`
	Fast         *time.Duration `mapstructure:"fast_interval"`
	Slow         *time.Duration `mapstructure:"slow_interval"`
	Timeout      *time.Duration `mapstructure:"timeout"`
	Jitter       *float64       `mapstructure:"jitter"`
	Rise         *int           `mapstructure:"rise"`
	Fall         *int           `mapstructure:"fall"`
	UpCodes      codeList       `mapstructure:"up_codes"`
	EjectAfter   *int           `mapstructure:"eject_after"`
	EjectFor     *time.Duration `mapstructure:"eject_for"`
	EjectMax     *time.Duration `mapstructure:"eject_max"`
	HoldFor      *time.Duration `mapstructure:"hold_for"`
	HoldMax      *time.Duration `mapstructure:"hold_max"`
	SuspectAfter *int           `mapstructure:"suspect_after"`
	ErrorRate    *float64       `mapstructure:"error_rate"`
	ErrorWindow  *time.Duration `mapstructure:"error_window"`
	ErrorVolume  *int           `mapstructure:"error_volume"`
	MaxEjected   *float64       `mapstructure:"max_ejected"`
	Deep         *rawDeep       `mapstructure:"deep"`
}

type rawDeep struct {
	Method     *string        `mapstructure:"method"`
	Action     *string        `mapstructure:"action"`
	Interval   *time.Duration `mapstructure:"interval"`
	Timeout    *time.Duration `mapstructure:"timeout"`
	Rise       *int           `mapstructure:"rise"`
	Fall       *int           `mapstructure:"fall"`
	Resource   *string        `mapstructure:"resource"`
	Language   *string        `mapstructure:"language"`
	Audio      *string        `mapstructure:"audio"`
	Grammar    *string        `mapstructure:"grammar"`
	Expect     *string        `mapstructure:"expect"`
	Confidence *float64       `mapstructure:"confidence"`
	Text       *string        `mapstructure:"text"`
}

type rawSessions struct {
	Max        *time.Duration `mapstructure:"max"`
	ByeTimeout *time.Duration `mapstructure:"bye_timeout"`
	ByeAnswer  *int           `mapstructure:"bye_answer"`
	OnDown     *string        `mapstructure:"on_backend_down"`
	Journal    *bool          `mapstructure:"journal"`
}

type rawDrain struct {
	AcceptFor *time.Duration `mapstructure:"accept_for"`
	Timeout   *time.Duration `mapstructure:"timeout"`
}

type rawHandover struct {
	Socket *string `mapstructure:"socket"`
}

type rawCDR struct {
	File    *string   `mapstructure:"file"`
	Headers oneOrMany `mapstructure:"headers"`
}

type rawHEP struct {
	Server   *string `mapstructure:"server"`
	ID       *int    `mapstructure:"id"`
	Password *string `mapstructure:"password"`
}

type rawOTLP struct {
	Endpoint *string  `mapstructure:"endpoint"`
	Sample   *float64 `mapstructure:"sample"`
}

type rawRoute struct {
	Name    *string   `mapstructure:"name"`
	Match   *rawMatch `mapstructure:"match"`
	Cluster *string   `mapstructure:"cluster"`
	Reserve *int      `mapstructure:"reserve"`
}

type rawMatch struct {
	UserAgent *string           `mapstructure:"user_agent"`
	MRCP      *bool             `mapstructure:"mrcp"`
	Resource  *string           `mapstructure:"resource"`
	Source    oneOrMany         `mapstructure:"source"`
	User      *string           `mapstructure:"user"`
	Header    map[string]string `mapstructure:"header"`
}

type rawOtherwise struct {
	Reject  *int    `mapstructure:"reject"`
	Cluster *string `mapstructure:"cluster"`
}

type rawCluster struct {
	Name          *string        `mapstructure:"name"`
	Policy        *string        `mapstructure:"policy"`
	HashOn        *string        `mapstructure:"hash_on"`
	Fallback      []string       `mapstructure:"fallback"`
	Licences      *int           `mapstructure:"licences"`
	Queue         *time.Duration `mapstructure:"queue"`
	QueueLength   *int           `mapstructure:"queue_length"`
	SlowStart     *rawSlowStart  `mapstructure:"slow_start"`
	Panic         *bool          `mapstructure:"panic"`
	FailbackAfter *time.Duration `mapstructure:"failback_after"`
	FailbackRamp  *time.Duration `mapstructure:"failback_ramp"`
	Spill         *partText      `mapstructure:"spill"`
	Health        *rawHealth     `mapstructure:"health"`
	Groups        []rawGroup     `mapstructure:"groups"`
}

type rawSlowStart struct {
	Window *time.Duration `mapstructure:"window"`
}

type rawGroup struct {
	IDC      *string      `mapstructure:"idc"`
	Priority *int         `mapstructure:"priority"`
	Backends []rawBackend `mapstructure:"backends"`
}

type rawBackend struct {
	URI      *string     `mapstructure:"uri"`
	Capacity rawCapacity `mapstructure:"capacity"`
	MaxCPS   *int        `mapstructure:"max_cps"`
	Weight   *int        `mapstructure:"weight"`
}
