// Package repo makes bare git repositories and commits to them, for development and tests.
//
// There is no work tree: a commit is made from file contents. The same contents on the same history give the
// same commit id on every machine, as author and dates are fixed.
package repo

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"strings"
)

// DefaultBranch is the branch of a new repository.
const DefaultBranch = "main"

// The author of every commit, and the dates: the first is from epoch, each other one from step after its parent.
const (
	author     = "Flotilla Developer <developer@example.com>"
	epoch      = 1767225600 // 2026-01-01T00:00:00Z
	epochStep  = 60
	branchRefs = "refs/heads/"
)

// Repository is a bare repository in a folder.
type Repository struct {
	dir string
}

// Init makes an empty bare repository. One that is there already stays as it is.
func Init(ctx context.Context, dir string) (*Repository, error) {
	if _, err := git(ctx, nil, "init", "--quiet", "--bare", "--initial-branch="+DefaultBranch, "--", dir); err != nil {
		return nil, err
	}
	return &Repository{dir: dir}, nil
}

// Open returns the bare repository in a folder.
func Open(dir string) *Repository { return &Repository{dir: dir} }

// Dir is the repository's folder.
func (r *Repository) Dir() string { return r.dir }

// Change is what a commit does to a branch.
type Change struct {
	// Branch to commit to; empty means DefaultBranch. A new branch begins without history.
	Branch string
	// Message of the commit; empty names nothing in particular.
	Message string
	// Replace empties the tree before anything else.
	Replace bool
	// Tree is written as a whole: files, modes and links. Its paths are the repository's; nil writes nothing.
	Tree fs.FS
	// Write gives files new content, by path.
	Write map[string]string
	// Submodules puts commits of other repositories at paths. Where they are is for .gitmodules to say.
	Submodules map[string]string
	// Remove takes away files or folders.
	Remove []string
}

// Commit makes the change and returns the id of the commit.
func (r *Repository) Commit(ctx context.Context, change Change) (string, error) {
	if change.Branch == "" {
		change.Branch = DefaultBranch
	}
	if change.Message == "" {
		change.Message = "Change"
	}
	parent, err := r.Head(ctx, change.Branch)
	if err != nil && !errors.Is(err, ErrNoBranch) {
		return "", err
	}
	date := epoch
	if parent != "" {
		if date, err = r.dateAfter(ctx, parent); err != nil {
			return "", err
		}
	}
	var stream bytes.Buffer
	fmt.Fprintf(&stream, "commit %s%s\ncommitter %s %d +0000\n", branchRefs, change.Branch, author, date)
	writeData(&stream, []byte(change.Message+"\n"))
	if parent != "" {
		fmt.Fprintf(&stream, "from %s\n", parent)
	}
	if err := change.writeFiles(&stream); err != nil {
		return "", fmt.Errorf("reading files to commit: %w", err)
	}
	if _, err := git(ctx, &stream, "-C", r.dir, "fast-import", "--quiet", "--done", "--date-format=raw"); err != nil {
		return "", err
	}
	return r.Head(ctx, change.Branch)
}

// writeFiles writes the change of the tree in the language of git fast-import.
func (c Change) writeFiles(stream *bytes.Buffer) error {
	if c.Replace {
		stream.WriteString("deleteall\n")
	}
	for _, path := range c.Remove {
		fmt.Fprintf(stream, "D %s\n", quote(path))
	}
	if c.Tree != nil {
		if err := fs.WalkDir(c.Tree, ".", func(path string, entry fs.DirEntry, err error) error {
			if err != nil || entry.IsDir() {
				return err
			}
			return writeEntry(stream, c.Tree, path, entry.Type())
		}); err != nil {
			return err
		}
	}
	for _, path := range slices.Sorted(maps.Keys(c.Write)) {
		fmt.Fprintf(stream, "M 100644 inline %s\n", quote(path))
		writeData(stream, []byte(c.Write[path]))
	}
	for _, path := range slices.Sorted(maps.Keys(c.Submodules)) {
		fmt.Fprintf(stream, "M 160000 %s %s\n", c.Submodules[path], quote(path))
	}
	stream.WriteString("done\n")
	return nil
}

