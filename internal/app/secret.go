package app

import (
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"go.uber.org/zap"

	"mrcproxy/config"
)

// secretsOf are the secrets that sign Record-Route. Without one in the configuration, one is made and kept in the data
// directory, so that sessions outlive a restart; where that cannot be written, it lasts as long as the process.
func secretsOf(c *config.Config, log *zap.Logger) ([][]byte, error) {
	if len(c.Secret) > 0 {
		l := make([][]byte, len(c.Secret))
		for i, s := range c.Secret {
			l[i] = []byte(s)
		}
		return l, nil
	}
	path := filepath.Join(c.DataDir, "secret")
	text, err := os.ReadFile(path)
	switch {
	case err == nil && len(strings.TrimSpace(string(text))) >= 32:
		return [][]byte{[]byte(strings.TrimSpace(string(text)))}, nil
	case err == nil:
		return nil, fmt.Errorf("secret in %s is shorter than 32 characters: remove the file to have a new one made", path)
	case !errors.Is(err, fs.ErrNotExist):
		return nil, fmt.Errorf("read secret: %w", err)
	}
	raw := make([]byte, 32)
	_, _ = rand.Read(raw) // never fails
	made := hex.EncodeToString(raw)
	if err := keepSecret(path, made); err != nil {
		log.Warn("the secret that signs Record-Route cannot be kept: sessions will not outlive a restart; set secret or data_dir", zap.Error(err))
	}
	return [][]byte{[]byte(made)}, nil
}

// keepSecret writes the file whole or not at all.
func keepSecret(path, text string) error {
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return err
	}
	tmp := path + ".new"
	if err := os.WriteFile(tmp, []byte(text+"\n"), 0o600); err != nil {
		return err
	}
	return os.Rename(tmp, path)
}
