package binaries

import (
	"bytes"
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/flotilla-gitops/flotilla/dev/progress"
)

// tinyRecipe builds a program that prints its variable version, in place of etcd.
func tinyRecipe(t *testing.T, source string) recipe {
	t.Helper()
	dir := t.TempDir()
	for name, content := range map[string]string{"go.mod": "module example.com/tiny\n\ngo 1.26\n", "main.go": source} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(content), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	m := module{
		programs:         []program{{"etcd", "example.com/tiny"}},
		versionVariables: func(version string) map[string]string { return map[string]string{"main.version": version} },
	}
	return recipe{module: m, dir: dir, version: "v1.2.3", flags: m.flags("v1.2.3"), key: "tiny-v1.2.3"}
}

const goodSource = "package main\n\nvar version = \"unset\"\n\nfunc main() { print(version) }\n"

func TestProgramIsBuiltOnceAndByOneOfManyCallers(t *testing.T) {
	cache, r := t.TempDir(), tinyRecipe(t, goodSource)
	// What a killed build left.
	leftover := filepath.Join(cache, r.key, "etcd.1234")
	if err := os.MkdirAll(filepath.Dir(leftover), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(leftover, []byte("half"), 0o755); err != nil {
		t.Fatal(err)
	}

	var mu sync.Mutex
	var output bytes.Buffer
	var callers sync.WaitGroup
	for range 4 {
		callers.Go(func() {
			var own bytes.Buffer
			found, err := ensure(t.Context(), cache, []recipe{r}, &own)
			mu.Lock()
			defer mu.Unlock()
			output.Write(own.Bytes())
			if err != nil {
				t.Error(err)
				return
			}
			said, err := exec.Command(found["etcd"]).CombinedOutput()
			if err != nil || string(said) != "v1.2.3" {
				t.Errorf("the program prints %q, %v", said, err)
			}
		})
	}
	callers.Wait()
	if _, err := ensure(t.Context(), cache, []recipe{r}, &output); err != nil {
		t.Fatal(err)
	}
	if got := strings.Count(output.String(), "✓ etcd"); got != 1 {
		t.Errorf("it was built %d times, want once:\n%s", got, output.String())
	}
	if _, err := os.Stat(leftover); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the leftover of a killed build is still there (%v)", err)
	}
}

func TestProgramThatDoesNotCompile(t *testing.T) {
	var output bytes.Buffer
	cache, r := t.TempDir(), tinyRecipe(t, "package main\n\nfunc main() { undefinedFunction() }\n")
	found, err := ensure(t.Context(), cache, []recipe{r}, &output)
	if err == nil || !strings.Contains(err.Error(), "undefinedFunction") {
		t.Errorf("the error does not show what the compiler said: %v", err)
	}
	if found != nil || !strings.Contains(output.String(), "✗ etcd") {
		t.Errorf("returned %v and printed %q", found, output.String())
	}
	left, err := os.ReadDir(filepath.Join(cache, r.key))
	if err != nil || len(left) != 0 {
		t.Errorf("the cache holds %v, %v", left, err)
	}
}

func TestBuildEndsWithTheContext(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	r := tinyRecipe(t, goodSource)
	err := missingFile{path: filepath.Join(t.TempDir(), "etcd"), recipe: r, program: &r.programs[0]}.make(ctx, progress.New(nil))
	if !errors.Is(err, context.Canceled) {
		t.Errorf("got %v, want %v", err, context.Canceled)
	}
}

func TestRecipesReadTheVersionsOfTheSourceTree(t *testing.T) {
	all := append(modules(), nodeModules()...)
	recipes, err := readRecipes(all)
	if err != nil {
		t.Fatal(err)
	}
	if len(recipes) != len(all) {
		t.Fatalf("read %d of %d recipes", len(recipes), len(all))
	}
	for _, r := range recipes {
		if !strings.HasPrefix(r.key, r.folder+"-v") {
			t.Errorf("%s: its key %q does not name the version", r.folder, r.key)
		}
	}
	t.Run("another version, another folder", func(t *testing.T) {
		root := t.TempDir()
		dir := filepath.Join(root, "dev", "controlplane", "build", "etcd")
		if err := os.MkdirAll(dir, 0o755); err != nil {
			t.Fatal(err)
		}
		keys := map[string]bool{}
		for _, version := range []string{"v3.6.8", "v3.6.9", "v3.6.9 // indirect"} {
			goMod := "module x\n\nrequire go.etcd.io/etcd/server/v3 " + version + "\n"
			for name, content := range map[string]string{"go.mod": goMod, "go.sum": ""} {
				if err := os.WriteFile(filepath.Join(dir, name), []byte(content), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			r, err := modules()[0].read(root)
			if err != nil {
				t.Fatal(err)
			}
			if want, _, _ := strings.Cut(version, " "); r.version != want {
				t.Errorf("read version %s, want %s", r.version, want)
			}
			keys[r.key] = true
		}
		if len(keys) != 3 {
			t.Errorf("three build modules share cache folders: %v", keys)
		}
	})
}

func TestKubernetesReportsItsVersion(t *testing.T) {
	for _, m := range append(modules(), nodeModules()...) {
		if m.upstream != "k8s.io/kubernetes" {
			continue
		}
		link := strings.Join(m.flags("v1.36.3"), " ")
		for _, want := range []string{"-s -w", ".gitVersion=v1.36.3", ".gitMajor=1 ", ".gitMinor=36 "} {
			if !strings.Contains(link, want) {
				t.Errorf("the linker flags %q lack %q", link, want)
			}
		}
	}
}

func TestCacheFolder(t *testing.T) {
	home := t.TempDir()
	t.Setenv("XDG_CACHE_HOME", home)
	t.Setenv(CacheEnv, "")
	for _, test := range []struct {
		name, env, option, want string
	}{
		{"the user's own by default", "", "", filepath.Join(home, "flotilla")},
		{"moved by the environment", "/elsewhere", "", "/elsewhere"},
		{"chosen by the caller", "/elsewhere", "/chosen", "/chosen"},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Setenv(CacheEnv, test.env)
			got, err := CacheDir(test.option)
			if err != nil || got != test.want {
				t.Errorf("got %q, %v; want %q", got, err, test.want)
			}
		})
	}
}
