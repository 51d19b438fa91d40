package render

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"reflect"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"
	"sigs.k8s.io/kustomize/api/types"

	fleet "github.com/flotilla-gitops/flotilla/pkg/apis/fleet.cattle.io/v1alpha1"
)

func kustomized(f files, dir string) Input {
	in := f.input()
	in.Options.Kustomize = &fleet.KustomizeOptions{Dir: dir}
	return in
}

func TestKustomization(t *testing.T) {
	base := files{
		"base/kustomization.yaml": "resources: [a.yaml]\n",
		"base/a.yaml":             configMap("a"),
		"unrelated.yaml":          configMap("unrelated"),
	}
	for name, test := range map[string]struct {
		in   Input
		want []string
	}{
		"nothing but what it lists": {
			in:   kustomized(base, "base"),
			want: []string{"ConfigMap default/a"},
		},
		"bases, components and inline transformers": {
			in: kustomized(base.with(files{
				"dev/kustomization.yaml": `
bases: [../base]
components: [../part]
transformers:
- |
  apiVersion: builtin
  kind: PrefixTransformer
  metadata: {name: unimportant}
  prefix: x-
  fieldSpecs: [{path: metadata/name}]
- suffix.yaml
`,
				"dev/suffix.yaml":         "apiVersion: builtin\nkind: SuffixTransformer\nmetadata: {name: s}\nsuffix: -y\nfieldSpecs: [{path: metadata/name}]\n",
				"part/kustomization.yaml": "apiVersion: kustomize.config.k8s.io/v1alpha1\nkind: Component\nresources: [b.yaml]\n",
				"part/b.yaml":             configMap("b"),
			}), "dev"),
			want: []string{"ConfigMap default/x-a-y", "ConfigMap default/x-b-y"},
		},
		"its own namespace": {
			in:   kustomized(files{"kustomization.yaml": "namespace: own\nresources: [a.yaml]\n", "a.yaml": configMap("a")}, ""),
			want: []string{"ConfigMap own/a"},
		},
		"the chart's manifests": {
			in: func() Input {
				in := kustomized(files{
					"c/Chart.yaml":         chartFile("c"),
					"c/templates/a.yaml":   configMap("{{ .Release.Name }}"),
					"k/kustomization.yaml": "nameSuffix: -z\n",
				}, "k")
				in.Options.Helm = &fleet.HelmOptions{Chart: "c", ReleaseName: "rel"}
				return in
			}(),
			want: []string{"ConfigMap default/rel-z"},
		},
		"the chart's manifests, listed": {
			in: func() Input {
				return files{
					"Chart.yaml":         chartFile("c"),
					"templates/a.yaml":   configMap("a"),
					"kustomization.yaml": "resources: [fleet-manifests.yaml, b.yaml]\n",
					"b.yaml":             configMap("b"),
				}.input()
			}(),
			want: []string{"ConfigMap default/a", "ConfigMap default/b"},
		},
		"a chart that renders nothing": {
			in: files{
				"Chart.yaml":         chartFile("c"),
				"templates/a.yaml":   "{{ if false }}" + configMap("a") + "{{ end }}",
				"kustomization.yaml": "resources: [b.yaml]\n",
				"b.yaml":             configMap("b"),
			}.input(),
			want: []string{"ConfigMap default/b"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			if diff := cmp.Diff(test.want, namesOf(t, test.in)); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestKustomizationRefuses(t *testing.T) {
	one := func(kustomization string) files {
		return files{"kustomization.yaml": kustomization, "a.yaml": configMap("a"), "sub/kustomization.yaml": "resources: [../a.yaml]\n"}
	}
	twice := files{"d0/kustomization.yaml": "resources: [a.yaml]\n", "d0/a.yaml": configMap("a"), "kustomization.yaml": "resources: [d11]\n"}
	for i := 1; i <= 11; i++ {
		twice[fmt.Sprintf("d%d/kustomization.yaml", i)] = fmt.Sprintf("resources: [../d%d, ../d%d/.]\n", i-1, i-1)
	}
	for name, test := range map[string]struct {
		files files
		want  string
	}{
		"an unknown field":        {one("resources: [a.yaml]\nhidden: 1\n"), "kustomization.yaml: reading the kustomization: "},
		"what does not parse":     {one("resources: [a.yaml\n"), "kustomization.yaml:"},
		"a missing file":          {one("resources: [b.yaml]\n"), "kustomization.yaml: there is no b.yaml in the bundle"},
		"a folder without one":    {one("resources: [a.yaml, dir]\n").with(files{"dir/x.txt": ""}), "dir: the folder holds no kustomization"},
		"a way out of the bundle": {one("resources: [../../base]\n"), "kustomization.yaml: ../../base lies outside of the bundle's folder"},
		"a file outside its root": {one("resources: [sub]\n"), "kustomization.yaml: running kustomize: "},
		"itself":                  {one("resources: [sub]\n").with(files{"sub/kustomization.yaml": "resources: [../sub2]\n", "sub2/kustomization.yaml": "resources: [../sub]\n"}), "the kustomization includes itself"},
		"what doubles":            {twice, "the kustomization includes more than 1000 others"},
		"charts of its own":       {one("helmCharts: [{name: x, repo: 'https://example.org'}]\n"), "helmCharts is not supported"},
		"an aliases bomb":         {one("resources: [a.yaml]\n").with(files{"a.yaml": bomb(8)}), "a.yaml: the aliases of the YAML expand to too much"},
		"an executable plugin":    {one("generators: [g.yaml]\n").with(files{"g.yaml": "apiVersion: example.org/v1\nkind: Evil\nmetadata: {name: x, annotations: {config.kubernetes.io/function: 'exec: {path: /bin/true}'}}\n"}), "kustomization.yaml: running kustomize: "},
		"a container plugin":      {one("transformers: [g.yaml]\n").with(files{"g.yaml": "apiVersion: example.org/v1\nkind: Evil\nmetadata: {name: x, annotations: {config.kubernetes.io/function: 'container: {image: evil}'}}\n"}), "kustomization.yaml: running kustomize: "},
		"a folder of plugins":     {one("transformers: [sub]\n"), "kustomization.yaml: sub is no file of the bundle: generators, transformers and validators are given as files or inline"},
		"a patch without a target": {
			one("resources: [a.yaml]\npatches: [{patch: '{apiVersion: v1, kind: Secret, metadata: {name: nowhere}, data: {x: hidden}}'}]\n"),
			"kustomization.yaml: running kustomize: ",
		},
		"a patch that is none": {one("resources: [a.yaml]\npatches:\n- patch: |\n    hidden\n    hidden\n"), "kustomization.yaml: running kustomize: "},
		"a patch that does not parse": {
			one("resources: [a.yaml]\npatches:\n- patch: |\n    apiVersion: v1\n    kind: [hidden\n    data: hidden\n"), "kustomization.yaml: running kustomize: ",
		},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := Objects(test.files.input())
			wantError(t, err, test.want)
			if strings.Contains(strings.ReplaceAll(err.Error(), `unknown field "hidden"`, ""), "hidden") {
				t.Errorf("the error quotes the content: %v", err)
			}
		})
	}
	t.Run("a file in the place of the chart's manifests", func(t *testing.T) {
		_, err := Objects(files{
			"Chart.yaml": chartFile("c"), "templates/a.yaml": configMap("a"),
			"kustomization.yaml": "namePrefix: x\n", "fleet-manifests.yaml": configMap("b"),
		}.input())
		wantError(t, err, "fleet-manifests.yaml: the name is reserved for the manifests of the chart")
	})
}

// TestKustomizationIsLocal gives kustomize an address to fetch in every place
// that it fetches from, and counts the requests that arrive.
func TestKustomizationIsLocal(t *testing.T) {
	var mu sync.Mutex
	requests := 0
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		mu.Lock()
		defer mu.Unlock()
		requests++
		w.WriteHeader(http.StatusNotFound)
	}))
	defer server.Close()
	url := server.URL + "/x.yaml"
	plugin := func(kind, field string) string {
		return "generators:\n- |\n  apiVersion: builtin\n  kind: " + kind + "\n  metadata: {name: x}\n  " + field + "\nresources: [a.yaml]\n"
	}
	for name, kustomization := range map[string]string{
		"resources":             "resources: ['" + url + "']\n",
		"bases":                 "bases: ['" + url + "']\n",
		"components":            "components: ['" + url + "']\n",
		"crds":                  "resources: [a.yaml]\ncrds: ['" + url + "']\n",
		"configurations":        "resources: [a.yaml]\nconfigurations: ['" + url + "']\n",
		"openapi":               "resources: [a.yaml]\nopenapi: {path: '" + url + "'}\n",
		"patches":               "resources: [a.yaml]\npatches: [{path: '" + url + "'}]\n",
		"patchesStrategicMerge": "resources: [a.yaml]\npatchesStrategicMerge: ['" + url + "']\n",
		"patchesJson6902":       "resources: [a.yaml]\npatchesJson6902: [{path: '" + url + "', target: {kind: ConfigMap, name: a, version: v1}}]\n",
		"replacements":          "resources: [a.yaml]\nreplacements: [{path: '" + url + "'}]\n",
		"files":                 "configMapGenerator: [{name: x, files: ['k=" + url + "']}]\n",
		"unnamed files":         "configMapGenerator: [{name: x, files: ['" + url + "']}]\n",
		"envs":                  "secretGenerator: [{name: x, envs: ['" + url + "']}]\n",
		"env":                   "configMapGenerator: [{name: x, env: '" + url + "'}]\n",
		"secret files":          "secretGenerator: [{name: x, files: ['" + url + "']}]\n",
		"generators":            "resources: [a.yaml]\ngenerators: ['" + url + "']\n",
		"transformers":          "resources: [a.yaml]\ntransformers: ['" + url + "']\n",
		"validators":            "resources: [a.yaml]\nvalidators: ['" + url + "']\n",
		"a generator's files":   plugin("ConfigMapGenerator", "files: ['k="+url+"']"),
		"a generator's envs":    plugin("SecretGenerator", "envs: ['"+url+"']"),
		"a patch plugin":        "transformers:\n- |\n  apiVersion: builtin\n  kind: PatchTransformer\n  metadata: {name: x}\n  path: " + url + "\nresources: [a.yaml]\n",
		"a value plugin":        "transformers:\n- |\n  apiVersion: builtin\n  kind: ValueAddTransformer\n  metadata: {name: x}\n  targetFilePath: " + url + "\n  targets: []\nresources: [a.yaml]\n",
		"a plugin in a file":    "transformers: [plugin.yaml]\nresources: [a.yaml]\n",
		"a base's resources":    "resources: [base]\n",
		"an upper-case scheme":  "resources: ['" + strings.ToUpper(url[:4]) + url[4:] + "']\n",
		"a git clone":           "resources: ['git::" + server.URL + "/repo.git//dir?ref=main']\n",
	} {
		t.Run(name, func(t *testing.T) {
			_, err := Objects(files{
				"kustomization.yaml":      kustomization,
				"a.yaml":                  configMap("a"),
				"base/kustomization.yaml": "resources: ['" + url + "']\n",
				"plugin.yaml":             "apiVersion: builtin\nkind: PatchTransformer\nmetadata: {name: x}\npath: " + url + "\n",
			}.input())
			wantError(t, err, "is remote: a kustomization is built from the files of its bundle only", strings.ToLower(server.URL))
		})
	}
	if requests != 0 {
		t.Errorf("kustomize made %d requests", requests)
	}
}

