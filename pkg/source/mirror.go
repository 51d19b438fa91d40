package source

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/go-git/go-billy/v5/osfs"
	"github.com/go-git/go-git/v5/plumbing"
	"github.com/go-git/go-git/v5/plumbing/cache"
	"github.com/go-git/go-git/v5/storage/filesystem"
)

const (
	tempPrefix  = "incoming-"
	marksDir    = "complete"
	damagedMark = "damaged"
	maxMarks    = 256 // commits in a generation without histories; then a new one is begun
	maxHaves    = 32  // commits of such a generation that a server is told of
	objectCache = 8 * cache.MiByte
	// largeObject is the size, in bytes, from which on an object is not held in
	// memory before somebody wants it.
	largeObject = 1 << 20
)

// mirror is the directory of one repository and credential. Below it, each
// generation is a bare repository in a directory that is named by its number.
type mirror struct {
	dir string
	// busy is held, by a token in it, by whoever changes the mirror.
	busy chan struct{}

	mu      sync.Mutex
	current generation
	swept   bool
	used    time.Time // zero if not by this process
}

func newMirror(dir string) *mirror {
	return &mirror{dir: dir, busy: make(chan struct{}, 1)}
}

func (m *mirror) tryLock() bool {
	select {
	case m.busy <- struct{}{}:
		return true
	default:
		return false
	}
}

