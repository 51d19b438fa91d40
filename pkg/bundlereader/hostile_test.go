package bundlereader

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/google/go-cmp/cmp"
)

// read reads a tree given as path and content; a content that begins with "->"
// makes a symbolic link.
func read(t testing.TB, files map[string]string, o Options) Result {
	t.Helper()
	return readAs(t, "shop", files, o)
}

// readAs reads a tree for a GitRepo of the given name.
func readAs(t testing.TB, gitRepo string, files map[string]string, o Options) Result {
	t.Helper()
	tree := fstest.MapFS{}
	for name, content := range files {
		if target, isLink := strings.CutPrefix(content, "->"); isLink {
			tree[name] = &fstest.MapFile{Data: []byte(target), Mode: fs.ModeSymlink | 0o777}
			continue
		}
		tree[name] = &fstest.MapFile{Data: []byte(content), Mode: 0o644}
	}
	o.GitRepo = gitRepo
	result, err := Read(context.Background(), tree, o)
	if err != nil {
		t.Fatalf("Read: %v", err)
	}
	return result
}

// files returns the content of a bundle's resources by name.
func files(t testing.TB, r Result, bundle string) map[string]string {
	t.Helper()
	for _, b := range r.Bundles {
		if b.Name == bundle {
			out := map[string]string{}
			for _, resource := range b.Spec.Resources {
				out[resource.Name] = resource.Content
			}
			return out
		}
	}
	t.Fatalf("there is no bundle %s: %v", bundle, r.Findings)
	return nil
}

func TestLinksInsideOfTheFolder(t *testing.T) {
	tree := map[string]string{
		"app/fleet.yaml":      "",
		"app/real.yaml":       "a: 1\n",
		"app/dir/deep.yaml":   "b: 2\n",
		"app/link.yaml":       "->real.yaml",
		"app/dir/up.yaml":     "->../real.yaml",
		"app/again":           "->dir",
		"app/far.yaml":        "->again/up.yaml",
		"app/ignored":         "->../../outside",
		"app/.fleetignore":    "ignored\n",
		"app/.hidden":         "->/etc/passwd",
		"app/to-hidden.yaml":  "->.kept/x.yaml",
		"app/.kept/x.yaml":    "c: 3\n",
		"other/fleet.yaml":    "->../app/fleet.yaml",
		"alias":               "->app",
		"linked/fleet.yaml":   "->options",
		"linked/options":      "name: linked\n",
		"linked/linked.yaml":  "d: 4\n",
		"linked/.fleetignore": "->ignore",
		"linked/ignore":       "ignore\noptions\n",
	}
	got := read(t, tree, Options{Paths: []string{"app", "alias", "linked"}})
	want := map[string]string{
		"real.yaml": "a: 1\n", "dir/deep.yaml": "b: 2\n", "link.yaml": "a: 1\n", "dir/up.yaml": "a: 1\n",
		"again/deep.yaml": "b: 2\n", "again/up.yaml": "a: 1\n", "far.yaml": "a: 1\n", "to-hidden.yaml": "c: 3\n",
	}
	if diff := cmp.Diff(want, files(t, got, "shop-app")); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
	if diff := cmp.Diff(want, files(t, got, "shop-alias")); diff != "" {
		t.Errorf("a path that is a link (-want +got)\n%s", diff)
	}
	if diff := cmp.Diff(map[string]string{"linked.yaml": "d: 4\n"}, files(t, got, "linked")); diff != "" {
		t.Errorf("options that are links (-want +got)\n%s", diff)
	}
	if len(got.Findings) > 0 {
		t.Errorf("findings: %v", got.Findings)
	}
}

