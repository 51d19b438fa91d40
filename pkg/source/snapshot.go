package source

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"slices"
	"strings"
	"sync"

	"github.com/go-git/go-git/v5/plumbing"
	"github.com/go-git/go-git/v5/plumbing/filemode"
	"github.com/go-git/go-git/v5/plumbing/object"
	"github.com/go-git/go-git/v5/plumbing/storer"
)

// maxTreeBytes bounds one directory, as git stores it.
const maxTreeBytes = 16 << 20

// Snapshot is the content of one commit.
type Snapshot struct {
	// Commit is the full hash, in lower case.
	Commit string

	tree *tree
}

// Tree is the commit's files. It also implements [fs.ReadDirFS], [fs.StatFS],
// [fs.ReadFileFS] and [fs.ReadLinkFS], is safe for concurrent use, and reads
// files only when they are asked for.
//
// Symbolic links are followed as long as they stay inside the tree. A
// submodule has mode [fs.ModeIrregular] until it is brought in by the method
// Enter(context, path), and is a folder from then on.
func (s *Snapshot) Tree() fs.FS { return s.tree }

func newSnapshot(g generation, commit plumbing.Hash, maxFile int64) (*Snapshot, error) {
	objects := &objectReader{store: g.storage(), condemn: g.condemn, maxFile: maxFile, dirs: map[plumbing.Hash][]node{}}
	c, err := object.GetCommit(objects.store, commit)
	if err != nil {
		return nil, fmt.Errorf("reading commit %s: %w", commit, err)
	}
	root := node{name: ".", mode: filemode.Dir, hash: c.TreeHash, in: objects}
	if _, err := objects.list(root); err != nil {
		return nil, err
	}
	return &Snapshot{Commit: commit.String(), tree: &tree{root: root}}, nil
}

// snapshot is newSnapshot for a target, whose submodules can be had, too.
func (m *Mirrors) snapshot(t target, g generation, commit plumbing.Hash) (*Snapshot, error) {
	s, err := newSnapshot(g, commit, m.limits.MaxFileBytes)
	if err != nil {
		return nil, err
	}
	s.tree.modules = newModules(m, t.Request, s.tree.root)
	return s, nil
}

// node is an entry of a directory.
type node struct {
	name string
	mode filemode.FileMode
	hash plumbing.Hash
	in   *objectReader
}

func (n node) isDir() bool  { return n.mode == filemode.Dir }
func (n node) isLink() bool { return n.mode == filemode.Symlink }

// objectReader reads objects and believes none of them: each is hashed, and
// one that is missing or does not match its name condemns the mirror.
type objectReader struct {
	condemn func()
	maxFile int64

	mu    sync.Mutex // the store is not safe for concurrent use
	store storer.EncodedObjectStorer
	dirs  map[plumbing.Hash][]node
}

// list reads a directory. What git itself would refuse to check out is refused.
func (r *objectReader) list(dir node) ([]node, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if nodes, ok := r.dirs[dir.hash]; ok {
		return nodes, nil
	}
	content, err := r.read(plumbing.TreeObject, dir.hash, maxTreeBytes)
	if err != nil {
		return nil, err
	}
	memory := new(plumbing.MemoryObject)
	memory.SetType(plumbing.TreeObject)
	if _, err := memory.Write(content); err != nil {
		return nil, fmt.Errorf("reading a directory: %w", err)
	}
	decoded, err := object.DecodeTree(r.store, memory)
	if err != nil {
		return nil, fmt.Errorf("reading a directory: %w", err)
	}
	nodes := make([]node, 0, len(decoded.Entries))
	seen := make(map[string]bool, len(decoded.Entries))
	for _, entry := range decoded.Entries {
		if !fs.ValidPath(entry.Name) || entry.Name == "." || strings.ContainsAny(entry.Name, "/\x00") || seen[entry.Name] {
			return nil, fmt.Errorf("reading a directory: it holds the invalid name %q", truncate(entry.Name))
		}
		seen[entry.Name] = true
		nodes = append(nodes, node{name: entry.Name, mode: entry.Mode, hash: entry.Hash, in: r})
	}
	// Git sorts directories as if their names ended in a slash; here names are names.
	slices.SortFunc(nodes, func(a, b node) int { return strings.Compare(a.name, b.name) })
	r.dirs[dir.hash] = nodes
	return nodes, nil
}

// file reads a file or the text of a link.
func (r *objectReader) file(n node) ([]byte, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.read(plumbing.BlobObject, n.hash, r.maxFile)
}

// size tells how long a file is without reading it. For one that cannot be
// read it is zero; reading it will say so.
func (r *objectReader) size(n node) int64 {
	r.mu.Lock()
	defer r.mu.Unlock()
	size, err := r.store.EncodedObjectSize(n.hash)
	if err != nil {
		r.condemn()
		return 0
	}
	return size
}

func (r *objectReader) read(kind plumbing.ObjectType, hash plumbing.Hash, limit int64) (content []byte, err error) {
	defer recoverMalformed(&err)
	encoded, err := r.store.EncodedObject(kind, hash)
	if err != nil {
		return nil, r.broken(hash, err)
	}
	if size := encoded.Size(); size > limit {
		return nil, fmt.Errorf("%w: %d bytes, the limit is %d", errTooLarge, size, limit)
	}
	reader, err := encoded.Reader()
	if err != nil {
		return nil, r.broken(hash, err)
	}
	defer reader.Close()
	if content, err = io.ReadAll(io.LimitReader(reader, limit+1)); err != nil {
		return nil, r.broken(hash, err)
	}
	if plumbing.ComputeHash(kind, content) != hash {
		return nil, r.broken(hash, errors.New("its content does not match its name"))
	}
	return content, nil
}

// broken makes an error that cannot be mistaken for a file that is not there.
func (r *objectReader) broken(hash plumbing.Hash, err error) error {
	r.condemn()
	return &Error{Op: "reading the mirror", Reason: Damaged, Hint: "it will be fetched anew",
		Err: fmt.Errorf("object %s: %s", hash, err.Error())}
}