func writeEntry(stream *bytes.Buffer, tree fs.FS, path string, kind fs.FileMode) error {
	mode := "100644"
	var data []byte
	switch {
	case kind&fs.ModeSymlink != 0:
		target, err := fs.ReadLink(tree, path)
		if err != nil {
			return err
		}
		mode, data = "120000", []byte(target)
	case kind.IsRegular():
		info, err := fs.Stat(tree, path)
		if err != nil {
			return err
		}
		if info.Mode()&0o100 != 0 {
			mode = "100755"
		}
		if data, err = fs.ReadFile(tree, path); err != nil {
			return err
		}
	default:
		return fmt.Errorf("%s is neither a file nor a link", path)
	}
	fmt.Fprintf(stream, "M %s inline %s\n", mode, quote(path))
	writeData(stream, data)
	return nil
}

func writeData(stream *bytes.Buffer, data []byte) {
	fmt.Fprintf(stream, "data %d\n", len(data))
	stream.Write(data)
	stream.WriteByte('\n')
}

// quote writes a path as git reads it; in quotes every byte can be written.
func quote(path string) string {
	var b strings.Builder
	b.WriteByte('"')
	for i := range len(path) {
		switch c := path[i]; {
		case c == '"' || c == '\\':
			b.WriteByte('\\')
			b.WriteByte(c)
		case c < ' ':
			fmt.Fprintf(&b, `\%03o`, c)
		default:
			b.WriteByte(c)
		}
	}
	b.WriteByte('"')
	return b.String()
}

// ErrNoBranch says that a branch is not there.
var ErrNoBranch = errors.New("no such branch")

// Head returns the id of a branch's last commit, or ErrNoBranch.
func (r *Repository) Head(ctx context.Context, branch string) (string, error) {
	out, err := git(ctx, nil, "-C", r.dir, "for-each-ref", "--format=%(objectname)", "--", branchRefs+branch)
	if err != nil {
		return "", err
	}
	if out == "" {
		return "", fmt.Errorf("%s: %w", branch, ErrNoBranch)
	}
	return out, nil
}

// Tag gives a commit a name.
func (r *Repository) Tag(ctx context.Context, name, commit string) error {
	_, err := git(ctx, nil, "-C", r.dir, "update-ref", "--", "refs/tags/"+name, commit)
	return err
}

// Reset sets a branch to a commit, as a forced push does.
func (r *Repository) Reset(ctx context.Context, branch, commit string) error {
	_, err := git(ctx, nil, "-C", r.dir, "update-ref", "--", branchRefs+branch, commit)
	return err
}

// dateAfter is the date, in seconds since 1970, of a commit on top of another.
func (r *Repository) dateAfter(ctx context.Context, parent string) (int, error) {
	out, err := git(ctx, nil, "-C", r.dir, "show", "--no-patch", "--format=%ct", parent, "--")
	if err != nil {
		return 0, err
	}
	date, err := strconv.Atoi(out)
	if err != nil {
		return 0, fmt.Errorf("reading date of commit %s: %w", parent, err)
	}
	return date + epochStep, nil
}

// git runs the git binary apart from the user's configuration and from any repository around.
func git(ctx context.Context, input *bytes.Buffer, args ...string) (string, error) {
	cmd := exec.CommandContext(ctx, "git", args...)
	cmd.Env = slices.DeleteFunc(os.Environ(), func(variable string) bool { return strings.HasPrefix(variable, "GIT_") })
	cmd.Env = append(cmd.Env, "GIT_CONFIG_NOSYSTEM=1", "GIT_CONFIG_GLOBAL="+os.DevNull,
		// The repository may have been made by another user of this machine, such as root.
		"GIT_CONFIG_COUNT=1", "GIT_CONFIG_KEY_0=safe.directory", "GIT_CONFIG_VALUE_0=*")
	if input != nil {
		cmd.Stdin = input
	}
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	if err := cmd.Run(); err != nil {
		return "", fmt.Errorf("running git %s: %w: %s", strings.Join(args, " "), err, strings.TrimSpace(stderr.String()))
	}
	return strings.TrimSpace(stdout.String()), nil
}