func TestLinksThatAreRefused(t *testing.T) {
	for name, tc := range map[string]struct {
		link, target, says string
	}{
		"out of the folder":     {"app/x.yaml", "../secret.yaml", "outside of the folder"},
		"out of the repository": {"app/x.yaml", "../../../etc/passwd", "outside of the folder"},
		"absolute":              {"app/x.yaml", "/etc/passwd", "outside of the folder"},
		"to the folder above":   {"app/x", "..", "outside of the folder"},
		"into a neighbour":      {"app/x.yaml", "../app-2/x.yaml", "outside of the folder"},
		"out and back in":       {"app/x.yaml", "../app/../secret.yaml", "outside of the folder"},
		"to nothing":            {"app/x.yaml", "nothing", "leads nowhere"},
		"to itself":             {"app/x.yaml", "x.yaml", "in a circle"},
		"to its own folder":     {"app/x", ".", "leads back"},
		"the fleet.yaml":        {"app/fleet.yaml", "../secret.yaml", "outside of the folder"},
		"the .fleetignore":      {"app/.fleetignore", "../secret.yaml", "outside of the folder"},
		"empty":                 {"app/x.yaml", "", "outside of the folder"},
	} {
		t.Run(name, func(t *testing.T) {
			tree := map[string]string{
				"secret.yaml": "password: x\n", "app/a.yaml": "a: 1\n", "app-2/x.yaml": "b: 2\n", "good/g.yaml": "g: 1\n",
				tc.link: "->" + tc.target,
			}
			got := read(t, tree, Options{Paths: []string{"app", "good"}})
			if len(got.Bundles) != 1 || got.Bundles[0].Name != "shop-good" {
				t.Errorf("bundles: %v", got.Bundles)
			}
			if len(got.Findings) != 1 || !strings.Contains(got.Findings[0].Message, tc.says) || !strings.HasPrefix(got.Findings[0].File, "app/") {
				t.Errorf("findings %v, want one that says %q", got.Findings, tc.says)
			}
			if diff := cmp.Diff([]string{"app"}, got.Failed); diff != "" {
				t.Errorf("failed: %s", diff)
			}
		})
	}
}

// Two links that point at each other's folders make a tree without end.
func TestLinksThatMultiply(t *testing.T) {
	tree := map[string]string{"app/a.yaml": "a: 1\n"}
	for i := range 20 {
		tree[fmt.Sprintf("app/l%d/x", i)] = fmt.Sprintf("->../l%d", (i+1)%20)
		tree[fmt.Sprintf("app/l%d/y", i)] = fmt.Sprintf("->../l%d", (i+2)%20)
	}
	got := read(t, tree, Options{Paths: []string{"app"}})
	if len(got.Failed) != 1 {
		t.Errorf("the folder was read: %v", got.Findings)
	}
}

func TestLimitsOfAFolder(t *testing.T) {
	deep := "app/" + strings.Repeat("d/", 70) + "x.yaml"
	many := map[string]string{"good/g.yaml": "g: 1\n"}
	for i := range 30 {
		many[fmt.Sprintf("app/f%d.yaml", i)] = "a: 1\n"
	}
	for name, tc := range map[string]struct {
		files  map[string]string
		limits Limits
		says   string
	}{
		"depth":  {map[string]string{"good/g.yaml": "g: 1\n", "app/a.yaml": "a: 1\n", deep: "a: 1\n"}, Limits{}, "nested more than 64 deep"},
		"files":  {many, Limits{MaxFiles: 20}, "more than 20 files"},
		"bytes":  {map[string]string{"good/g.yaml": "g: 1\n", "app/a.yaml": strings.Repeat("#", 200)}, Limits{MaxBytes: 100}, "more than 100 bytes"},
		"bundle": {map[string]string{"good/g.yaml": "g: 1\n", "app/a.yaml": strings.Repeat("# x\n", 2000)}, Limits{MaxBundleBytes: 2000}, "the limit is 2000"},
	} {
		t.Run(name, func(t *testing.T) {
			got := read(t, tc.files, Options{Paths: []string{"app", "good"}, Limits: tc.limits})
			if len(got.Bundles) != 1 || got.Bundles[0].Name != "shop-good" {
				t.Errorf("bundles: %v", got.Bundles)
			}
			if len(got.Findings) != 1 || !strings.Contains(got.Findings[0].Message, tc.says) {
				t.Errorf("findings %v, want one that says %q", got.Findings, tc.says)
			}
			if len(got.Failed) != 1 {
				t.Errorf("failed: %v", got.Failed)
			}
		})
	}
}

// What cannot be read is not what is not there: nothing may be concluded.
func TestTreeThatCannotBeRead(t *testing.T) {
	broken := errors.New("input/output error")
	base := fstest.MapFS{
		"a/fleet.yaml": {Data: []byte("name: a\n")}, "a/a.yaml": {Data: []byte("a: 1\n")},
		"b/fleet.yaml": {Data: []byte("helm: {chart: ./c, valuesFiles: [v.yaml]}\n")}, "b/v.yaml": {Data: []byte("a: 1\n")}, "b/c/Chart.yaml": {Data: []byte("name: c\n")},
		"c/l.yaml": {Data: []byte("k.yaml"), Mode: fs.ModeSymlink}, "c/k.yaml": {Data: []byte("a: 1\n")},
	}
	for _, name := range []string{"a", "a/fleet.yaml", "a/a.yaml", "b/v.yaml", "b/c", "c/k.yaml", "c/l.yaml", "."} {
		result, err := Read(context.Background(), brokenFS{base, name, broken}, Options{GitRepo: "shop", Paths: []string{"*"}})
		if !errors.Is(err, broken) {
			t.Errorf("%s cannot be read: got %v", name, err)
		}
		if len(result.Bundles) > 0 || len(result.EmptyPaths) > 0 {
			t.Errorf("%s cannot be read, but there is a result: %+v", name, result)
		}
	}
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if _, err := Read(ctx, base, Options{Paths: []string{"*"}}); !errors.Is(err, context.Canceled) {
		t.Errorf("an ended context: %v", err)
	}
	if _, err := Read(context.Background(), base, Options{Paths: []string{"*"}, Limits: Limits{MaxEntries: 3}}); !errors.Is(err, errTooMany) {
		t.Errorf("too many entries: %v", err)
	}
}

