package source

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// Whatever happens to the files of a mirror: a fetch gives the right content,
// at once or after one failed attempt, and never the wrong content.
func TestDamagedMirrorHeals(t *testing.T) {
	s := newServer(t)
	r := s.repository(t, "demo")
	tree := map[string]string{}
	for i := range 20 {
		tree[fmt.Sprintf("d%d/f%d", i%4, i)] = noise(uint64(i), 3000)
	}
	first := r.commit(tree)
	git(t, r.work, "push", "--quiet", "origin", "HEAD:refs/tags/first")
	second := r.commit(map[string]string{"d1/f1": noise(99, 3000), "new": "1"})

	truncate := func(path string, _ fs.FileInfo) error { return os.Truncate(path, 0) }
	halve := func(path string, info fs.FileInfo) error { return os.Truncate(path, info.Size()/2) }
	flip := func(path string, _ fs.FileInfo) error {
		content, err := os.ReadFile(path)
		if err != nil || len(content) == 0 {
			return err
		}
		for i := len(content) / 3; i < len(content); i += 97 {
			content[i] ^= 0x40
		}
		_ = os.Chmod(path, 0o600)
		return os.WriteFile(path, content, 0o600)
	}
	remove := func(path string, _ fs.FileInfo) error { return os.Remove(path) }

	for _, tc := range []struct {
		name   string
		glob   string
		damage func(string, fs.FileInfo) error
	}{
		{"the pack is empty", "objects/pack/*.pack", truncate},
		{"the pack is cut off", "objects/pack/*.pack", halve},
		{"the pack has wrong bits", "objects/pack/*.pack", flip},
		{"the pack is gone", "objects/pack/*.pack", remove},
		{"the index is empty", "objects/pack/*.idx", truncate},
		{"the index has wrong bits", "objects/pack/*.idx", flip},
		{"the index is gone", "objects/pack/*.idx", remove},
		{"loose objects are empty", "objects/??/*", truncate},
		{"loose objects are cut off", "objects/??/*", halve},
		{"loose objects have wrong bits", "objects/??/*", flip},
		{"loose objects are gone", "objects/??/*", remove},
		{"marks are gone", "complete/*", remove},
	} {
		t.Run(tc.name, func(t *testing.T) {
			m := newTestMirrors(t, Limits{})
			fetch(t, m, Request{URL: r.url, Revision: "first"}, first)
			fetch(t, m, Request{URL: r.url}, second)
			damaged := 0
			names, _ := filepath.Glob(filepath.Join(m.dir, "*", "1", tc.glob))
			for _, name := range names {
				info, err := os.Stat(name)
				if err == nil {
					_ = os.Chmod(name, 0o600)
					err = tc.damage(name, info)
				}
				if err != nil {
					t.Fatal(err)
				}
				damaged++
			}
			if damaged == 0 {
				t.Fatalf("nothing to damage at %s", tc.glob)
			}
			if err := healed(t, m, r, second); err != nil {
				if err = healed(t, m, r, second); err != nil {
					t.Errorf("the second attempt fails, too: %v", err)
				}
			}
		})
	}
}

// healed fetches and reads everything. It returns an error, but fails the test
// if what it reads is wrong.
func healed(t *testing.T, m *Mirrors, r *repository, commit string) error {
	t.Helper()
	snapshot, err := m.Fetch(context.Background(), Request{URL: r.url})
	if err != nil {
		return err
	}
	err = fs.WalkDir(snapshot.Tree(), ".", func(path string, d fs.DirEntry, err error) error {
		if err == nil && d.Type().IsRegular() {
			_, err = fs.ReadFile(snapshot.Tree(), path)
		}
		if errors.Is(err, fs.ErrNotExist) {
			t.Errorf("%s: damage looks like absence: %v", path, err)
		}
		return err
	})
	if err != nil {
		var known *Error
		if !errors.As(err, &known) || known.Reason != Damaged {
			t.Errorf("reading a damaged mirror: %v, want reason Damaged", err)
		}
		return err
	}
	checkout(t, r, snapshot)
	if snapshot.Commit != commit {
		t.Errorf("commit %s, want %s", snapshot.Commit, commit)
	}
	return nil
}

// fetchLoop is what TestKilledProcess runs in a process of its own.
func fetchLoop(dir, url string) {
	m, err := NewMirrors(dir, Limits{}, quiet())
	if err != nil {
		fmt.Println("failed:", err)
		return
	}
	fmt.Println("ready")
	for {
		if _, err := m.Fetch(context.Background(), Request{URL: url}); err != nil {
			fmt.Println("failed:", err)
			return
		}
	}
}

func TestMain(m *testing.M) {
	if dir := os.Getenv("FETCH_LOOP_DIR"); dir != "" {
		fetchLoop(dir, os.Getenv("FETCH_LOOP_URL"))
		return
	}
	if url := os.Getenv("PROXIED_HEAD_URL"); url != "" {
		proxiedHead(url)
		return
	}
	os.Exit(m.Run())
}

// A process is killed again and again while commits come in. Whatever it
// leaves, the next process goes on with it.
func TestKilledProcess(t *testing.T) {
	s := newServer(t)
	r := s.repository(t, "demo")
	tree := map[string]string{}
	for i := range 150 {
		tree[fmt.Sprintf("d%d/f%d", i%9, i)] = noise(uint64(i), 1500)
	}
	r.commit(tree)
	dir := t.TempDir()
	random := rand.New(rand.NewPCG(3, 3))
	for round := range rounds(12) {
		cmd := exec.Command(os.Args[0])
		cmd.Env = append(os.Environ(), "FETCH_LOOP_DIR="+dir, "FETCH_LOOP_URL="+r.url)
		out, err := cmd.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		lines := bufio.NewScanner(out)
		if !lines.Scan() || lines.Text() != "ready" {
			t.Fatalf("the process says %q", lines.Text())
		}
		changed := map[string]string{}
		for i := range 40 {
			changed[fmt.Sprintf("d%d/f%d", i%9, i)] = noise(uint64(round*1000+i), 1500)
		}
		commit := r.commit(changed)
		// The moment of death is the point, so it is left to chance.
		<-time.After(time.Duration(random.IntN(60)) * time.Millisecond)
		_ = cmd.Process.Kill()
		for lines.Scan() {
			t.Errorf("round %d: the process says %q", round, lines.Text())
		}
		_ = cmd.Wait()

		m, err := NewMirrors(dir, Limits{}, quiet())
		if err != nil {
			t.Fatal(err)
		}
		checkout(t, r, fetch(t, m, Request{URL: r.url}, commit))
		fsck(t, m)
	}
	leftovers, _ := filepath.Glob(filepath.Join(dir, "*", "*", tempPrefix+"*"))
	if len(leftovers) > 0 {
		t.Errorf("left over: %s", strings.Join(leftovers, ", "))
	}
}
