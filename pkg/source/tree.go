package source

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"slices"
	"strings"

	"github.com/go-git/go-git/v5/plumbing/filemode"
)

const (
	maxLinks      = 40   // links followed on the way to one file
	maxLinkTarget = 4096 // bytes of the text of a link
)

var (
	errOutside  = errors.New("the symbolic link leads out of the repository")
	errLoop     = errors.New("too many symbolic links")
	errNotDir   = errors.New("not a directory")
	errIsDir    = errors.New("is a directory")
	errNotLink  = errors.New("not a symbolic link")
	errNotAFile = errors.New("is a submodule")
)

// tree is a commit's directory tree as a file system.
type tree struct {
	root node
	// modules are its submodules; nil if there are none to be had.
	modules *modules
}

var (
	_ fs.ReadDirFS  = (*tree)(nil)
	_ fs.ReadFileFS = (*tree)(nil)
	_ fs.StatFS     = (*tree)(nil)
	_ fs.ReadLinkFS = (*tree)(nil)
)

// Open follows links.
func (t *tree) Open(name string) (fs.File, error) {
	n, err := t.find("open", name, true)
	if err != nil {
		return nil, err
	}
	if n.isDir() {
		entries, err := t.entries(n)
		if err != nil {
			return nil, &fs.PathError{Op: "open", Path: name, Err: err}
		}
		return &openDir{info: info{n}, entries: entries}, nil
	}
	content, err := t.content(n)
	if err != nil {
		return nil, &fs.PathError{Op: "open", Path: name, Err: err}
	}
	return &openFile{info: info{n}, Reader: bytes.NewReader(content)}, nil
}

// ReadFile follows links.
func (t *tree) ReadFile(name string) ([]byte, error) {
	n, err := t.find("read", name, true)
	if err != nil {
		return nil, err
	}
	content, err := t.content(n)
	if err != nil {
		return nil, &fs.PathError{Op: "read", Path: name, Err: err}
	}
	return content, nil
}

// ReadDir follows links; the entries are sorted by name.
func (t *tree) ReadDir(name string) ([]fs.DirEntry, error) {
	n, err := t.find("readdir", name, true)
	if err != nil {
		return nil, err
	}
	entries, err := t.entries(n)
	if err != nil {
		return nil, &fs.PathError{Op: "readdir", Path: name, Err: err}
	}
	return entries, nil
}

// Stat follows links.
func (t *tree) Stat(name string) (fs.FileInfo, error) { return t.stat("stat", name, true) }

// Lstat does not follow a link at the end of the path.
func (t *tree) Lstat(name string) (fs.FileInfo, error) { return t.stat("lstat", name, false) }

func (t *tree) stat(op, name string, follow bool) (fs.FileInfo, error) {
	n, err := t.find(op, name, follow)
	if err != nil {
		return nil, err
	}
	return info{n}, nil
}

// ReadLink returns the text of a link as it is.
func (t *tree) ReadLink(name string) (string, error) {
	n, err := t.find("readlink", name, false)
	if err != nil {
		return "", err
	}
	text, err := t.link(n)
	if err != nil {
		return "", &fs.PathError{Op: "readlink", Path: name, Err: err}
	}
	return text, nil
}

// find walks to a name. Each link on the way begins the walk anew at the root,
// with the link replaced by what it says.
func (t *tree) find(op, name string, follow bool) (node, error) {
	fail := func(err error) (node, error) { return node{}, &fs.PathError{Op: op, Path: name, Err: err} }
	if !fs.ValidPath(name) {
		return fail(fs.ErrInvalid)
	}
	rest := name
	for range maxLinks {
		found, again, err := t.walk(rest, follow)
		if err != nil {
			return fail(err)
		}
		if again == "" {
			if rest == name {
				return found, nil
			}
			// The caller asked for the link, so that is what the file is called.
			found.name = path.Base(name)
			return found, nil
		}
		rest = again
	}
	return fail(errLoop)
}

// walk goes down a path until its end or until a link that must be followed;
// then it returns the path to go on with.
func (t *tree) walk(name string, follow bool) (found node, again string, err error) {
	current := t.root
	if name == "." {
		return current, "", nil
	}
	parts := strings.Split(name, "/")
	for i, part := range parts {
		if !current.isDir() {
			return node{}, "", fs.ErrNotExist
		}
		nodes, err := current.in.list(current)
		if err != nil {
			return node{}, "", err
		}
		next, ok := pick(nodes, part)
		if !ok {
			return node{}, "", fs.ErrNotExist
		}
		next = t.modules.entered(next)
		last := i == len(parts)-1
		if next.isLink() && (!last || follow) {
			text, err := t.link(next)
			if err != nil {
				return node{}, "", err
			}
			again, err := redirect(parts[:i], text, parts[i+1:])
			return node{}, again, err
		}
		current = next
	}
	return current, "", nil
}

// redirect replaces a link in a path by its text.
func redirect(before []string, text string, after []string) (string, error) {
	if text == "" || path.IsAbs(text) {
		return "", errOutside
	}
	joined := path.Join(path.Join(before...), text, path.Join(after...))
	if !fs.ValidPath(joined) {
		return "", errOutside
	}
	return joined, nil
}

func pick(nodes []node, name string) (node, bool) {
	i, ok := slices.BinarySearchFunc(nodes, name, func(n node, name string) int { return strings.Compare(n.name, name) })
	if !ok {
		return node{}, false
	}
	return nodes[i], true
}

func (t *tree) link(n node) (string, error) {
	if !n.isLink() {
		return "", errNotLink
	}
	text, err := n.in.file(n)
	if err != nil {
		return "", err
	}
	if len(text) > maxLinkTarget {
		return "", fmt.Errorf("%w: the text of a symbolic link", errTooLarge)
	}
	return string(text), nil
}

func (t *tree) content(n node) ([]byte, error) {
	switch n.mode {
	case filemode.Dir:
		return nil, errIsDir
	case filemode.Submodule:
		return nil, errNotAFile
	default:
		return n.in.file(n)
	}
}

func (t *tree) entries(dir node) ([]fs.DirEntry, error) {
	if !dir.isDir() {
		return nil, errNotDir
	}
	nodes, err := dir.in.list(dir)
	if err != nil {
		return nil, err
	}
	entries := make([]fs.DirEntry, 0, len(nodes))
	for _, n := range nodes {
		entries = append(entries, entry{info{t.modules.entered(n)}})
	}
	return entries, nil
}
