package charts

import (
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"
)

const (
	dataSuffix = ".tgz"
	noteSuffix = ".json"
	tempPrefix = "incoming-"
)

// cache keeps archives on disk. It may lose any of them at any time: what it
// returns is what was put in, or nothing.
type cache struct {
	dir string
	max int64 // bytes

	mu sync.Mutex
}

// note says what an archive must be.
type note struct {
	Digest   string `json:"digest"`
	ETag     string `json:"etag,omitempty"`
	Modified string `json:"modified,omitempty"`
}

func newCache(dir string, limit int64) (*cache, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("creating the directory of charts: %w", err)
	}
	leftovers, err := filepath.Glob(filepath.Join(dir, tempPrefix+"*"))
	if err != nil {
		return nil, fmt.Errorf("cleaning the directory of charts: %w", err)
	}
	for _, name := range leftovers {
		if err := os.Remove(name); err != nil {
			return nil, fmt.Errorf("cleaning the directory of charts: %w", err)
		}
	}
	return &cache{dir: dir, max: limit}, nil
}

func hexDigest(data []byte) string {
	sum := sha256.Sum256(data)
	return hex.EncodeToString(sum[:])
}

func (c *cache) path(key, suffix string) string {
	return filepath.Join(c.dir, hexDigest([]byte(key))+suffix)
}

// get returns an archive if it is there and whole.
func (c *cache) get(key string) (archive, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	text, err := os.ReadFile(c.path(key, noteSuffix))
	if err != nil {
		return archive{}, false
	}
	var n note
	if json.Unmarshal(text, &n) != nil {
		return archive{}, false
	}
	data, err := os.ReadFile(c.path(key, dataSuffix))
	if err != nil || hexDigest(data) != n.Digest {
		return archive{}, false
	}
	// What is used stays.
	now := time.Now()
	_ = os.Chtimes(c.path(key, dataSuffix), now, now)
	return archive{data: data, etag: n.ETag, modified: n.Modified}, true
}

// put keeps an archive if it can; without, it is only fetched again.
func (c *cache) put(key string, a archive) {
	c.mu.Lock()
	defer c.mu.Unlock()
	text, err := json.Marshal(note{Digest: hexDigest(a.data), ETag: a.etag, Modified: a.modified})
	if err == nil {
		err = errors.Join(c.write(c.path(key, dataSuffix), a.data), c.write(c.path(key, noteSuffix), text))
	}
	if err != nil {
		_ = os.Remove(c.path(key, noteSuffix))
	}
	c.shrink()
}

func (c *cache) write(name string, data []byte) error {
	file, err := os.CreateTemp(c.dir, tempPrefix+"*")
	if err != nil {
		return fmt.Errorf("caching a chart: %w", err)
	}
	_, err = file.Write(data)
	if err = errors.Join(err, file.Close()); err == nil {
		err = os.Rename(file.Name(), name)
	}
	if err != nil {
		_ = os.Remove(file.Name())
		return fmt.Errorf("caching a chart: %w", err)
	}
	return nil
}

// shrink removes what has not been used for longest, until the rest fits.
func (c *cache) shrink() {
	entries, _ := os.ReadDir(c.dir)
	var infos []os.FileInfo
	var total int64
	for _, entry := range entries {
		if info, err := entry.Info(); err == nil && strings.HasSuffix(entry.Name(), dataSuffix) {
			infos = append(infos, info)
			total += info.Size()
		}
	}
	slices.SortFunc(infos, func(a, b os.FileInfo) int { return cmp.Compare(a.ModTime().UnixNano(), b.ModTime().UnixNano()) })
	for _, info := range infos {
		if total <= c.max {
			return
		}
		name := strings.TrimSuffix(info.Name(), dataSuffix)
		_ = os.Remove(filepath.Join(c.dir, name+noteSuffix))
		if os.Remove(filepath.Join(c.dir, info.Name())) == nil {
			total -= info.Size()
		}
	}
}
