package admin

import (
	"bytes"
	"crypto/sha256"
	"crypto/tls"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"sync"

	"github.com/prometheus/exporter-toolkit/web"
	"go.yaml.in/yaml/v3"
	"golang.org/x/crypto/bcrypt"
)

// webConfig is a web configuration file as all Prometheus servers have it: TLS, users with bcrypt passwords, and headers.
// The server of the exporter-toolkit is not used, because it lets nobody ask for health without a password. The file, and
// those that it names, may change while it is in use; one that is broken then leaves what was.
type webConfig struct {
	path string

	mu      sync.Mutex
	text    []byte
	config  *web.Config
	allowed map[[sha256.Size]byte]bool // logins that were right: bcrypt is slow by intention

	comparing sync.Mutex // one comparison at a time, so that guessing cannot take the machine; taken before mu
}

// loadWebConfig reads and checks a file.
func loadWebConfig(path string) (*webConfig, error) {
	if err := web.Validate(path); err != nil {
		return nil, fmt.Errorf("admin.web_config: %s: %w", path, err)
	}
	c := &webConfig{path: path}
	if c.now() == nil {
		return nil, fmt.Errorf("admin.web_config: %s cannot be read", path)
	}
	return c, nil
}

// CheckWebConfig reports why a file cannot be Options.WebConfig; the error names the key of ours.
func CheckWebConfig(path string) error {
	c, err := loadWebConfig(path)
	if err != nil {
		return err
	}
	if _, err := c.tls(); err != nil {
		return fmt.Errorf("admin.web_config: %s: %w", path, err)
	}
	return nil
}

// now is the configuration as the file has it, or as it last had it when it cannot be used.
func (c *webConfig) now() *web.Config {
	c.mu.Lock()
	defer c.mu.Unlock()
	text, err := os.ReadFile(c.path)
	if err != nil || bytes.Equal(text, c.text) && c.config != nil || c.config != nil && web.Validate(c.path) != nil {
		return c.config
	}
	next := &web.Config{TLSConfig: web.TLSConfig{MinVersion: tls.VersionTLS12, MaxVersion: tls.VersionTLS13}}
	if yaml.Unmarshal(text, next) != nil {
		return c.config
	}
	next.TLSConfig.SetDirectory(filepath.Dir(c.path))
	c.text, c.config, c.allowed = text, next, map[[sha256.Size]byte]bool{}
	return next
}

// tls is how connections are taken; nil: without TLS.
func (c *webConfig) tls() (*tls.Config, error) {
	if c == nil || !c.now().TLSConfig.IsEnabled() {
		return nil, nil
	}
	t, err := web.ConfigToTLSConfig(&c.now().TLSConfig)
	if err != nil {
		return nil, err
	}
	t.NextProtos = []string{"h2", "http/1.1"}
	t.GetConfigForClient = func(*tls.ClientHelloInfo) (*tls.Config, error) {
		fresh, err := web.ConfigToTLSConfig(&c.now().TLSConfig)
		if err == nil {
			fresh.NextProtos = t.NextProtos
		}
		return fresh, err
	}
	return t, nil
}

// users reports whether there are any.
func (c *webConfig) users() bool { return c != nil && len(c.now().Users) > 0 }

// login reports whether that is a user's password.
func (c *webConfig) login(name, password string) bool {
	if c == nil {
		return false
	}
	users := c.now().Users
	hash, known := users[name]
	if !known {
		for _, hash = range users { // a name that is not known takes as long as one that is
			break
		}
	}
	key := sha256.Sum256([]byte(name + "\x00" + string(hash) + "\x00" + password))
	if known && c.remembers(key) {
		return true
	}
	c.comparing.Lock()
	defer c.comparing.Unlock()
	if bcrypt.CompareHashAndPassword([]byte(hash), []byte(password)) != nil || !known {
		return false
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.allowed[key] = true
	return true
}

func (c *webConfig) remembers(key [sha256.Size]byte) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.allowed[key]
}

// headers adds what the file wants of every answer.
func (c *webConfig) headers(next http.Handler) http.Handler {
	if c == nil {
		return next
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		for k, v := range c.now().HTTPConfig.Header {
			w.Header().Set(k, v)
		}
		next.ServeHTTP(w, r)
	})
}
