// Package tools holds the scripts that build and check Flotilla, and the tests of its own rules.
package tools

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"sigs.k8s.io/yaml"
)

const module = "github.com/flotilla-gitops/flotilla/"

// everything is the layer of what may import anything and what nothing below imports: tests and developers' tools.
const everything = 6

// layers is the one table of the layers that docs/architecture.md explains. A unit may import units of lower
// layers and itself, with all that is below its folder; never a unit of its own layer.
// A folder with units below it is itself only the package there.
var layers = map[string]int{
	"pkg/apis":      0,
	"pkg/names":     0,
	"pkg/transport": 0,
	"pkg/version":   0,

	"pkg/bundle":    1,
	"pkg/bundleset": 1,
	"pkg/copies":    1,
	"pkg/delivery":  1,
	"pkg/drift":     1,
	"pkg/joining":   1,
	"pkg/ownership": 1,
	"pkg/policy":    1,
	"pkg/polling":   1,
	"pkg/rollout":   1,
	"pkg/status":    1,
	"pkg/targeting": 1,

	"pkg/bundlereader": 2,
	"pkg/kube":         2,
	"pkg/release":      2,
	"pkg/render":       2,
	"pkg/source":       2,
	"pkg/webhook":      2,

	"pkg/agent/deployments":        3,
	"pkg/agent/heartbeat":          3,
	"pkg/agent/registration":       3,
	"pkg/manager/auditor":          3,
	"pkg/manager/bundles":          3,
	"pkg/manager/clustergroups":    3,
	"pkg/manager/clusters":         3,
	"pkg/manager/garbagecollector": 3,
	"pkg/manager/gitrepos":         3,
	"pkg/manager/registrations":    3,
	"pkg/manager/unsupported":      3,
	"pkg/manager/webhooks":         3,

	"pkg/agent":   4,
	"pkg/manager": 4,

	"cmd/agent":    5,
	"cmd/flotilla": 5,
	"cmd/manager":  5,

	"dev":              everything,
	"e2e":              everything,
	"integrationtests": everything,
}

// unit is the folder of the table that a package belongs to.
type unit struct {
	dir   string
	layer int
}

// unitOf finds the unit of a package, which is given by its path below the module.
func unitOf(pkg string) (unit, bool) {
	for dir := pkg; dir != "."; dir = path.Dir(dir) {
		if layer, ok := layers[dir]; ok {
			return unit{dir: dir, layer: layer}, dir == pkg || !hasUnits(dir)
		}
	}
	return unit{}, false
}

// hasUnits tells whether there are units below a folder.
func hasUnits(dir string) bool {
	for other := range layers {
		if strings.HasPrefix(other, dir+"/") {
			return true
		}
	}
	return false
}

// mayImport tells whether a package of one unit may import a package of the other.
func mayImport(from, to unit) bool {
	return from.dir == to.dir || to.layer < from.layer || from.layer == everything
}

// pkg is what `go list` tells of a package.
type pkg struct {
	ImportPath   string
	Imports      []string
	TestImports  []string
	XTestImports []string
}

func list(t *testing.T) []pkg {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "go", "list", "-e", "-json=ImportPath,Imports,TestImports,XTestImports", module+"...")
	cmd.Dir = root(t)
	cmd.Stderr = os.Stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("listing packages: %v", err)
	}
	var pkgs []pkg
	for dec := json.NewDecoder(strings.NewReader(string(out))); dec.More(); {
		var p pkg
		if err := dec.Decode(&p); err != nil {
			t.Fatalf("reading the list of packages: %v", err)
		}
		pkgs = append(pkgs, p)
	}
	return pkgs
}

func root(t *testing.T) string {
	t.Helper()
	dir, err := filepath.Abs("../..")
	if err != nil {
		t.Fatal(err)
	}
	return dir
}

