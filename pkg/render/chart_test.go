package render

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	fleet "github.com/flotilla-gitops/flotilla/pkg/apis/fleet.cattle.io/v1alpha1"
)

func TestChartDependencies(t *testing.T) {
	parent := func(dependency string) files {
		return files{
			"Chart.yaml":       chartFile("app") + "dependencies:\n- " + dependency + "\n",
			"values.yaml":      "db: {enabled: true}\ntags: {back: true}\n",
			"templates/a.yaml": configMap("a"),
		}
	}
	db := files{"charts/db/Chart.yaml": chartFile("db"), "charts/db/templates/db.yaml": configMap("db")}
	off := map[string]any{"db": map[string]any{"enabled": false}, "tags": map[string]any{"back": false}}
	for name, test := range map[string]struct {
		files  files
		values map[string]any
		want   []string
		err    string
	}{
		"that are there":                  {files: parent("{name: db, version: 1.x}").with(db), want: []string{"ConfigMap default/a", "ConfigMap default/db"}},
		"that are switched off":           {files: parent("{name: db, version: 1.x, condition: db.enabled}").with(db), values: off, want: []string{"ConfigMap default/a"}},
		"that are missing":                {files: parent("{name: db, version: 1.x, repository: 'https://u:hidden@example.org?x=hidden'}"), err: "Chart.yaml: the chart needs db 1.x of https://example.org, which is not in its charts/ folder"},
		"of another version":              {files: parent("{name: db, version: 2.x}").with(db), err: "the chart needs db 2.x"},
		"that are missing, under a name":  {files: parent("{name: db, alias: store, version: 1.x}"), err: "the chart needs db 1.x"},
		"missing and switched on":         {files: parent("{name: db, version: 1.x, condition: db.enabled}"), err: "the chart needs db 1.x"},
		"missing and switched off":        {files: parent("{name: db, version: 1.x, condition: db.enabled}"), values: off, want: []string{"ConfigMap default/a"}},
		"missing and switched off by tag": {files: parent("{name: db, version: 1.x, tags: [back]}"), values: off, want: []string{"ConfigMap default/a"}},
		"missing, alias and switched off": {files: parent("{name: db, alias: store, version: 1.x, tags: [back]}"), values: off, want: []string{"ConfigMap default/a"}},
	} {
		t.Run(name, func(t *testing.T) {
			in := test.files.input()
			in.Options.Helm = &fleet.HelmOptions{Values: &fleet.GenericMap{Data: test.values}}
			if test.err == "" {
				if diff := cmp.Diff(test.want, namesOf(t, in)); diff != "" {
					t.Error(diff)
				}
				return
			}
			_, err := Objects(in)
			wantError(t, err, test.err)
			if strings.Contains(err.Error(), "hidden") {
				t.Errorf("the error holds credentials: %v", err)
			}
		})
	}
}

