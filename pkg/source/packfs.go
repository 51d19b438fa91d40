package source

import (
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"sync"

	"github.com/go-git/go-billy/v5"
)

// packFS opens every pack once. Reading an object opens its pack otherwise,
// which costs more than the reading. The files are closed when nobody can
// reach them any more.
type packFS struct {
	billy.Filesystem

	mu    sync.Mutex
	packs map[string]*os.File
}

// Open returns packs with a position of their own.
func (p *packFS) Open(name string) (billy.File, error) {
	if filepath.Ext(name) != ".pack" {
		return p.Filesystem.Open(name)
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	file, ok := p.packs[name]
	if !ok {
		var err error
		if file, err = os.Open(filepath.Join(p.Root(), name)); err != nil {
			return nil, err
		}
		if p.packs == nil {
			p.packs = map[string]*os.File{}
		}
		p.packs[name] = file
	}
	info, err := file.Stat()
	if err != nil {
		return nil, err
	}
	return &packHandle{SectionReader: io.NewSectionReader(file, 0, info.Size()), name: name}, nil
}

var errReadOnly = errors.New("a pack is only read")

// packHandle is an open pack that is shared with others.
type packHandle struct {
	*io.SectionReader
	name string
}

var _ billy.File = (*packHandle)(nil)

// Name implements billy.File.
func (h *packHandle) Name() string { return h.name }

// Close implements billy.File. The file itself stays open for the others.
func (h *packHandle) Close() error { return nil }

// Write implements billy.File.
func (h *packHandle) Write([]byte) (int, error) {
	return 0, &fs.PathError{Op: "write", Path: h.name, Err: errReadOnly}
}

// Truncate implements billy.File.
func (h *packHandle) Truncate(int64) error {
	return &fs.PathError{Op: "truncate", Path: h.name, Err: errReadOnly}
}

// Lock implements billy.File.
func (h *packHandle) Lock() error { return nil }

// Unlock implements billy.File.
func (h *packHandle) Unlock() error { return nil }
