package bundlereader

import (
	"context"
	"maps"
	"slices"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/google/go-cmp/cmp"
)

// load returns the names of the files that a folder gives, and the findings.
func load(t testing.TB, files map[string]string) ([]string, []Finding, error) {
	t.Helper()
	tree := fstest.MapFS{}
	for name, content := range files {
		tree[name] = &fstest.MapFile{Data: []byte(content)}
	}
	var findings []Finding
	c := &contents{tree: tree, root: ".", limits: Limits{}.withDefaults(), report: func(f Finding) { findings = append(findings, f) }}
	err := c.load(context.Background())
	return slices.Sorted(maps.Keys(c.files)), findings, err
}

func TestFleetIgnore(t *testing.T) {
	for _, tc := range []struct {
		name  string
		files map[string]string
		want  []string
	}{
		{"a comment, and a name that looks like one",
			map[string]string{"something.yaml": "", "#something_else.yaml": "", ".fleetignore": "#something.yaml\n\\#something_else.yaml\n"},
			[]string{"something.yaml"}},
		{"a name that is not there",
			map[string]string{"something.yaml": "", "something_else.yaml": "", ".fleetignore": "not_here.txt\nsomething.yaml\n"},
			[]string{"something_else.yaml"}},
		{"a pattern",
			map[string]string{"something.yaml": "", "something_else.yaml": "", ".fleetignore": "something*"},
			nil},
		{"blanks at the end count only if escaped",
			map[string]string{"something.yaml ": "", "something_else.yaml  ": "", ".fleetignore": "something_else.yaml\\ \\ \nsomething.yaml \n"},
			[]string{"something.yaml "}},
		{"a folder",
			map[string]string{"something.yaml": "", "subdir/x.yaml": "", ".fleetignore": "subdir\n"},
			[]string{"something.yaml"}},
		{"a name counts at any depth",
			map[string]string{"something.yaml": "", "subdir/subsubdir/in_dir.yaml": "", ".fleetignore": "in_dir.yaml"},
			[]string{"something.yaml"}},
		{"siblings are not concerned",
			map[string]string{"subdir1/in_dir.yaml": "", "subdir1/.fleetignore": "in_dir.yaml", "subdir2/in_dir.yaml": ""},
			[]string{"subdir2/in_dir.yaml"}},
		{"patterns of the folders above add up",
			map[string]string{
				".fleetignore": "ignore-always.yaml", "ignore-always.yaml": "", "something.yaml": "",
				"foo/ignore-always.yaml": "", "foo/something.yaml": "",
				"bar/.fleetignore": "something.yaml", "bar/ignore-always.yaml": "", "bar/something.yaml": "", "bar/something2.yaml": "",
			},
			[]string{"bar/something2.yaml", "foo/something.yaml", "something.yaml"}},
		{"a folder only, at any depth",
			map[string]string{
				".fleetignore": "foo/*", "something.yaml": "", "foo/something.yaml": "",
				"bar/foo/something.yaml": "", "bar/something.yaml": "", "bar/something2.yaml": "",
			},
			[]string{"bar/something.yaml", "bar/something2.yaml", "something.yaml"}},
		{"a folder only, below the file",
			map[string]string{"foo/something.yaml": "", "bar/.fleetignore": "foo/*", "bar/foo/something.yaml": "", "bar/something.yaml": ""},
			[]string{"bar/something.yaml", "foo/something.yaml"}},
		{"a folder only, but it is a file",
			map[string]string{".fleetignore": "foo/*", "foo": "", "something.yaml": ""},
			[]string{"foo", "something.yaml"}},
		{"empty lines, and patterns with ? and [ ]", map[string]string{".fleetignore": "\na?.yaml\n\nb[12].yaml\n", "a1.yaml": "", "a.yaml": "", "b2.yaml": "", "b3.yaml": ""}, []string{"a.yaml", "b3.yaml"}},
		{"Windows line ends", map[string]string{".fleetignore": "a.yaml\r\nb.yaml\r\n", "a.yaml": "", "b.yaml": "", "c.yaml": ""}, []string{"c.yaml"}},
		{"hidden files and folders", map[string]string{".a.yaml": "", ".d/b.yaml": "", "c.yaml": "", "d/.e/f.yaml": ""}, []string{"c.yaml"}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			got, findings, err := load(t, tc.files)
			if err != nil || len(findings) > 0 {
				t.Fatalf("%v, findings %v", err, findings)
			}
			if diff := cmp.Diff(tc.want, got); diff != "" {
				t.Errorf("(-want +got)\n%s", diff)
			}
		})
	}
}

// TestFleetIgnoreKnowsNamesOnly: no paths, no folders between, no exceptions.
func TestFleetIgnoreKnowsNamesOnly(t *testing.T) {
	all := []string{"b.yaml", "d/a.yaml", "d/e/a.yaml"}
	for lines, want := range map[string][]string{
		"d/a.yaml\n":              all,
		"**/a.yaml\n":             all,
		"/b.yaml\n":               all,
		"d/e/*\n":                 all,
		"d/**\n":                  all,
		"*.yaml\n!b.yaml\n":       nil,
		"!b.yaml\na.yaml\n":       {"b.yaml"},
		"a.yaml\n!d/e/\nb.yaml\n": nil,
	} {
		got, findings, err := load(t, map[string]string{".fleetignore": lines, "b.yaml": "", "d/a.yaml": "", "d/e/a.yaml": ""})
		if err != nil || len(findings) != 1 || findings[0].Severity != Warning {
			t.Errorf("%q: %v, findings %v", lines, err, findings)
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%q (-want +got)\n%s", lines, diff)
		}
	}
}

func TestFleetIgnoreMistakes(t *testing.T) {
	for line, want := range map[string]Severity{"a[": Error, "[/*": Error, `a\`: Error, "a/b.yaml": Warning, "**/b": Warning, "!a.yaml": Warning, "/a.yaml": Warning} {
		_, findings := parseIgnore("# first\n\n" + line + "\nz.yaml")
		if len(findings) != 1 || findings[0].Severity != want || findings[0].Line != 3 {
			t.Errorf("%q gives %v, want one %s in line 3", line, findings, want)
		}
	}
}

func FuzzParseIgnore(f *testing.F) {
	for _, seed := range []string{"#a\n\\#b\n", "a\\ \nb \n", "foo/*", "[", "a[]b", "*\\", "\x00\xff", strings.Repeat("*a", 50)} {
		f.Add(seed, "some.yaml")
	}
	f.Fuzz(func(t *testing.T, content, name string) {
		patterns, findings := parseIgnore(content)
		for _, finding := range findings {
			if finding.Line < 1 || finding.Message == "" {
				t.Errorf("%q gives %+v", content, finding)
			}
		}
		if len(patterns) == 0 && ignored(patterns, name, false) {
			t.Error("nothing ignores something")
		}
		ignored(patterns, name, true)
	})
}
