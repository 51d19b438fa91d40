package bundlereader

import (
	"errors"
	"fmt"
	"io/fs"
	"path"
	"strings"
)

// maxLinks is how many symbolic links are followed on the way to one file.
const maxLinks = 40

// errLink is the cause of every error about a symbolic link that must not, or
// cannot, be followed.
var errLink = errors.New("symbolic link")

// resolve follows the symbolic links in a path, none of which may lead out of
// the folder within. It returns where the path really leads, and what is
// there. It asks the tree about no link, so that a tree's own rules for links
// do not matter.
func resolve(tree fs.FS, within, name string) (string, fs.FileInfo, error) {
	rest := path.Clean(name)
	for range maxLinks {
		real, again, info, err := follow(tree, within, rest)
		if err != nil {
			return "", nil, err
		}
		if again == "" {
			return real, info, nil
		}
		rest = again
	}
	return "", nil, fmt.Errorf("%w: %s leads in a circle", errLink, name)
}

// follow goes down a path to its end, or to the first link on it; then it
// returns the path to go on with. Only links below within are looked at.
func follow(tree fs.FS, within, name string) (real, again string, info fs.FileInfo, err error) {
	parts := strings.Split(name, "/")
	for i := range parts {
		at := path.Join(parts[:i+1]...)
		if at != name && inside(at, within) {
			continue
		}
		if info, err = fs.Lstat(tree, at); err != nil {
			return "", "", nil, err
		}
		isLink := info.Mode()&fs.ModeSymlink != 0
		if at != name && !isLink && !info.IsDir() {
			return "", "", nil, &fs.PathError{Op: "open", Path: name, Err: fs.ErrNotExist}
		}
		if !isLink || at == within {
			continue
		}
		text, err := fs.ReadLink(tree, at)
		if err != nil {
			return "", "", nil, err
		}
		target := path.Join(path.Dir(at), text)
		if text == "" || path.IsAbs(text) || !fs.ValidPath(target) || !inside(within, target) {
			return "", "", nil, fmt.Errorf("%w: %s leads to %q, which is outside of the folder", errLink, at, text)
		}
		return "", path.Join(append([]string{target}, parts[i+1:]...)...), nil, nil
	}
	return name, "", info, nil
}

// inside reports whether name is dir itself or below it.
func inside(dir, name string) bool {
	return dir == "." || name == dir || strings.HasPrefix(name, dir+"/")
}
