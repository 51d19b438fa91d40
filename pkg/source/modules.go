package source

import (
	"context"
	"errors"
	"fmt"
	"path"
	"strings"
	"sync"
	"time"

	"github.com/go-git/go-git/v5/config"
	"github.com/go-git/go-git/v5/plumbing"
	"github.com/go-git/go-git/v5/plumbing/filemode"
)

const (
	// modulesFile says, in the root of a repository, where its submodules are.
	modulesFile     = ".gitmodules"
	maxModulesBytes = 256 << 10
	// maxModules is how many submodules are brought in for one commit, and
	// maxModuleDepth how many may be inside of each other.
	maxModules     = 32
	maxModuleDepth = 4
	// modulesTimeout bounds what all submodules of a commit take together.
	modulesTimeout = time.Minute
)

// module is a repository whose files are in a tree: the repository itself, or
// a submodule.
type module struct {
	root    node
	request Request
	depth   int
}

// modules are the submodules of a commit, as far as they were brought in.
type modules struct {
	mirrors *Mirrors
	top     module

	// fetching is held while one is brought in.
	fetching sync.Mutex
	left     time.Duration
	failed   map[string]error // by path

	mu sync.Mutex
	// found holds them by their commit, which says all about their content.
	found map[plumbing.Hash]module
}

func newModules(m *Mirrors, request Request, root node) *modules {
	return &modules{
		mirrors: m, top: module{root: root, request: request}, left: modulesTimeout,
		failed: map[string]error{}, found: map[plumbing.Hash]module{},
	}
}

// entered returns the folder in place of a submodule that was brought in.
func (s *modules) entered(n node) node {
	if s == nil || n.mode != filemode.Submodule {
		return n
	}
	if found, ok := s.get(n.hash); ok {
		folder := found.root
		folder.name = n.name
		return folder
	}
	return n
}

func (s *modules) get(commit plumbing.Hash) (module, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	found, ok := s.found[commit]
	return found, ok
}

// Enter brings in the submodule at a path, and those on the way to it. The path
// leads through no links. The files of the submodule can be read from then on.
func (t *tree) Enter(ctx context.Context, name string) error {
	if t.modules == nil {
		return errNotAFile
	}
	owner, current, begins := t.modules.top, t.root, 0
	parts := strings.Split(name, "/")
	for i, part := range parts {
		if !current.isDir() {
			return errNotDir
		}
		nodes, err := current.in.list(current)
		if err != nil {
			return err
		}
		next, ok := pick(nodes, part)
		if !ok {
			return fmt.Errorf("there is no %s", path.Join(parts[:i+1]...))
		}
		if next.mode == filemode.Submodule {
			owner, err = t.modules.enter(ctx, owner, submodule{at: path.Join(parts[:i+1]...), name: path.Join(parts[begins : i+1]...), commit: next.hash})
			if err != nil {
				return err
			}
			next, begins = owner.root, i+1
		}
		current = next
	}
	return nil
}

// submodule is an entry of a directory: at is its path in the tree, name that in
// the repository that it is an entry of.
type submodule struct {
	at, name string
	commit   plumbing.Hash
}

