package main

import (
	"bytes"
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// lines passes what is written on to whoever waits for it.
type lines chan string

func (l lines) Write(data []byte) (int, error) {
	l <- string(data)
	return len(data), nil
}

func TestFollowedLogShowsWhatIsAdded(t *testing.T) {
	path := filepath.Join(t.TempDir(), "x.log")
	if err := os.WriteFile(path, []byte("old\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	log, err := os.OpenFile(path, os.O_APPEND|os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer log.Close()
	ctx, cancel := context.WithCancel(t.Context())
	out, ended := make(lines), make(chan error, 1)
	go func() { ended <- followFile(ctx, out, path) }()
	// Written again and again, as nobody knows when it has begun to look.
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for shown := false; !shown; {
		select {
		case text := <-out:
			if shown = true; strings.Contains(text, "old") || !strings.Contains(text, "new") {
				t.Errorf("it showed %q", text)
			}
		case <-tick.C:
			if _, err := log.WriteString("new\n"); err != nil {
				t.Fatal(err)
			}
		}
	}
	cancel()
	for {
		select {
		case <-out:
			continue
		case err := <-ended:
			if err != nil {
				t.Error(err)
			}
			return
		}
	}
}

func TestCommandsSayWhatIsWrong(t *testing.T) {
	for _, test := range []struct{ args, want string }{
		{"stop", "requires at least 1 arg"},
		{"status", "run `up` first"},
		{"logs manager", "run `up` first"},
		{"kill agent/downstream-1", "run `up` first"},
	} {
		t.Run(test.args, func(t *testing.T) {
			cmd := command()
			var out bytes.Buffer
			cmd.SetOut(&out)
			cmd.SetErr(&out)
			cmd.SetArgs(append([]string{"--dir", filepath.Join(t.TempDir(), ".dev")}, strings.Fields(test.args)...))
			if err := cmd.ExecuteContext(t.Context()); err == nil || !strings.Contains(err.Error(), test.want) {
				t.Errorf("got %v, want %q", err, test.want)
			}
		})
	}
}