// wrongImports names every import of the packages that the layers forbid. Tests keep to the layers of the package
// that they test, but may start what dev/ has for them, such as a git server.
func wrongImports(pkgs []pkg) []string {
	var wrong []string
	for _, p := range pkgs {
		name := strings.TrimPrefix(p.ImportPath, module)
		from, ok := unitOf(name)
		if !ok {
			wrong = append(wrong, fmt.Sprintf("%s has no layer: add it to the table in dev/tools/layers_test.go", name))
			continue
		}
		check := func(imports []string, allowed func(unit) bool) {
			for _, importPath := range imports {
				imported, ours := strings.CutPrefix(importPath, module)
				to, ok := unitOf(imported)
				if ours && ok && !allowed(to) {
					wrong = append(wrong, fmt.Sprintf("%s (layer %d) imports %s (layer %d)", name, from.layer, imported, to.layer))
				}
			}
		}
		check(p.Imports, func(to unit) bool { return mayImport(from, to) })
		check(slices.Concat(p.TestImports, p.XTestImports), func(to unit) bool { return mayImport(from, to) || to.dir == "dev" })
	}
	return wrong
}

func TestPackagesImportOnlyLowerLayers(t *testing.T) {
	pkgs := list(t)
	if len(pkgs) < 2 {
		t.Fatalf("found only %d packages", len(pkgs))
	}
	for _, w := range wrongImports(pkgs) {
		t.Error(w)
	}
}

func TestEveryUnitOfTheTableExists(t *testing.T) {
	for dir := range layers {
		if _, err := os.Stat(filepath.Join(root(t), dir)); err != nil {
			t.Errorf("the table has %s, which is gone: %v", dir, err)
		}
	}
}

func TestWrongImportsAreFound(t *testing.T) {
	tests := []struct {
		name  string
		pkg   pkg
		wrong int
	}{
		{"lower layer", pkg{ImportPath: "pkg/rollout", Imports: []string{"pkg/apis/fleet.cattle.io/v1alpha1", "pkg/names"}}, 0},
		{"own layer", pkg{ImportPath: "pkg/rollout", Imports: []string{"pkg/targeting"}}, 1},
		{"own layer, below", pkg{ImportPath: "pkg/render", Imports: []string{"pkg/bundlereader/charts"}}, 1},
		{"own folder", pkg{ImportPath: "pkg/bundlereader", Imports: []string{"pkg/bundlereader/charts"}}, 0},
		{"higher layer", pkg{ImportPath: "pkg/targeting", Imports: []string{"pkg/kube"}}, 1},
		{"another controller", pkg{ImportPath: "pkg/manager/bundles", Imports: []string{"pkg/manager/gitrepos"}}, 1},
		{"the other side's controller", pkg{ImportPath: "pkg/manager/bundles", Imports: []string{"pkg/agent/heartbeat"}}, 1},
		{"a controller's wiring", pkg{ImportPath: "pkg/manager/bundles", Imports: []string{"pkg/manager"}}, 1},
		{"wiring to its controllers", pkg{ImportPath: "pkg/manager", Imports: []string{"pkg/manager/bundles", "pkg/kube"}}, 0},
		{"one wiring to the other", pkg{ImportPath: "pkg/manager", Imports: []string{"pkg/agent"}}, 1},
		{"a command to its wiring", pkg{ImportPath: "cmd/manager", Imports: []string{"pkg/manager"}}, 0},
		{"a command to developers' tools", pkg{ImportPath: "cmd/manager", Imports: []string{"dev/gitserver"}}, 1},
		{"a test to developers' tools", pkg{ImportPath: "pkg/source", XTestImports: []string{"pkg/source", "dev/gitserver"}}, 0},
		{"a test to a higher layer", pkg{ImportPath: "pkg/source", TestImports: []string{"pkg/manager"}}, 1},
		{"end to end", pkg{ImportPath: "e2e/firstrun", XTestImports: []string{"cmd/manager", "dev/playground", "pkg/agent"}}, 0},
		{"no layer", pkg{ImportPath: "pkg/helpers"}, 1},
		{"a controller without a layer", pkg{ImportPath: "pkg/manager/schedules"}, 1},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			p := pkg{ImportPath: module + tt.pkg.ImportPath}
			for _, to := range tt.pkg.Imports {
				p.Imports = append(p.Imports, module+to)
			}
			for _, to := range tt.pkg.TestImports {
				p.TestImports = append(p.TestImports, module+to)
			}
			for _, to := range tt.pkg.XTestImports {
				p.XTestImports = append(p.XTestImports, module+to)
			}
			if got := wrongImports([]pkg{p}); len(got) != tt.wrong {
				t.Errorf("got %q, want %d", got, tt.wrong)
			}
		})
	}
}

