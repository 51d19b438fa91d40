package bundlereader

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"slices"
	"strings"

	"github.com/flotilla-gitops/flotilla/pkg/names"
)

const gitDir = ".git"

// The names of the file that makes a folder a bundle; the first that is there counts.
const (
	optionsName    = "fleet.yaml"
	optionsNameToo = "fleet.yml"
)

func isOptions(name string) bool { return name == optionsName || name == optionsNameToo }

// folder is a folder that becomes a bundle.
type folder struct {
	path string // relative to the root of the tree, which is "."
	// options is the file used as fleet.yaml, relative to path; empty means the
	// usual names. It is set only for folders that are listed one by one.
	options string
}

// key tells folders apart.
func (f folder) key() string { return f.path + "\x00" + f.options }

// label names the folder for users.
func (f folder) label() string {
	if f.options == "" {
		return f.path
	}
	return f.path + " (" + f.options + ")"
}

// optionsFile is the path of the file used as fleet.yaml, if it is given.
func (f folder) optionsFile() string {
	if f.options == "" {
		return ""
	}
	return path.Join(f.path, f.options)
}

// bundleName is the name of the bundle unless its fleet.yaml gives one.
func (f folder) bundleName(gitRepo string) string {
	if f.options == "" {
		return names.Bundle(gitRepo, f.path)
	}
	return names.Bundle(gitRepo, path.Join(f.path, strings.TrimSuffix(f.options, path.Ext(f.options))))
}

// match is what one entry of the GitRepo's paths led to.
type match struct {
	path   string
	keys   []string
	broken bool // a finding says why
}

// scanner looks for folders.
type scanner struct {
	tree     fs.FS
	limits   Limits
	entries  int
	matches  []match
	findings []Finding
	failed   []string
}

var errTooMany = errors.New("the repository has too many files and folders")

// folders returns every folder that becomes a bundle, once.
func (s *scanner) folders(ctx context.Context, o Options) ([]folder, error) {
	if len(o.Bundles) > 0 {
		return s.listed(o)
	}
	paths := o.Paths
	if len(paths) == 0 {
		paths = []string{"."}
	}
	var all []folder
	seen := map[string]bool{}
	for _, p := range paths {
		before := len(s.failed)
		found, err := s.below(ctx, p)
		if err = s.note(err); err != nil {
			return nil, err
		}
		m := match{path: p, broken: len(s.failed) > before}
		for _, f := range found {
			m.keys = append(m.keys, f.key())
			if !seen[f.key()] {
				seen[f.key()] = true
				all = append(all, f)
			}
		}
		s.matches = append(s.matches, m)
	}
	return all, nil
}

// note keeps an error that concerns one folder only, and returns any other.
func (s *scanner) note(err error) error {
	var wrong *problem
	if !errors.As(err, &wrong) {
		return err
	}
	finding := wrong.finding
	if finding.Folder == "" {
		finding.Folder = finding.File
	}
	s.findings = append(s.findings, finding)
	s.failed = append(s.failed, finding.Folder)
	return nil
}

// enter brings in a submodule. If that fails it says so, and there is no folder.
func (s *scanner) enter(ctx context.Context, name string) (isFolder bool, err error) {
	before := len(s.failed)
	err = s.note(enter(ctx, s.tree, name))
	return err == nil && len(s.failed) == before, err
}

// listed returns the folders that the GitRepo lists one by one. Whether they
// are there is found out when they are read.
func (s *scanner) listed(o Options) ([]folder, error) {
	var all []folder
	seen := map[string]bool{}
	for _, entry := range o.Bundles {
		base, ok := cleanPath(entry.Base)
		options := path.Clean(strings.TrimLeft(entry.Options, "/"))
		if entry.Options == "" {
			options = ""
		}
		if !ok || options != "" && !fs.ValidPath(options) {
			s.failed = append(s.failed, entry.Base)
			s.findings = append(s.findings, Finding{Severity: Error, Folder: entry.Base, Field: "spec.bundles", Message: "the folder or its options file is outside of the repository"})
			continue
		}
		f := folder{path: base, options: options}
		if !seen[f.key()] {
			seen[f.key()] = true
			all = append(all, f)
		}
	}
	return all, nil
}

// cleanPath makes a path of a GitRepo relative to the root of the tree.
func cleanPath(p string) (string, bool) {
	p = path.Clean(strings.TrimLeft(p, "/"))
	return p, fs.ValidPath(p)
}

// below returns the folders that a path or pattern leads to.
func (s *scanner) below(ctx context.Context, pattern string) ([]folder, error) {
	clean, ok := cleanPath(pattern)
	if !ok {
		return nil, &problem{Finding{Severity: Error, Folder: pattern, Field: "spec.paths", Message: "the path is outside of the repository"}}
	}
	if _, err := path.Match(clean, ""); err != nil {
		return nil, &problem{Finding{Severity: Error, Folder: pattern, Field: "spec.paths", Message: "the pattern cannot be parsed"}}
	}
	roots, err := s.glob(ctx, ".", strings.Split(clean, "/"))
	if err != nil {
		return nil, err
	}
	var found []folder
	for _, root := range roots {
		below, hasManifest, err := s.walk(ctx, root, 0)
		if err != nil {
			return nil, err
		}
		isRoot := func(f folder) bool { return f.path == root }
		if hasManifest && !slices.ContainsFunc(below, isRoot) {
			below = append([]folder{{path: root}}, below...)
		}
		found = append(found, below...)
	}
	return found, nil
}

