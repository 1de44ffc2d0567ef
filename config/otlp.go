package config

import "net/url"

// OTLP is the OpenTelemetry collector that is told of INVITEs; empty Endpoint: none.
type OTLP struct {
	Endpoint string  // URL, its path included
	Sample   float64 // the part of the INVITEs, 0 to 1
}

func (b *builder) otlp(c *Config, raw *rawOTLP) {
	if raw == nil {
		return
	}
	if raw.Endpoint != nil && *raw.Endpoint != "" && *raw.Endpoint != "off" {
		u, err := url.Parse(*raw.Endpoint)
		switch {
		case err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Hostname() == "" || u.User != nil || u.RawQuery != "" || u.Fragment != "":
			b.fail("otlp.endpoint", "must be a URL such as http://10.0.0.9:4318, or off")
		default:
			if u.Path == "" || u.Path == "/" {
				u.Path = "/v1/traces" // where the OTLP specification has it
			}
			c.OTLP.Endpoint = u.String()
		}
	}
	b.part("otlp.sample", &c.OTLP.Sample, raw.Sample)
}
