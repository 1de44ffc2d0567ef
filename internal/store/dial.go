package store

import (
	"crypto/tls"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/redis/go-redis/v9/logging"
	"github.com/redis/go-redis/v9/maintnotifications"
)

// Server says where Redis is, and how to be let in.
type Server struct {
	// Addrs are the server, host:port, or with Master the Sentinels that know where it is.
	Addrs  []string
	Master string // the name that Sentinel has for it; "" without Sentinel
	// User and Password are of Redis, the others of the Sentinels; "" for none.
	User, Password                 string
	SentinelUser, SentinelPassword string
	DB                             int
	TLS                            *tls.Config // nil: none; to the Sentinels, too
	Prefix                         string      // of every key
}

// Dial gives the link to a server. It connects when it is used, and again whenever that is needed.
func Dial(s Server) Redis {
	o := &redis.UniversalOptions{
		Addrs: s.Addrs, MasterName: s.Master, DB: s.DB, Username: s.User, Password: s.Password,
		SentinelUsername: s.SentinelUser, SentinelPassword: s.SentinelPassword, TLSConfig: s.TLS, ClientName: "mrcproxy",
		// One goroutine uses it, and has its own way to deal with failure.
		PoolSize: 1, MaxRetries: -1, DialerRetries: 1, DialTimeout: warmUp, ReadTimeout: warmUp, WriteTimeout: warmUp,
		ContextTimeoutEnabled: true, ConnMaxIdleTime: -1, PoolTimeout: time.Second,
		DisableIdentity: true, MaintNotificationsConfig: &maintnotifications.Config{Mode: maintnotifications.ModeDisabled},
	}
	if s.Master != "" {
		return Redis{Link: &client{redis.NewFailoverClient(o.Failover())}, Prefix: s.Prefix}
	}
	return Redis{Link: &client{redis.NewClient(o.Simple())}, Prefix: s.Prefix}
}

// Quiet keeps go-redis from printing to standard error what it also returns. It is for the whole process, before the first
// Dial.
func Quiet() { logging.Disable() }