// glob returns the folders that match a pattern, sorted. Unlike fs.Glob it
// tells what is not there from what cannot be read.
func (s *scanner) glob(ctx context.Context, dir string, segments []string) ([]string, error) {
	if len(segments) == 0 || segments[0] == "." {
		return []string{dir}, nil
	}
	candidates, err := s.matching(dir, segments[0])
	if err != nil {
		return nil, err
	}
	var found []string
	for _, name := range candidates {
		if isFolder, err := s.leadsOn(ctx, path.Join(dir, name)); err != nil {
			return nil, err
		} else if !isFolder {
			continue
		}
		below, err := s.glob(ctx, path.Join(dir, name), segments[1:])
		if err != nil {
			return nil, err
		}
		found = append(found, below...)
	}
	return found, nil
}

// matching returns the names in a folder that one segment of a pattern matches; one without wildcards is not looked for.
func (s *scanner) matching(dir, segment string) (names []string, err error) {
	if !strings.ContainsAny(segment, `*?[\`) {
		return []string{segment}, nil
	}
	entries, err := s.list(dir)
	if err != nil {
		return nil, err
	}
	for _, entry := range entries {
		if ok, _ := path.Match(segment, entry.Name()); ok {
			names = append(names, entry.Name())
		}
	}
	return names, nil
}

// leadsOn says whether a path is a folder, or leads to one; a submodule becomes one.
func (s *scanner) leadsOn(ctx context.Context, name string) (bool, error) {
	real, info, err := resolve(s.tree, ".", name)
	switch {
	case errors.Is(err, fs.ErrNotExist) || errors.Is(err, errLink):
		return false, nil
	case err != nil:
		return false, err
	case isSubmodule(info.Mode()):
		isFolder, err := s.enter(ctx, real)
		return isFolder && real != gitDir, err
	default:
		return info.IsDir() && real != gitDir, nil
	}
}

// walk returns the folders below dir, itself included, that have a fleet.yaml,
// and whether a manifest lies outside of all of them.
func (s *scanner) walk(ctx context.Context, dir string, depth int) (found []folder, hasManifest bool, err error) {
	if err := ctx.Err(); err != nil {
		return nil, false, err
	}
	if depth > s.limits.MaxDepth {
		return nil, false, &problem{Finding{Severity: Error, Folder: dir, Message: fmt.Sprintf("folders are nested more than %d deep", s.limits.MaxDepth)}}
	}
	entries, err := s.list(dir)
	if err != nil {
		return nil, false, err
	}
	own := slices.ContainsFunc(entries, func(e fs.DirEntry) bool {
		return !e.IsDir() && isOptions(e.Name())
	})
	if own {
		found = append(found, folder{path: dir})
	}
	for _, entry := range entries {
		isFolder, err := s.hasFolder(ctx, dir, entry)
		if err != nil {
			return nil, false, err
		}
		if !isFolder {
			hasManifest = hasManifest || !isSubmodule(entry.Type()) && isManifest(entry)
			continue
		}
		below, manifest, err := s.walk(ctx, path.Join(dir, entry.Name()), depth+1)
		if err != nil {
			return nil, false, err
		}
		found = append(found, below...)
		hasManifest = hasManifest || manifest && !isHidden(entry.Name())
	}
	return found, hasManifest && !own, nil
}

// hasFolder says whether an entry of a folder is one to walk; a submodule that is not hidden becomes one.
func (s *scanner) hasFolder(ctx context.Context, dir string, entry fs.DirEntry) (bool, error) {
	if isSubmodule(entry.Type()) && !isHidden(entry.Name()) {
		return s.enter(ctx, path.Join(dir, entry.Name()))
	}
	return entry.IsDir() && entry.Name() != gitDir, nil
}

func (s *scanner) list(dir string) ([]fs.DirEntry, error) {
	entries, err := fs.ReadDir(s.tree, dir)
	if err != nil {
		return nil, fmt.Errorf("listing %s: %w", dir, err)
	}
	if s.entries += len(entries); s.entries > s.limits.MaxEntries {
		return nil, errTooMany
	}
	return entries, nil
}

// isManifest says whether a file makes a folder without fleet.yaml a bundle.
func isManifest(entry fs.DirEntry) bool {
	name := entry.Name()
	return !isHidden(name) && (strings.HasSuffix(name, ".yaml") || strings.HasSuffix(name, ".yml"))
}

func isHidden(name string) bool { return strings.HasPrefix(name, ".") }
