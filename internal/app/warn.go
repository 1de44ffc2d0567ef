package app

import (
	"slices"

	"go.uber.org/zap"

	"mrcproxy/config"
)

// warn logs what `check` warns of in a configuration, and did not in the one before; nil: there is none.
func (a *App) warn(before, c *config.Config) {
	var known []string
	if before != nil {
		known = config.Warnings(before)
	}
	for _, w := range config.Warnings(c) {
		if !slices.Contains(known, w) {
			a.log.Warn("the configuration is hardly meant so", zap.String("warning", w))
		}
	}
}