// enter brings in a submodule, unless that was done or tried before.
func (s *modules) enter(ctx context.Context, owner module, sub submodule) (module, error) {
	s.fetching.Lock()
	defer s.fetching.Unlock()
	if found, ok := s.get(sub.commit); ok {
		return found, nil
	}
	if err := s.failed[sub.at]; err != nil {
		return module{}, err
	}
	found, err := s.bring(ctx, owner, sub)
	if err != nil {
		if ctx.Err() == nil {
			s.failed[sub.at] = err
		}
		return module{}, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.found[sub.commit] = found
	return found, nil
}

func (s *modules) bring(ctx context.Context, owner module, sub submodule) (module, error) {
	switch {
	case owner.depth >= maxModuleDepth:
		return module{}, fmt.Errorf("there are more than %d submodules inside of each other", maxModuleDepth)
	case len(s.found)+len(s.failed) >= maxModules:
		return module{}, fmt.Errorf("the repository has more than %d submodules", maxModules)
	case s.left <= 0:
		return module{}, fmt.Errorf("the submodules of the repository take more than %s", modulesTimeout)
	}
	request, withheld, err := owner.requestOf(sub)
	if err != nil {
		return module{}, err
	}
	began := time.Now()
	limited, cancel := bounded(ctx, s.left)
	defer cancel()
	snapshot, err := s.mirrors.Fetch(limited, request)
	s.left -= time.Since(began)
	var refused *Error
	if withheld && errors.As(err, &refused) && (refused.Reason == AuthenticationFailed || refused.Reason == NotFound) {
		return module{}, fmt.Errorf("%w; the credentials of the GitRepo are not shown to another host than that of spec.repo", err)
	}
	if err != nil {
		return module{}, err
	}
	return module{root: snapshot.tree.root, request: request, depth: owner.depth + 1}, nil
}

// requestOf returns what a submodule is asked for with. Credentials, and the
// wish not to check certificates, are for the server of the repository that
// names it: withheld says that there are some, and that it is on another.
func (m module) requestOf(sub submodule) (request Request, withheld bool, err error) {
	from, err := parseAddress(m.request.URL)
	if err != nil {
		return request, false, err
	}
	address, err := m.addressOf(from, sub.name)
	if err != nil {
		return request, false, err
	}
	request = Request{URL: address.url(), Revision: sub.commit.String(), CABundle: m.request.CABundle}
	if !from.sameServer(address) {
		return request, m.request.Auth != nil || from.user != "" || from.password != "", nil
	}
	request.Auth, request.InsecureSkipTLSVerify = m.request.Auth, m.request.InsecureSkipTLSVerify
	if address.user == "" && address.password == "" {
		address.user, address.password = from.user, from.password
		request.URL = address.url()
	}
	return request, false, nil
}

// addressOf finds out where a submodule is.
func (m module) addressOf(from address, name string) (address, error) {
	content, err := m.read(modulesFile)
	if err != nil {
		return address{}, fmt.Errorf("reading %s: %w", modulesFile, err)
	}
	declared, err := parseModules(content)
	if err != nil {
		return address{}, err
	}
	raw, ok := declared[name]
	if !ok {
		return address{}, fmt.Errorf("%s names no submodule with the path %s: add it by `git submodule add`", modulesFile, truncate(name))
	}
	return from.join(raw)
}

// join returns what an address in .gitmodules means: one that begins with ./ or
// ../ starts at the repository that names it.
func (a address) join(raw string) (address, error) {
	if strings.HasPrefix(raw, "./") || strings.HasPrefix(raw, "../") {
		a.path = path.Join(a.path, raw)
		raw = a.url()
	}
	found, err := parseAddress(raw)
	if err != nil {
		return address{}, fmt.Errorf("the url of the submodule in %s: %w", modulesFile, err)
	}
	return found, nil
}

// read reads a file of the repository's root.
func (m module) read(name string) ([]byte, error) {
	nodes, err := m.root.in.list(m.root)
	if err != nil {
		return nil, err
	}
	n, ok := pick(nodes, name)
	if !ok || n.isDir() || n.isLink() || n.mode == filemode.Submodule {
		return nil, errors.New("there is no such file")
	}
	return n.in.file(n)
}

// parseModules reads a .gitmodules file: addresses by path. Errors do not quote
// it.
func parseModules(content []byte) (declared map[string]string, err error) {
	defer recoverMalformed(&err)
	if len(content) > maxModulesBytes {
		return nil, fmt.Errorf("%s has more than %d bytes", modulesFile, maxModulesBytes)
	}
	parsed := config.NewModules()
	if err := parsed.Unmarshal(content); err != nil {
		return nil, fmt.Errorf("%s cannot be parsed", modulesFile)
	}
	declared = map[string]string{}
	for _, sub := range parsed.Submodules {
		declared[path.Clean(sub.Path)] = sub.URL
	}
	return declared, nil
}
