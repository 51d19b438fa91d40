// Package binaries provides the programs of a control plane, etcd, Kubernetes and kwok, and those of a real node.
//
// They are built by the Go toolchain from the build-only modules under dev/controlplane/build, whose go.mod
// pins every version, once per version and machine: the results are kept in a cache folder. The modules are
// read from the source tree around the working directory rather than embedded, as go:embed cannot reach into
// a nested module; everything that uses this package (tests, the playground) runs in the source tree.
package binaries

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"

	"github.com/flotilla-gitops/flotilla/dev/filelock"
	"github.com/flotilla-gitops/flotilla/dev/progress"
)

// CacheEnv names the environment variable that moves the cache. Without it, it is the folder flotilla in the
// user's own cache folder.
const CacheEnv = "FLOTILLA_CACHE"

const (
	mainModule = "github.com/flotilla-gitops/flotilla"
	kwokModule = "sigs.k8s.io/kwok"
	kwokStages = "stages.yaml"
)

// Set is where the programs are, as absolute paths.
type Set struct {
	Etcd              string `json:"etcd"`
	APIServer         string `json:"apiserver"`
	ControllerManager string `json:"controllerManager"`
	Scheduler         string `json:"scheduler"`
	Kwok              string `json:"kwok"`
	// KwokStages is the configuration that makes kwok's nodes and pods ready at once and its Jobs complete.
	KwokStages string `json:"kwokStages"`
}

// Options of Ensure; the zero value will do.
type Options struct {
	// CacheDir holds the results; empty means the default that CacheEnv describes.
	CacheDir string
	// Progress takes one line per program that has to be built; nil shows nothing.
	Progress io.Writer
}

// Ensure returns the programs, after building those that are not there yet: minutes the first time,
// milliseconds later. Of several callers, in whatever process, one builds and the others wait for it.
// A build that was interrupted goes on where it was.
func Ensure(ctx context.Context, options Options) (Set, error) {
	found, err := ensureModules(ctx, modules(), options)
	if err != nil {
		return Set{}, err
	}
	return Set{
		Etcd: found["etcd"], APIServer: found["kube-apiserver"], ControllerManager: found["kube-controller-manager"],
		Scheduler: found["kube-scheduler"], Kwok: found["kwok"], KwokStages: found[kwokStages],
	}, nil
}

func ensureModules(ctx context.Context, modules []module, options Options) (files, error) {
	recipes, err := readRecipes(modules)
	if err != nil {
		return nil, err
	}
	cache, err := CacheDir(options.CacheDir)
	if err != nil {
		return nil, err
	}
	return ensure(ctx, filepath.Join(cache, "controlplane"), recipes, options.Progress)
}

// files says where what was built is, as absolute paths by name.
type files map[string]string

func ensure(ctx context.Context, cache string, recipes []recipe, out io.Writer) (files, error) {
	found, missing := locate(cache, recipes)
	if len(missing) == 0 {
		return found, nil
	}
	printer := progress.New(out)
	release, err := filelock.Acquire(ctx, filepath.Join(cache, "lock"), func() {
		printer.Println("  … another process is building the control plane; waiting for it")
	})
	if err != nil {
		return nil, fmt.Errorf("waiting for another build: %w", err)
	}
	defer release()
	// The one we waited for may have built them all.
	found, missing = locate(cache, recipes)
	for _, m := range missing {
		if err := m.make(ctx, printer); err != nil {
			return nil, err
		}
	}
	return found, nil
}

// missingFile is a file that has to be made.
type missingFile struct {
	path   string
	recipe recipe
	// program is what the file is; nil for kwok's stages.
	program *program
}

func (m missingFile) make(ctx context.Context, printer *progress.Printer) error {
	if err := os.MkdirAll(filepath.Dir(m.path), 0o755); err != nil {
		return fmt.Errorf("making cache folder: %w", err)
	}
	if m.program == nil {
		return m.recipe.writeStages(ctx, m.path)
	}
	task := printer.Start(m.program.name)
	if err := m.recipe.build(ctx, *m.program, m.path, task); err != nil {
		task.Fail("the build failed")
		return err
	}
	task.Done("built " + m.recipe.version)
	return nil
}

// locate says where every file of the recipes belongs, and which of them are not there.
func locate(cache string, recipes []recipe) (files, []missingFile) {
	found := files{}
	var missing []missingFile
	place := func(name string, file missingFile) {
		found[name] = file.path
		if _, err := os.Stat(file.path); err != nil {
			missing = append(missing, file)
		}
	}
	for _, r := range recipes {
		dir := filepath.Join(cache, r.key)
		for _, p := range r.programs {
			place(p.name, missingFile{path: filepath.Join(dir, p.name), recipe: r, program: &p})
		}
		if r.upstream == kwokModule {
			place(kwokStages, missingFile{path: filepath.Join(dir, kwokStages), recipe: r})
		}
	}
	return found, missing
}

func readRecipes(modules []module) ([]recipe, error) {
	root, err := SourceRoot()
	if err != nil {
		return nil, err
	}
	var recipes []recipe
	for _, m := range modules {
		r, err := m.read(root)
		if err != nil {
			return nil, err
		}
		recipes = append(recipes, r)
	}
	return recipes, nil
}

// CacheDir returns the absolute path of the cache: chosen, if not empty, else what CacheEnv says, else the default.
func CacheDir(chosen string) (string, error) {
	dir := cmp.Or(chosen, os.Getenv(CacheEnv))
	if dir == "" {
		user, err := os.UserCacheDir()
		if err != nil {
			return "", fmt.Errorf("finding the cache folder (set %s to choose one): %w", CacheEnv, err)
		}
		dir = filepath.Join(user, "flotilla")
	}
	dir, err := filepath.Abs(dir)
	if err != nil {
		return "", fmt.Errorf("finding the cache folder: %w", err)
	}
	return dir, nil
}

// SourceRoot returns the root of Flotilla's source tree around the working directory.
func SourceRoot() (string, error) {
	dir, err := os.Getwd()
	if err != nil {
		return "", fmt.Errorf("finding the working directory: %w", err)
	}
	declaration := regexp.MustCompile(`(?m)^module ` + regexp.QuoteMeta(mainModule) + `$`)
	for ; ; dir = filepath.Dir(dir) {
		data, err := os.ReadFile(filepath.Join(dir, "go.mod"))
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return "", fmt.Errorf("looking for the source tree: %w", err)
		}
		if declaration.Match(data) {
			return dir, nil
		}
		if dir == filepath.Dir(dir) {
			return "", errors.New("looking for the source tree: the working directory is not inside Flotilla's repository")
		}
	}
}