// depguardRule is a rule of the linter. A denied path is a prefix, or the whole path where it ends in "$"; of a denied and
// an allowed path that match, the longer one decides.
type depguardRule struct {
	Files []string
	Deny  []struct{ Pkg string }
	Allow []string
}

func (r depguardRule) denies(path string) bool {
	denied, allowed := 0, 0
	for _, d := range r.Deny {
		denied = max(denied, matched(d.Pkg, path))
	}
	for _, a := range r.Allow {
		allowed = max(allowed, matched(a, path))
	}
	return denied > allowed
}

// matched returns the length of the pattern where it matches, else 0.
func matched(pattern, path string) int {
	exact, whole := strings.CutSuffix(pattern, "$")
	if whole && path == exact || !whole && strings.HasPrefix(path, pattern) {
		return len(pattern)
	}
	return 0
}

type linterConfig struct {
	Linters struct {
		Settings struct {
			Depguard struct{ Rules map[string]depguardRule }
		}
		Exclusions struct {
			Rules []struct {
				Text       string
				PathExcept string `json:"path-except"`
			}
		}
	}
}

func readLinterConfig(t *testing.T) linterConfig {
	t.Helper()
	data, err := os.ReadFile(filepath.Join(root(t), ".golangci.yml"))
	if err != nil {
		t.Fatal(err)
	}
	var config linterConfig
	if err := yaml.Unmarshal(data, &config); err != nil {
		t.Fatal(err)
	}
	return config
}

func TestLinterKeepsLayer1Pure(t *testing.T) {
	config := readLinterConfig(t)
	var clockFree []*regexp.Regexp
	for _, rule := range config.Linters.Exclusions.Rules {
		if rule.Text == "pure:" {
			clockFree = append(clockFree, regexp.MustCompile(rule.PathExcept))
		}
	}
	if len(clockFree) != 1 {
		t.Fatalf("got %d exclusions with the text pure:, want 1", len(clockFree))
	}
	for dir, layer := range layers {
		if got := clockFree[0].MatchString(dir + "/x.go"); got != (layer == 1) {
			t.Errorf("forbidigo keeps clocks out of %s: %t, but it is in layer %d", dir, got, layer)
		}
		if got := slices.Contains(config.Linters.Settings.Depguard.Rules["pure"].Files, "**/"+dir+"/**"); got != (layer == 1) {
			t.Errorf("depguard keeps clients out of %s: %t, but it is in layer %d", dir, got, layer)
		}
	}
}

func TestLinterKnowsTheLayers(t *testing.T) {
	config := readLinterConfig(t)
	for from, layer := range layers {
		if layer == everything {
			continue
		}
		name := fmt.Sprintf("layer-%d", layer)
		rule := config.Linters.Settings.Depguard.Rules[name]
		if !slices.ContainsFunc(rule.Files, func(glob string) bool {
			return glob == "**/"+from+"/*.go" || glob == "**/"+from+"/**"
		}) {
			t.Errorf("depguard's rule %s is not for the files of %s", name, from)
		}
		for to, toLayer := range layers {
			want := !mayImport(unit{dir: from, layer: layer}, unit{dir: to, layer: toLayer})
			if importPath := module + to; from != to && rule.denies(packageOf(importPath)) != want {
				t.Errorf("depguard's rule %s denies an import of %s: %t, want %t", name, to, !want, want)
			}
		}
	}
}

// packageOf returns a package of a unit, for units that have none in their folder itself.
func packageOf(importPath string) string {
	switch strings.TrimPrefix(importPath, module) {
	case "pkg/apis":
		return importPath + "/fleet.cattle.io/v1alpha1"
	case "dev":
		return importPath + "/controlplane"
	case "e2e", "integrationtests":
		return importPath + "/harness"
	}
	return importPath
}