func (m *mirror) lock(ctx context.Context) error {
	select {
	case m.busy <- struct{}{}:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

func (m *mirror) unlock() { <-m.busy }

func (m *mirror) use(now time.Time) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.used = now
}

func (m *mirror) lastUse() time.Time {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.used
}

// history reports whether the mirror holds histories; see historySuffix.
func (m *mirror) history() bool { return strings.HasSuffix(m.dir, historySuffix) }

// forget is called after the directory was removed.
func (m *mirror) forget() {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.current, m.swept = generation{}, false
}

// latest returns the generation that may be read, if there is one.
func (m *mirror) latest() (generation, bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.current.dir == "" {
		if numbers := m.numbers(); len(numbers) > 0 {
			m.current = m.generation(numbers[len(numbers)-1])
		}
	}
	return m.current, m.current.dir != "" && !m.current.damaged()
}

// writable returns a generation that can take more commits; it begins a new
// one if there is none, or if the last is damaged or has grown too much. The
// caller holds the lock.
func (m *mirror) writable(limits Limits) (generation, error) {
	current, usable := m.latest()
	if usable {
		if err := m.sweep(current); err != nil {
			return generation{}, err
		}
		marks := current.marks()
		if (m.history() || len(marks) < maxMarks) && sum(marks) < 2*limits.MaxBytes {
			return current, nil
		}
	}
	return m.renew()
}

// renew begins a new generation. The one before stays, for those who read it;
// older ones go.
func (m *mirror) renew() (generation, error) {
	next := 1
	numbers := m.numbers()
	if len(numbers) > 0 {
		next = numbers[len(numbers)-1] + 1
		for _, old := range numbers[:len(numbers)-1] {
			if err := os.RemoveAll(m.generation(old).dir); err != nil {
				return generation{}, fmt.Errorf("removing an old mirror: %w", err)
			}
		}
	}
	g := m.generation(next)
	if err := g.init(); err != nil {
		return generation{}, err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.current, m.swept = g, true
	return g, nil
}

// sweep removes what a killed process left over, once per process.
func (m *mirror) sweep(g generation) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.swept {
		return nil
	}
	for _, pattern := range []string{tempPrefix + "*", "objects/pack/" + tempPrefix + "*", "objects/pack/tmp_*"} {
		names, err := filepath.Glob(filepath.Join(g.dir, pattern))
		if err != nil {
			return fmt.Errorf("cleaning the mirror: %w", err)
		}
		for _, name := range names {
			if err := os.Remove(name); err != nil && !errors.Is(err, fs.ErrNotExist) {
				return fmt.Errorf("cleaning the mirror: %w", err)
			}
		}
	}
	m.swept = true
	return nil
}

// numbers lists the generations on disk, ascending.
func (m *mirror) numbers() []int {
	entries, _ := os.ReadDir(m.dir)
	var numbers []int
	for _, entry := range entries {
		if n, err := strconv.Atoi(entry.Name()); err == nil && n > 0 && entry.IsDir() {
			numbers = append(numbers, n)
		}
	}
	slices.Sort(numbers)
	return numbers
}

func (m *mirror) generation(n int) generation {
	return generation{dir: filepath.Join(m.dir, strconv.Itoa(n))}
}

// generation is one bare repository.
type generation struct{ dir string }

// init makes an empty bare repository, so that git's own tools can look at it.
func (g generation) init() error {
	for _, dir := range []string{"objects/pack", "objects/info", "refs/heads", marksDir} {
		if err := os.MkdirAll(filepath.Join(g.dir, dir), 0o700); err != nil {
			return fmt.Errorf("creating a mirror: %w", err)
		}
	}
	config := "[core]\n\trepositoryformatversion = 0\n\tbare = true\n"
	err := os.WriteFile(filepath.Join(g.dir, "config"), []byte(config), 0o600)
	if err == nil {
		err = os.WriteFile(filepath.Join(g.dir, "HEAD"), []byte("ref: refs/heads/"+defaultBranch+"\n"), 0o600)
	}
	if err != nil {
		return fmt.Errorf("creating a mirror: %w", err)
	}
	return nil
}

// mark is the record that a commit is there with all its objects.
type mark struct {
	commit plumbing.Hash
	bytes  int64
	time   int64 // of the file, in nanoseconds
}

func sum(marks []mark) (total int64) {
	for _, m := range marks {
		total += m.bytes
	}
	return total
}

// has reports whether a commit is complete.
func (g generation) has(commit plumbing.Hash) bool {
	_, err := os.Stat(filepath.Join(g.dir, marksDir, commit.String()))
	return err == nil
}

// complete marks a commit that has just been stored. bytes is what it took.
func (g generation) complete(commit plumbing.Hash, bytes int64) error {
	name := filepath.Join(g.dir, marksDir, commit.String())
	if err := os.WriteFile(name, []byte(strconv.FormatInt(bytes, 10)), 0o600); err != nil {
		return fmt.Errorf("marking the commit: %w", err)
	}
	return nil
}

// marks lists the complete commits, the latest first.
func (g generation) marks() []mark {
	entries, _ := os.ReadDir(filepath.Join(g.dir, marksDir))
	marks := make([]mark, 0, len(entries))
	for _, entry := range entries {
		info, err := entry.Info()
		if err != nil || !fullHash.MatchString(entry.Name()) {
			continue
		}
		content, _ := os.ReadFile(filepath.Join(g.dir, marksDir, entry.Name()))
		bytes, _ := strconv.ParseInt(strings.TrimSpace(string(content)), 10, 64)
		marks = append(marks, mark{commit: plumbing.NewHash(entry.Name()), bytes: bytes, time: info.ModTime().UnixNano()})
	}
	slices.SortFunc(marks, func(a, b mark) int { return cmp.Compare(b.time, a.time) })
	return marks
}

// haves lists the commits to tell a server of, the latest first.
func (g generation) haves(limit int) []plumbing.Hash {
	marks := g.marks()
	haves := make([]plumbing.Hash, 0, min(limit, len(marks)))
	for _, m := range marks[:min(limit, len(marks))] {
		haves = append(haves, m.commit)
	}
	return haves
}

func (g generation) damaged() bool {
	_, err := os.Stat(filepath.Join(g.dir, damagedMark))
	return err == nil
}

// condemn makes the next fetch begin a new generation.
func (g generation) condemn() {
	// If even this fails, reading goes on failing loudly, which is all the mark is for.
	_ = os.WriteFile(filepath.Join(g.dir, damagedMark), nil, 0o600)
}

// storage opens the object store.
func (g generation) storage() *filesystem.Storage {
	return filesystem.NewStorageWithOptions(&packFS{Filesystem: osfs.New(g.dir)}, cache.NewObjectLRU(objectCache),
		filesystem.Options{LargeObjectThreshold: largeObject})
}