func TestRemote(t *testing.T) {
	for ref, want := range map[string]bool{
		"https://example.org/x":        true,
		"HTTP://example.org/x":         true,
		"http:x":                       true,
		"ssh://git@example.org/a/b":    true,
		"file:///srv/repo":             true,
		"git@example.org:a/b.git":      true,
		"user@host/a":                  true,
		"github.com/a/b?ref=v1":        true,
		"GitHub.com:a/b":               true,
		"git::https://example.org/a/b": true,
		"git::x":                       true,
		"git::git::ssh://x":            true,
		"s3://bucket/x":                true,
		"base@2":                       true, // for kustomize a user and a host, if only a path followed

		"../base":                        false,
		"./github.com/a":                 false,
		"a.yaml":                         false,
		"":                               false,
		"a:b.yaml":                       false,
		"apiVersion: v1\nkind: X\na: @b": false,
		"metadata/annotations":           false,
	} {
		if got := remote.MatchString(ref); got != want {
			t.Errorf("%q: got %v", ref, got)
		}
	}
	wantError(t, checkLocal("f", "https://user:pw@example.org/x?token=pw"), "https://example.org/x is remote")
	if text := checkLocal("f", "https://user:pw@example.org/x?token=pw").Error(); strings.Contains(text, "pw") {
		t.Errorf("credentials in %s", text)
	}
}

