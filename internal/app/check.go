package app

import (
	"errors"
	"fmt"

	"mrcproxy/config"
	"mrcproxy/internal/admin"
	"mrcproxy/proxy/transport"
)

// Check reports what is wrong with the files that a configuration names, beyond what loading it has shown: each fault on a
// line of its own, with the key path.
func Check(c *config.Config) error {
	_, deep := loadDeep(c)
	_, secure := storeTLS(c.Store)
	return errors.Join(deep, secure, checkCertificates(c), checkWebConfig(c))
}

func checkCertificates(c *config.Config) error {
	if _, err := transport.LoadCertificates(certificateFiles(c)); err != nil {
		return fmt.Errorf("tls: %w", err)
	}
	return nil
}

func checkWebConfig(c *config.Config) error {
	if c.Admin.WebConfig == "" {
		return nil
	}
	return admin.CheckWebConfig(c.Admin.WebConfig)
}
