package bundlereader

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path"
	"slices"
	"syscall"
	"unicode/utf8"
)

// contents reads the files of one bundle's folder.
type contents struct {
	tree   fs.FS
	root   string // the folder; no link may lead out of it
	limits Limits
	// report takes findings; their files are paths of the tree.
	report func(Finding)
	// skip names files, relative to root, that are not loaded.
	skip map[string]bool

	files map[string][]byte // by path relative to root
	bytes int64
	count int
}

// load reads every file below the root, except for what is hidden or ignored.
func (c *contents) load(ctx context.Context) error {
	c.files = map[string][]byte{}
	return c.dir(ctx, place{real: c.root, name: "."})
}

// place is a folder that is being read: where it is, what it is called in the
// bundle, what is ignored there, and the folders on the way to it.
type place struct {
	real   string
	name   string
	ignore []pattern
	above  []string
}

func (c *contents) dir(ctx context.Context, p place) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	if len(p.above) > c.limits.MaxDepth {
		return c.fail(p.real, fmt.Sprintf("folders are nested more than %d deep", c.limits.MaxDepth))
	}
	if slices.Contains(p.above, p.real) {
		return c.fail(path.Join(c.root, p.name), "the symbolic link leads back to a folder that it is in")
	}
	entries, err := fs.ReadDir(c.tree, p.real)
	if err != nil {
		return fmt.Errorf("listing %s: %w", p.real, err)
	}
	patterns, err := c.ignoreFile(p, entries)
	if err != nil {
		return err
	}
	below := place{ignore: slices.Concat(p.ignore, patterns), above: append(slices.Clone(p.above), p.real)}
	for _, entry := range entries {
		if isHidden(entry.Name()) {
			continue
		}
		if !utf8.ValidString(entry.Name()) {
			return c.fail(p.real, fmt.Sprintf("the name %q is not UTF-8, so no cluster can be given it; rename it", entry.Name()))
		}
		below.real, below.name = path.Join(p.real, entry.Name()), path.Join(p.name, entry.Name())
		if err := c.entry(ctx, below, entry); err != nil {
			return err
		}
	}
	return nil
}

// entry reads a file or a folder, following it if it is a link. at.ignore is
// that of the folder it is in.
func (c *contents) entry(ctx context.Context, at place, entry fs.DirEntry) error {
	mode, isLink := entry.Type(), entry.Type()&fs.ModeSymlink != 0
	if !isLink && ignored(at.ignore, entry.Name(), entry.IsDir() || isSubmodule(mode)) {
		return nil
	}
	if isLink {
		// What a link is, is only known at its end; one that is ignored either
		// way may lead anywhere.
		if ignored(at.ignore, entry.Name(), false) {
			return nil
		}
		real, info, err := resolve(c.tree, c.root, at.real)
		if err != nil {
			return c.linkError(at.real, err)
		}
		if ignored(at.ignore, entry.Name(), info.IsDir()) {
			return nil
		}
		at.real, mode = real, info.Mode().Type()
	}
	switch {
	case isSubmodule(mode):
		if err := enter(ctx, c.tree, at.real); err != nil {
			return err
		}
		return c.dir(ctx, at)
	case mode.IsDir():
		return c.dir(ctx, at)
	case mode.IsRegular() && c.skip[at.name]:
		return nil
	case mode.IsRegular():
		content, err := c.read(at.real)
		if err != nil {
			return err
		}
		c.files[at.name] = content
		return nil
	default:
		return c.fail(at.real, "it is neither a file nor a folder")
	}
}

// ignoreFile reads the .fleetignore of a folder, if it has one.
func (c *contents) ignoreFile(p place, entries []fs.DirEntry) ([]pattern, error) {
	if !slices.ContainsFunc(entries, func(e fs.DirEntry) bool { return e.Name() == ignoreFile && !e.IsDir() }) {
		return nil, nil
	}
	real, content, err := c.named(path.Join(p.real, ignoreFile))
	if err != nil {
		return nil, err
	}
	patterns, findings := parseIgnore(string(content))
	for _, finding := range findings {
		finding.File = real
		c.report(finding)
	}
	return patterns, nil
}

// named reads one file by its path in the tree, following links inside of the
// bundle, and returns where it really is.
func (c *contents) named(name string) (string, []byte, error) {
	real, info, err := resolve(c.tree, c.root, name)
	if err != nil {
		return "", nil, c.linkError(name, err)
	}
	if !info.Mode().IsRegular() {
		return "", nil, c.fail(name, "it is not a file")
	}
	content, err := c.read(real)
	return real, content, err
}

// read reads a regular file within the limits, and never more than they leave.
// A tree that bounds the size of its files says so with EFBIG.
func (c *contents) read(name string) ([]byte, error) {
	if c.count++; c.count > c.limits.MaxFiles {
		return nil, c.fail(c.root, fmt.Sprintf("the folder has more than %d files; keep out what is not to be deployed with a %s", c.limits.MaxFiles, ignoreFile))
	}
	content, err := readUpTo(c.tree, name, c.limits.MaxBytes-c.bytes)
	tooLarge := errors.Is(err, syscall.EFBIG)
	if err != nil && !tooLarge {
		return nil, fmt.Errorf("reading %s: %w", name, err)
	}
	if tooLarge {
		return nil, c.fail(name, fmt.Sprintf("the files of the folder have more than %d bytes; keep out what is not to be deployed with a %s", c.limits.MaxBytes, ignoreFile))
	}
	c.bytes += int64(len(content))
	return content, nil
}

// readUpTo reads a file; one of more than limit bytes is EFBIG, and is not read
// to its end.
func readUpTo(tree fs.FS, name string, limit int64) ([]byte, error) {
	file, err := tree.Open(name)
	if err != nil {
		return nil, err
	}
	defer func() { _ = file.Close() }()
	content, err := io.ReadAll(io.LimitReader(file, limit+1))
	if err == nil && int64(len(content)) > limit {
		err = syscall.EFBIG
	}
	return content, err
}

// Folder returns the files below a folder of a tree by their paths from there,
// without what is hidden or ignored. An error that concerns the folder names
// the file; what is merely odd is not told.
func Folder(ctx context.Context, tree fs.FS, dir string, limits Limits) (map[string][]byte, error) {
	real, info, err := resolve(tree, ".", dir)
	switch {
	case err == nil && !info.IsDir(), errors.Is(err, fs.ErrNotExist):
		return nil, fmt.Errorf("there is no folder %s", dir)
	case err != nil:
		return nil, fmt.Errorf("looking for folder %s: %w", dir, err)
	}
	c := &contents{tree: tree, root: real, limits: limits.withDefaults(), report: func(Finding) {}}
	err = c.load(ctx)
	var wrong *problem
	if errors.As(err, &wrong) {
		return nil, errors.New(wrong.finding.String())
	}
	return c.files, err
}

// fail makes an error that concerns this bundle only.
func (c *contents) fail(file, message string) error {
	return &problem{Finding{Severity: Error, File: file, Message: message}}
}

// linkError turns an error of resolve into one of this bundle, unless the tree
// itself could not be read.
func (c *contents) linkError(name string, err error) error {
	switch {
	case errors.Is(err, errLink):
		return c.fail(name, err.Error())
	case errors.Is(err, fs.ErrNotExist):
		return c.fail(name, "there is no such file; perhaps it is a symbolic link that leads nowhere")
	default:
		return fmt.Errorf("reading %s: %w", name, err)
	}
}