// brokenFS fails for one name.
type brokenFS struct {
	fstest.MapFS
	name string
	err  error
}

func (b brokenFS) fail(op, name string) error {
	if name != b.name {
		return nil
	}
	return &fs.PathError{Op: op, Path: name, Err: b.err}
}

func (b brokenFS) Open(name string) (fs.File, error) {
	if err := b.fail("open", name); err != nil {
		return nil, err
	}
	return b.MapFS.Open(name)
}

func (b brokenFS) ReadFile(name string) ([]byte, error) {
	if err := b.fail("read", name); err != nil {
		return nil, err
	}
	return b.MapFS.ReadFile(name)
}

func (b brokenFS) ReadDir(name string) ([]fs.DirEntry, error) {
	if err := b.fail("readdir", name); err != nil {
		return nil, err
	}
	return b.MapFS.ReadDir(name)
}

func (b brokenFS) ReadLink(name string) (string, error) {
	if err := b.fail("readlink", name); err != nil {
		return "", err
	}
	return b.MapFS.ReadLink(name)
}

// panicCharts stands for a mistake of ours.
type panicCharts struct{ ChartSource }

func TestPanicCostsOneBundle(t *testing.T) {
	got := read(t, map[string]string{"app/fleet.yaml": "helm: {chart: https://example.test/x.tgz}\n", "app/a.yaml": "a: 1\n", "good/g.yaml": "g: 1\n"},
		Options{Paths: []string{"app", "good"}, Charts: panicCharts{}})
	files(t, got, "shop-good")
	if len(got.Findings) != 1 || !strings.Contains(got.Findings[0].Message, "internal error") || len(got.Failed) != 1 {
		t.Errorf("findings %v, failed %v", got.Findings, got.Failed)
	}
}

func TestYAMLBombs(t *testing.T) {
	laughs := "a: &a [x, x, x, x, x, x, x, x, x]\n"
	for i, c := range "bcdefghi" {
		above := string(rune('a' + i))
		laughs += fmt.Sprintf("%c: &%c [*%s, *%s, *%s, *%s, *%s, *%s, *%s, *%s, *%s]\n", c, c, above, above, above, above, above, above, above, above, above)
	}
	for name, content := range map[string]string{
		"aliases":        "helm:\n  values:\n" + indent(laughs),
		"unknown fields": laughs,
		"a circle":       "helm: &h\n  values:\n    a: *h\n",
		"itself":         "&a [*a]\n",
		"deep lists":     "helm: {values: {a: " + strings.Repeat("[", 20000) + strings.Repeat("]", 20000) + "}}\n",
		"deep maps":      "helm:\n" + deepMaps(1000),
		"large":          "a: " + strings.Repeat("x", maxOptionsBytes),
		"bytes":          "\xff\xfe\x00\x01",
		"tags":           "name: !!binary aGVsbG8=\nhelm: !!set {a, b}\ntargets: !!omap [a: b]\n",
		"merges":         "a: &a {name: x}\n<<: [*a, *a]\nlabels: {<<: *a}\n",
	} {
		t.Run(name, func(t *testing.T) {
			got := read(t, map[string]string{"app/fleet.yaml": content, "app/a.yaml": "a: 1\n", "good/g.yaml": "g: 1\n"}, Options{Paths: []string{"app", "good"}})
			if !slices.ContainsFunc(got.Findings, func(f Finding) bool { return f.File == "app/fleet.yaml" }) {
				t.Errorf("there is no finding: %v", got.Findings)
			}
			if text, err := json.Marshal(got); err != nil || len(text) > 100_000 {
				t.Errorf("the result has %d bytes, %v", len(text), err)
			}
			files(t, got, "shop-good")
		})
	}
}

func TestMistakesAreFew(t *testing.T) {
	options, ignore := &strings.Builder{}, &strings.Builder{}
	for i := range 5000 {
		fmt.Fprintf(options, "namespac%d: x\n", i)
		fmt.Fprintf(ignore, "a/b%d\n", i)
	}
	got := read(t, map[string]string{"app/fleet.yaml": options.String(), "app/.fleetignore": ignore.String(), "app/a.yaml": "a: 1\n"}, Options{Paths: []string{"app"}})
	if len(got.Findings) != 2*(maxWarnings+1) {
		t.Errorf("%d findings, want %d", len(got.Findings), 2*(maxWarnings+1))
	}
}