// TestChartIsAllThatIsDeployed: beside a chart there are no plain manifests.
func TestChartIsAllThatIsDeployed(t *testing.T) {
	archive := fleet.HelmOptions{Chart: "https://example.org/app-1.0.tgz"}
	dir := downloaded(archive.Chart, "", "")
	for name, test := range map[string]struct {
		dir  string
		helm *fleet.HelmOptions
	}{
		"at the root":                {dir: ""},
		"in a named folder":          {dir: "chart/", helm: &fleet.HelmOptions{Chart: "./chart"}},
		"downloaded":                 {dir: dir + "/", helm: &archive},
		"downloaded, a folder below": {dir: dir + "/app/", helm: &archive},
	} {
		t.Run(name, func(t *testing.T) {
			in := files{
				test.dir + "Chart.yaml": chartFile("app"), test.dir + "templates/a.yaml": configMap("a"), test.dir + "loose.yaml": configMap("loose"),
				"beside.yaml": configMap("beside"), "folder/beside.yaml": configMap("beside-too"),
			}.input()
			in.Options.Helm = test.helm
			if diff := cmp.Diff([]string{"ConfigMap default/a"}, namesOf(t, in)); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestChartArchiveAsDependency(t *testing.T) {
	var archive bytes.Buffer
	zip := gzip.NewWriter(&archive)
	tarball := tar.NewWriter(zip)
	for name, content := range map[string]string{"db/Chart.yaml": chartFile("db"), "db/templates/db.yaml": configMap("db")} {
		if err := tarball.WriteHeader(&tar.Header{Name: name, Mode: 0o600, Size: int64(len(content))}); err != nil {
			t.Fatal(err)
		}
		if _, err := tarball.Write([]byte(content)); err != nil {
			t.Fatal(err)
		}
	}
	if err := tarball.Close(); err != nil {
		t.Fatal(err)
	}
	if err := zip.Close(); err != nil {
		t.Fatal(err)
	}
	in := files{"Chart.yaml": chartFile("app") + "dependencies: [{name: db, version: 1.x}]\n"}.input()
	in.Resources = append(in.Resources, fleet.BundleResource{
		Name: "charts/db-1.0.0.tgz", Content: compressed(t, archive.Bytes()), Encoding: "base64+gz",
	})
	if diff := cmp.Diff([]string{"ConfigMap default/db"}, namesOf(t, in)); diff != "" {
		t.Error(diff)
	}
}

func TestChartRefuses(t *testing.T) {
	for name, test := range map[string]struct {
		files files
		want  string
	}{
		"a Chart.yaml that does not parse": {files{"Chart.yaml": "name: [\n"}, "Chart.yaml:1: loading the chart: "},
		"a Chart.yaml of another type":     {files{"Chart.yaml": "- hidden\n"}, "Chart.yaml: loading the chart: a value is of type array, where another type belongs"},
		"a Chart.yaml without a name":      {files{"Chart.yaml": "apiVersion: v2\nversion: 1.0.0\n"}, "Chart.yaml: loading the chart: validation: chart.metadata.name is required"},
		"a Chart.yaml with a bad version":  {files{"Chart.yaml": "apiVersion: v2\nname: x\nversion: one\n"}, `chart.metadata.version "one" is invalid`},
		"a name that leads out":            {files{"Chart.yaml": "apiVersion: v2\nname: ../x\nversion: 1.0.0\n"}, "Chart.yaml: loading the chart: validation: chart.metadata.name"},
		"values that do not parse":         {files{"Chart.yaml": chartFile("x"), "values.yaml": "a: [\n"}, "values.yaml:1: loading the chart: "},
		"values that are a list":           {files{"Chart.yaml": chartFile("x"), "values.yaml": "- hidden\n"}, "values.yaml: loading the chart: a value is of type array, where another type belongs"},
		"a library":                        {files{"Chart.yaml": chartFile("x") + "type: library\n"}, "Chart.yaml: a library chart cannot be deployed"},
		"a subchart that is broken":        {files{"Chart.yaml": chartFile("x"), "charts/sub/Chart.yaml": "name: [\n"}, "Chart.yaml"},
		"an archive that is none":          {files{"Chart.yaml": chartFile("x"), "charts/y.tgz": "hidden"}, "loading the chart: "},
		"a schema that reads a file":       {files{"Chart.yaml": chartFile("x"), "values.schema.json": `{"properties": {"a": {"$ref": "file:///etc/hostname"}}}`}, "values.schema.json: the schema refers to the file file:///etc/hostname; a schema cannot read files"},
		"a schema of a subchart that does": {files{"Chart.yaml": chartFile("x"), "charts/sub/Chart.yaml": chartFile("sub"), "charts/sub/values.schema.json": `{"$ref": "other.json"}`}, "charts/sub/values.schema.json: the schema refers to the file file:///other.json"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := Objects(test.files.input())
			wantError(t, err, test.want)
			if strings.Contains(err.Error(), "hidden") {
				t.Errorf("the error quotes the content: %v", err)
			}
		})
	}
}

func TestFileReference(t *testing.T) {
	for schema, want := range map[string]string{
		`{"type": "object"}`: "",
		`no JSON`:            "",
		`{"$ref": "#/definitions/a", "definitions": {"a": {}}}`:                  "",
		`{"$schema": "https://json-schema.org/draft/2020-12/schema"}`:            "",
		`{"$ref": "https://example.org/x.json"}`:                                 "",
		`{"$ref": "values.schema.json#/a"}`:                                      "",
		`{"$id": "https://example.org/a/b.json", "$ref": "c.json"}`:              "",
		`{"$id": "mine.json", "$ref": "mine.json#/x"}`:                           "",
		`{"properties": {"$ref": {"type": "string"}, "id": {"type": "string"}}}`: "",
		`{"$ref": "c.json"}`: "file:///c.json",
		`{"items": [{"$ref": "../etc/x"}, {"$ref": "FILE:///a"}]}`:               "file:///a",
		`{"$schema": "file:///etc/x"}`:                                           "file:///etc/x",
		`{"$dynamicRef": "/etc/x"}`:                                              "file:///etc/x",
		`{"$id": "file:///etc/x", "$ref": "file:///etc/x"}`:                      "file:///etc/x",
		`{"id": "file:///etc/", "items": {"$ref": "x"}}`:                         "file:///etc/x",
		`{"$defs": {"$id": "https://example.org/x", "a": {}}, "$ref": "y.json"}`: "file:///y.json",
	} {
		if got := fileReference([]byte(schema)); got != want {
			t.Errorf("%s: got %q, want %q", schema, got, want)
		}
	}
}

func TestSkippedSchemas(t *testing.T) {
	in := files{
		"Chart.yaml": chartFile("x"), "templates/a.yaml": configMap("a"),
		"values.schema.json": `{"required": ["never"], "properties": {"a": {"$ref": "file:///nowhere/x"}}}`,
	}.input()
	in.Options.Helm = &fleet.HelmOptions{SkipSchemaValidation: ptr(true)}
	if diff := cmp.Diff([]string{"ConfigMap default/a"}, namesOf(t, in)); diff != "" {
		t.Error(diff)
	}
}
