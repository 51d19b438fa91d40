package agent

import (
	"strings"
	"testing"
	"time"
)

func TestConfigurationIsChecked(t *testing.T) {
	for _, test := range []struct {
		name string
		edit func(*Config)
		says string // empty: it is right
	}{
		{name: "nothing said", edit: func(*Config) {}},
		{name: "no concurrency", edit: func(c *Config) { c.AtOnce = -1 }, says: "concurrency is -1: it must be 1 to 256"},
		{name: "too much concurrency", edit: func(c *Config) { c.AtOnce = 257 }, says: "concurrency is 257"},
		{name: "a heart that races", edit: func(c *Config) { c.Heartbeat = time.Second }, says: "heartbeat-interval is 1s: it must be 5s to 1m0s"},
		{name: "a heart that the hub does not hear", edit: func(c *Config) { c.Heartbeat = time.Hour }, says: "or the hub takes the agent for away"},
		{name: "retries without pause", edit: func(c *Config) { c.LongestRetry = time.Millisecond }, says: "retry-max"},
		{name: "a storm of connections", edit: func(c *Config) { c.LongestReconnect = time.Millisecond }, says: "reconnect-max"},
		{name: "no time to render", edit: func(c *Config) { c.RenderTimeout = -time.Second }, says: "render-timeout"},
	} {
		c := Config{}
		test.edit(&c)
		c.complete()
		err := c.check()
		switch {
		case test.says == "" && err != nil:
			t.Errorf("%s: %v", test.name, err)
		case test.says != "" && (err == nil || !strings.Contains(err.Error(), test.says)):
			t.Errorf("%s: error is %v", test.name, err)
		}
	}
}