func deepMaps(depth int) string {
	var text strings.Builder
	for i := range depth {
		text.WriteString(strings.Repeat(" ", i+1) + "a:\n")
	}
	return text.String()
}

func indent(text string) string {
	return "    " + strings.ReplaceAll(strings.TrimSpace(text), "\n", "\n    ") + "\n"
}

// The fuzzed text is a fleet.yaml: whatever it is, there is an answer, and
// every finding says where it belongs.
func FuzzParseOptions(f *testing.F) {
	examples, _ := filepath.Glob("testdata/*/tree/*/*/fleet.yaml")
	for _, name := range examples {
		content, err := os.ReadFile(name)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(content)
	}
	for _, seed := range []string{"", "a: &a [*a]", "<<: *x", "helm: {values: {a: 1}}\n---\nb: 2", "name: 0x1F\nlabels: {a: yes, b: 1.10, c: ~}", "targets: [{}]", "? [a]: b", "!!map {name: !!str 1}"} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, content []byte) {
		doc, findings := parseOptions(content)
		for _, finding := range findings {
			if finding.Message == "" || finding.Line < 0 {
				t.Errorf("%q gives %+v", content, finding)
			}
		}
		doc.position("targets", 0, "helm")
	})
}

// The fuzzed texts are a whole folder and the path that leads to it.
func FuzzRead(f *testing.F) {
	f.Add("*", "a", "name: x\nhelm: {chart: ./c, valuesFiles: [v.yaml]}", "a: 1\n---\nb: [", "../x")
	f.Add("[a-z]*/..", "a\\b", "kustomize: {dir: ..}", "{{", "")
	f.Add("a/**/b", "..", "overrideTargets: [{}]", "\xff", "a/../../b")
	f.Fuzz(func(t *testing.T, pattern, name, options, manifest, target string) {
		tree := fstest.MapFS{"d/fleet.yaml": {Data: []byte(options)}, "d/Chart.yaml": {Data: []byte(manifest)}, "d/m.yaml": {Data: []byte(manifest)}}
		if fs.ValidPath(name) && name != "." && !strings.HasPrefix(name, "d/") && name != "d" {
			tree[name+".yaml"] = &fstest.MapFile{Data: []byte(manifest)}
		}
		tree["d/link"] = &fstest.MapFile{Data: []byte(target), Mode: fs.ModeSymlink}
		result, err := Read(context.Background(), tree, Options{GitRepo: "shop", Paths: []string{pattern, "d"}})
		if err != nil {
			t.Fatalf("Read: %v", err)
		}
		for _, b := range result.Bundles {
			for _, resource := range b.Spec.Resources {
				if !fs.ValidPath(resource.Name) {
					t.Errorf("a resource is called %q", resource.Name)
				}
			}
		}
	})
}

// The fuzzed texts are a values file and the values that it is merged over:
// there is a bundle, or a finding that names the file.
func FuzzValuesFile(f *testing.F) {
	for _, seed := range []string{"a: 1\n", "a: {b: [1, 2]}\n---\nb: 2\n", "- 1\n", "null", "a: &a {b: *a}", "a: 0x1F\nb: 1e400\nc: .nan\n", "\ufeffa: 1", "\xff", "{\"a\": 1, \"a\": 2}", "<<: {a: 1}"} {
		f.Add([]byte(seed), []byte("a: {b: 1}\n"))
	}
	f.Fuzz(func(t *testing.T, values, over []byte) {
		got, err := Read(context.Background(), fstest.MapFS{
			"fleet.yaml":   {Data: []byte("helm: {chart: c, valuesFiles: [over.yaml, v.yaml]}\n")},
			"c/Chart.yaml": {Data: []byte("name: c\n")}, "v.yaml": {Data: values}, "over.yaml": {Data: over},
		}, Options{GitRepo: "shop"})
		if err != nil {
			t.Fatalf("Read: %v", err)
		}
		if len(got.Bundles) == 1 {
			if _, err := json.Marshal(got.Bundles[0].Spec); err != nil {
				t.Errorf("the bundle cannot be written: %v", err)
			}
			return
		}
		if !slices.ContainsFunc(got.Findings, func(f Finding) bool {
			return f.Severity == Error && (f.File == "v.yaml" || f.File == "over.yaml" || f.File == "fleet.yaml")
		}) {
			t.Errorf("there is no bundle, but the findings are %v", got.Findings)
		}
	})
}