// TestEveryKustomizationFieldIsKnown fails when a new version of kustomize has a
// field that no one has decided on: does kustomize read what it names?
func TestEveryKustomizationFieldIsKnown(t *testing.T) {
	known := []string{
		// Checked by checkReferences.
		"OpenAPI", "PatchesStrategicMerge", "PatchesJson6902", "Patches", "Replacements", "Resources", "Components", "Crds", "Bases",
		"ConfigMapGenerator", "SecretGenerator", "HelmCharts", "HelmChartInflationGenerator",
		"Configurations", "Generators", "Transformers", "Validators",
		// These name no files.
		"TypeMeta", "MetaData", "NamePrefix", "NameSuffix", "Namespace", "CommonLabels", "Labels", "CommonAnnotations",
		"Images", "ImageTags", "Replicas", "Vars", "SortOptions", "GeneratorOptions", "BuildMetadata", "HelmGlobals",
	}
	fields := reflect.TypeOf(types.Kustomization{})
	for i := range fields.NumField() {
		if name := fields.Field(i).Name; !slices.Contains(known, name) {
			t.Errorf("the field %s is new: teach checkReferences whether it names files", name)
		}
	}
}

// TestKustomizationsAtOnce is for the race detector: kustomize has globals.
func TestKustomizationsAtOnce(t *testing.T) {
	in := files{
		"kustomization.yaml": "resources: [a.yaml]\nnamePrefix: x-\nopenapi: {version: v1.21.2}\n",
		"a.yaml":             deployment,
	}.input()
	var group sync.WaitGroup
	for range 4 {
		group.Go(func() {
			if _, err := Objects(in); err != nil {
				t.Error(err)
			}
		})
	}
	group.Wait()
}
