package bundlereader

import (
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"k8s.io/utils/ptr"

	fleet "github.com/flotilla-gitops/flotilla/pkg/apis/fleet.cattle.io/v1alpha1"
)

// The tables of this file are facts of Fleet that users rely on: which folders
// become bundles, under which names, with which files and targets.

func bundleNames(r Result) []string {
	var found []string
	for _, b := range r.Bundles {
		found = append(found, b.Name)
	}
	return found
}

func TestWhichFoldersBecomeBundles(t *testing.T) {
	const object = "a: 1\n"
	for name, tc := range map[string]struct {
		tree    map[string]string
		paths   []string
		bundles []fleet.BundlePath
		want    []string
		empty   []string
	}{
		"no paths mean the root":                     {tree: map[string]string{"a.yaml": object}, want: []string{"shop"}},
		"a leading slash":                            {tree: map[string]string{"app/a.yaml": object}, paths: []string{"/app"}, want: []string{"shop-app"}},
		"a slash alone":                              {tree: map[string]string{"app/a.yaml": object}, paths: []string{"/"}, want: []string{"shop"}},
		"a pattern":                                  {tree: map[string]string{"apps/a/x.yaml": object, "apps/b/x.yaml": object, "c/x.yaml": object}, paths: []string{"apps/*"}, want: []string{"shop-apps-a", "shop-apps-b"}},
		"two stars are one":                          {tree: map[string]string{"apps/a/x.yaml": object, "apps/a/b/c/x.yaml": object}, paths: []string{"**/a"}, want: []string{"shop-apps-a"}},
		"a pattern takes folders only":               {tree: map[string]string{"apps/a.yaml": object, "apps/b/x.yaml": object}, paths: []string{"apps/*"}, want: []string{"shop-apps-b"}},
		"a pattern that matches nothing":             {tree: map[string]string{"a/x.yaml": object}, paths: []string{"a", "b*"}, want: []string{"shop-a"}, empty: []string{"b*"}},
		"the fleet.yaml of the root":                 {tree: map[string]string{"fleet.yaml": "", "a.yaml": object}, want: []string{"shop"}},
		"fleet.yml does as well":                     {tree: map[string]string{"fleet.yml": "name: x\n", "a.yaml": object}, want: []string{"x"}},
		"fleet.yaml before fleet.yml":                {tree: map[string]string{"fleet.yml": "name: x\n", "fleet.yaml": "name: y\n", "a.yaml": object}, want: []string{"y"}},
		"manifests further down":                     {tree: map[string]string{"app/deep/a.yml": object}, paths: []string{"app"}, want: []string{"shop-app"}},
		"JSON alone is no reason":                    {tree: map[string]string{"app/a.json": "{}", "b/b.yaml": object}, paths: []string{"app", "b"}, want: []string{"shop-b"}, empty: []string{"app"}},
		"manifests behind a fleet.yaml are not ours": {tree: map[string]string{"app/in/fleet.yaml": "", "app/in/a.yaml": object}, paths: []string{"app"}, want: []string{"shop-app-in"}},
		"each deeper fleet.yaml is a bundle": {
			tree:  map[string]string{"a/fleet.yaml": "", "a/x.yaml": object, "a/b/fleet.yml": "", "a/b/x.yaml": object, "a/b/c/fleet.yaml": "", "a/b/c/x.yaml": object},
			paths: []string{"a"}, want: []string{"shop-a", "shop-a-b", "shop-a-b-c"},
		},
		"a fleet.yaml and nothing else": {tree: map[string]string{"a/fleet.yaml": "", "b/b.yaml": object}, paths: []string{"a", "b"}, want: []string{"shop-b"}, empty: []string{"a"}},
		"a fleet.yaml with a chart":     {tree: map[string]string{"a/fleet.yaml": "helm: {chart: c, repo: 'https://h'}\n"}, paths: []string{"a"}, want: []string{"shop-a"}},
		".git is not looked at":         {tree: map[string]string{".git/fleet.yaml": "", ".git/a.yaml": object, "a.yaml": object}, want: []string{"shop"}},
		"one bundle per entry, and no further": {
			tree:    map[string]string{"a/fleet.yaml": "", "a/x.yaml": object, "a/b/fleet.yaml": "", "a/b/x.yaml": object, "c/x.yaml": object},
			bundles: []fleet.BundlePath{{Base: "a"}, {Base: "c"}}, want: []string{"shop-a", "shop-c"},
		},
		"entries before paths": {tree: map[string]string{"a/x.yaml": object, "b/x.yaml": object}, paths: []string{"b"}, bundles: []fleet.BundlePath{{Base: "a"}}, want: []string{"shop-a"}},
		"an options file of any name": {
			tree:    map[string]string{"a/x.yaml": object, "a/dev.yaml": "name: dev\n", "a/env/prod.yaml": "name: prod\n"},
			bundles: []fleet.BundlePath{{Base: "a", Options: "dev.yaml"}, {Base: "/a/", Options: "/env/prod.yaml"}}, want: []string{"dev", "prod"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			got := read(t, tc.tree, Options{Paths: tc.paths, Bundles: tc.bundles, Charts: &notingCharts{asked: map[string]string{}}})
			if diff := cmp.Diff(tc.want, bundleNames(got)); diff != "" {
				t.Errorf("bundles (-want +got)\n%s%v", diff, got.Findings)
			}
			if diff := cmp.Diff(tc.empty, got.EmptyPaths); diff != "" {
				t.Errorf("paths without bundles (-want +got)\n%s", diff)
			}
		})
	}
}

func TestNamesOfBundles(t *testing.T) {
	const object = "a: 1\n"
	for _, tc := range []struct{ repo, folder, options, name, want string }{
		{repo: "My_Repo", folder: "Path", want: "my-repo-path-0820c0ee"},
		{repo: "shop", folder: ".", want: "shop"},
		{repo: "assets", folder: "driven2/kustomize", options: "fleetDev.yaml", want: "assets-driven2-kustomize-fleetdev-2946f474"},
		{repo: "assets", folder: "driven2/kustomize", options: "fleetProd.yaml", want: "assets-driven2-kustomize-fleetprod-99f597b0"},
		{repo: "assets", folder: "driven_fleet_yaml_subfolder/helm", want: "assets-driven-fleet-yaml-subfolder-helm-f49dc35c"},
		{repo: "assets", folder: "driven_fleet_yaml_subfolder/helm", options: "test/fleet.yaml", want: "assets-driven-fleet-yaml-subfolder-helm-test-fl-b676f"},
		{repo: "opni", folder: "fleet-examples/fleets/opni/ui-plugin-operator-crd", want: "opni-fleet-examples-fleets-opni-ui-plugin-opera-021f7"},
		{repo: "shop", folder: "a", name: "own.name", want: "own.name"},
	} {
		tree := map[string]string{"x.yaml": object}
		if tc.folder != "." {
			tree = map[string]string{tc.folder + "/x.yaml": object}
		}
		options := Options{Bundles: []fleet.BundlePath{{Base: tc.folder, Options: tc.options}}}
		if tc.options != "" {
			tree[tc.folder+"/"+tc.options] = ""
		}
		if tc.name != "" {
			tree[tc.folder+"/fleet.yaml"] = "name: " + tc.name + "\n"
		}
		got := readAs(t, tc.repo, tree, options)
		if diff := cmp.Diff([]string{tc.want}, bundleNames(got)); diff != "" {
			t.Errorf("%s %s %s (-want +got)\n%s%v", tc.repo, tc.folder, tc.options, diff, got.Findings)
		}
	}
}

func TestWhichFilesABundleHas(t *testing.T) {
	for name, tc := range map[string]struct {
		tree  map[string]string
		entry fleet.BundlePath
		want  []string
	}{
		"everything below, nested bundles included": {
			tree: map[string]string{"fleet.yaml": "", "a.yaml": "a: 1\n", "b/fleet.yaml": "", "b/b.yaml": "b: 1\n", "notes.txt": "x"},
			want: []string{"a.yaml", "b/b.yaml", "b/fleet.yaml", "notes.txt"},
		},
		"fleet.yml stays among them": {tree: map[string]string{"fleet.yml": "", "a.yaml": "a: 1\n"}, want: []string{"a.yaml", "fleet.yml"}},
		"the options file does not, and the fleet.yaml neither": {
			tree: map[string]string{"fleet.yaml": "", "env/dev.yaml": "name: x\n", "a.yaml": "a: 1\n"}, entry: fleet.BundlePath{Options: "env/dev.yaml"}, want: []string{"a.yaml"},
		},
		"values files do not, by path and by name": {
			tree: map[string]string{
				"fleet.yaml": "helm: {chart: ./c, valuesFiles: [v/one.yaml]}\ntargetCustomizations: [{clusterName: c, helm: {valuesFiles: [two.yaml]}}]\n",
				"v/one.yaml": "x: 1\n", "one.yaml": "y: 1\n", "two.yaml": "z: 1\n", "c/Chart.yaml": "name: c\n", "c/one.yaml": "w: 1\n",
			},
			want: []string{"c/Chart.yaml", "c/one.yaml"},
		},
		"hidden files and folders do not": {tree: map[string]string{".a.yaml": "a: 1\n", ".b/b.yaml": "b: 1\n", "c.yaml": "c: 1\n", "d/.e/e.yaml": "e: 1\n"}, want: []string{"c.yaml"}},
		"chart files with a value file below": {
			tree: map[string]string{"fleet.yaml": "helm: {chart: chart, valuesFiles: [chart/myvalues.yaml]}\n", "chart/myvalues.yaml": "a: 1\n", "chart/Chart.yaml": "name: c\n"},
			want: []string{"chart/Chart.yaml"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			tc.entry.Base = "."
			got := read(t, tc.tree, Options{Bundles: []fleet.BundlePath{tc.entry}})
			if len(got.Bundles) != 1 {
				t.Fatalf("bundles %v, findings %v", got.Bundles, got.Findings)
			}
			var names []string
			for _, resource := range got.Bundles[0].Spec.Resources {
				names = append(names, resource.Name)
			}
			if diff := cmp.Diff(tc.want, names); diff != "" {
				t.Errorf("(-want +got)\n%s", diff)
			}
		})
	}
}

// TestTargetsOfABundle: those of the file, its customizations, then those of the
// GitRepo, or those that override them; the last are the restrictions, too.
func TestTargetsOfABundle(t *testing.T) {
	repo := []fleet.GitTarget{{Name: "dev", ClusterGroup: "dev"}, {ClusterName: "c"}}
	for name, tc := range map[string]struct {
		file               string
		repo               []fleet.GitTarget
		want, restrictions []string
	}{
		"nothing at all": {want: []string{"default"}, restrictions: []string{"default"}},
		"the GitRepo's":  {repo: repo, want: []string{"dev", ""}, restrictions: []string{"dev", ""}},
		"customizations come in front": {
			file: "targetCustomizations: [{name: a, clusterName: x}, {clusterName: y}]\n", repo: repo,
			want: []string{"a", "target001", "dev", ""}, restrictions: []string{"dev", ""},
		},
		"targets of the file in front of these": {
			file: "targets: [{clusterName: z}]\ntargetCustomizations: [{name: a, clusterName: x}, {clusterName: y}]\n", repo: repo,
			want: []string{"target000", "a", "target002", "dev", ""}, restrictions: []string{"dev", ""},
		},
		"overrides take the place of the GitRepo's": {
			file: "overrideTargets: [{name: own, clusterName: x}]\ntargetCustomizations: [{name: a, clusterName: x}]\n", repo: repo,
			want: []string{"a", "own"}, restrictions: []string{"own"},
		},
		"customizations and no targets": {
			file: "targetCustomizations: [{name: a, clusterName: x}]\n",
			want: []string{"a", "default"}, restrictions: []string{"default"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			got := read(t, map[string]string{"fleet.yaml": tc.file, "a.yaml": "a: 1\n"}, Options{Targets: tc.repo})
			spec := got.Bundles[0].Spec
			var targets, restrictions []string
			for _, target := range spec.Targets {
				targets = append(targets, target.Name)
			}
			for _, r := range spec.TargetRestrictions {
				restrictions = append(restrictions, r.Name)
			}
			if diff := cmp.Diff(tc.want, targets); diff != "" {
				t.Errorf("targets (-want +got)\n%s", diff)
			}
			if diff := cmp.Diff(tc.restrictions, restrictions); diff != "" {
				t.Errorf("restrictions (-want +got)\n%s", diff)
			}
		})
	}
}

// TestOverridesOfTheGitRepo: what the GitRepo sets wins, at the root and in
// every target.
func TestOverridesOfTheGitRepo(t *testing.T) {
	const file = `
namespace: own
serviceAccount: own
keepResources: false
deleteNamespace: false
paused: false
correctDrift: {enabled: true, keepFailHistory: true}
forceSyncGeneration: 9
targetCustomizations:
- {clusterName: c, namespace: custom, serviceAccount: custom, keepResources: false, deleteNamespace: false, forceSyncGeneration: 7}
`
	tree := map[string]string{"fleet.yaml": file, "a.yaml": "a: 1\n"}
	without := read(t, tree, Options{}).Bundles[0].Spec
	if without.TargetNamespace != "own" || without.ServiceAccount != "own" || without.Paused || without.ForceSyncGeneration != 0 || !without.CorrectDrift.KeepFailHistory {
		t.Errorf("a GitRepo that says nothing: %+v", without)
	}
	if custom := without.Targets[0]; custom.TargetNamespace != "custom" || custom.ServiceAccount != "custom" || custom.ForceSyncGeneration != 0 {
		t.Errorf("and its customization: %+v", custom)
	}
	with := read(t, tree, Options{
		TargetNamespace: "theirs", ServiceAccount: "theirs", Paused: true, KeepResources: true, DeleteNamespace: true, ForceSyncGeneration: 4,
		CorrectDrift: &fleet.CorrectDrift{Enabled: true, Force: true},
	}).Bundles[0].Spec
	if diff := cmp.Diff([]any{"theirs", "theirs", true, ptr.To(true), ptr.To(true), int64(4), &fleet.CorrectDrift{Enabled: true, Force: true}},
		[]any{with.TargetNamespace, with.ServiceAccount, with.Paused, with.KeepResources, with.DeleteNamespace, with.ForceSyncGeneration, with.CorrectDrift}); diff != "" {
		t.Errorf("the GitRepo's (-want +got)\n%s", diff)
	}
	if custom := with.Targets[0]; custom.TargetNamespace != "theirs" || custom.ServiceAccount != "theirs" || custom.KeepResources != nil || custom.DeleteNamespace != nil {
		t.Errorf("and in the customization: %+v", custom)
	}
	off := read(t, tree, Options{CorrectDrift: &fleet.CorrectDrift{Force: true}}).Bundles[0].Spec
	if !off.CorrectDrift.KeepFailHistory {
		t.Error("correctDrift of a GitRepo that does not enable it takes the place of the file's")
	}
}

// TestValuesOfABundle: files are merged over values in their order, at the root
// only where a chart is named there.
func TestValuesOfABundle(t *testing.T) {
	files := map[string]string{
		"a.yaml": "x: 1\n", "one.yaml": "m: {a: 1, b: 1}\nl: [1, 2]\n", "two.yaml": "m: {b: 2}\nl: [3]\nz: null\n",
		"chart/Chart.yaml": "name: c\n",
	}
	for name, tc := range map[string]struct {
		file         string
		root, target string
	}{
		"values, then files, the last wins": {
			file: "helm: {chart: chart, values: {m: {a: 0, c: 0}, z: 1}, valuesFiles: [one.yaml, two.yaml]}\n", root: `{"l":[3],"m":{"a":1,"b":2,"c":0},"z":null}`,
		},
		"without a chart at the root":   {file: "helm: {values: {a: 1}, valuesFiles: [one.yaml]}\n", root: `{"a":1}`},
		"a target needs none":           {file: "targetCustomizations: [{clusterName: c, helm: {values: {a: 1}, valuesFiles: [two.yaml]}}]\n", target: `{"a":1,"l":[3],"m":{"b":2},"z":null}`},
		"with a repository at the root": {file: "helm: {repo: 'https://h', chart: web, values: {m: {a: 0}}, valuesFiles: [one.yaml]}\n", root: `{"l":[1,2],"m":{"a":1,"b":1}}`},
		"the chart of the root is that of targets": {
			file: "helm: {chart: chart, version: '1'}\ntargetCustomizations: [{clusterName: c, helm: {valuesFiles: [one.yaml]}}]\n", target: `{"l":[1,2],"m":{"a":1,"b":1}}`,
		},
	} {
		t.Run(name, func(t *testing.T) {
			tree := maps.Clone(files)
			tree["fleet.yaml"] = tc.file
			got := read(t, tree, Options{Charts: &notingCharts{asked: map[string]string{}}})
			if len(got.Bundles) != 1 {
				t.Fatalf("findings %v", got.Findings)
			}
			spec := got.Bundles[0].Spec
			for what, pair := range map[string]struct {
				helm *fleet.HelmOptions
				want string
			}{"root": {spec.Helm, tc.root}, "target": {spec.Targets[0].Helm, tc.target}} {
				text := ""
				if pair.helm != nil && pair.helm.Values != nil {
					raw, err := pair.helm.Values.MarshalJSON()
					if err != nil {
						t.Fatal(err)
					}
					text = string(raw)
				}
				if text != pair.want {
					t.Errorf("%s has the values %s, want %s", what, text, pair.want)
				}
			}
			if strings.HasPrefix(tc.file, "helm: {chart: chart, version") && (spec.Targets[0].Helm.Chart != "chart" || spec.Targets[0].Helm.Version != "1") {
				t.Errorf("the target has chart %+v", spec.Targets[0].Helm)
			}
		})
	}
}

// TestParsing: names of fields in any case, one document, keys set twice.
func TestParsing(t *testing.T) {
	for name, tc := range map[string]struct {
		file, want string // the default namespace
		warnings   []string
	}{
		"an empty file":             {file: ""},
		"comments":                  {file: "# nothing\n"},
		"names in another case":     {file: "defaultnamespace: x\nHELM: {disablePreprocess: true}\n", want: "x"},
		"the last of two":           {file: "defaultNamespace: a\ndefaultNamespace: b\n", want: "b", warnings: []string{"fleet.yaml:2:1: defaultNamespace: the field is already set in line 1; the last one counts"}},
		"twice in values":           {file: "helm:\n  values:\n    a: 1\n    b: {c: 1, c: 2}\n", warnings: []string{"fleet.yaml:4:15: helm.values.b.c: the field is already set in line 4; the last one counts"}},
		"twice in labels":           {file: "labels: {a: x, a: y}\n", warnings: []string{"fleet.yaml:1:16: labels.a: the field is already set in line 1; the last one counts"}},
		"a second document":         {file: "defaultNamespace: a\n---\ndefaultNamespace: b\n", want: "a", warnings: []string{"fleet.yaml:3:1: only the first document of the file counts"}},
		"an unknown field":          {file: "defaultNamespace: a\nnonsense: b\n", want: "a", warnings: []string{`fleet.yaml:2:1: nonsense: there is no field "nonsense", so it is ignored`}},
		"templates are for values":  {file: "defaultNamespace: '${ .ClusterName }'\n", want: "${ .ClusterName }"},
		"anchors, and what merges":  {file: "x-common: &c {defaultNamespace: a}\n<<: *c\n", want: "a", warnings: []string{`fleet.yaml:1:1: x-common: there is no field "x-common", so it is ignored`}},
		"a byte order mark, a tail": {file: "\ufeffdefaultNamespace: a\n...\n", want: "a"},
	} {
		t.Run(name, func(t *testing.T) {
			got := read(t, map[string]string{"fleet.yaml": tc.file, "a.yaml": "a: 1\n"}, Options{})
			if len(got.Bundles) != 1 {
				t.Fatalf("findings %v", got.Findings)
			}
			if ns := got.Bundles[0].Spec.DefaultNamespace; ns != tc.want {
				t.Errorf("namespace %q, want %q", ns, tc.want)
			}
			var warnings []string
			for _, f := range got.Findings {
				warnings = append(warnings, f.String())
			}
			if diff := cmp.Diff(tc.warnings, warnings); diff != "" {
				t.Errorf("warnings (-want +got)\n%s", diff)
			}
		})
	}
}

// TestSemanticMistakes are found while it is still known where they stand.
func TestSemanticMistakes(t *testing.T) {
	for file, want := range map[string]string{
		"dependsOn: [{acceptedStates: [Ready]}]\n":                                                  "Error fleet.yaml:1:13: dependsOn[0]: it must have a name or a selector",
		"dependsOn: [{name: a, acceptedStates: [Fine]}]\n":                                          `Error fleet.yaml:1:40: dependsOn[0].acceptedStates[0]: there is no state "Fine"`,
		"dependsOn: [{selector: {matchExpressions: [{key: a, operator: Is}]}}]\n":                   `Warning fleet.yaml:1:24: dependsOn[0].selector: the selector does not parse`,
		"targetCustomizations: [{clusterSelector: {matchExpressions: [{key: a, operator: Is}]}}]\n": "Warning fleet.yaml:1:42: targetCustomizations[0].clusterSelector: the selector does not parse",
		"overrideTargets: [{clusterGroupSelector: {matchLabels: {'a b': c}}}]\n":                    "Warning fleet.yaml:1:42: overrideTargets[0].clusterGroupSelector: the selector does not parse",
		"targets: [{name: x}]\n":                                                                       "Warning fleet.yaml:1:11: targets[0]: it matches no cluster",
		"rolloutStrategy: {partitions: [{name: x}]}\n":                                                 "Warning fleet.yaml:1:32: rolloutStrategy.partitions[0]: it matches no cluster",
		"targetCustomizationMode: Some\n":                                                              `Error fleet.yaml:1:26: targetCustomizationMode: the value must be "FirstMatch" or "AllMatches"`,
		"diff: {comparePatches: [{name: '(', operations: [{op: ignore}]}]}\n":                          "Warning fleet.yaml:1:32: diff.comparePatches[0].name: the name",
		"diff: {comparePatches: [{operations: [{op: removed, path: /a}]}]}\n":                          `Warning fleet.yaml:1:44: diff.comparePatches[0].operations[0].op: there is no operation "removed"`,
		"diff: {comparePatches: [{operations: [{op: remove, path: a}]}]}\n":                            "Warning fleet.yaml:1:58: diff.comparePatches[0].operations[0].path: the path must begin with a slash",
		"targetCustomizations: [{clusterName: c, diff: {comparePatches: [{jsonPointers: [a]}]}}]\n":    "Warning fleet.yaml:1:81: targetCustomizations[0].diff.comparePatches[0].jsonPointers[0]: a JSON pointer begins with a slash",
		"yaml: {overlays: [no]}\n":                                                                     "Warning fleet.yaml:1:19: yaml.overlays[0]: there are no files in overlays/no",
		"targetCustomizations: [{clusterName: c, kustomize: {dir: overlays/no}}]\n":                    "Warning fleet.yaml:1:58: targetCustomizations[0].kustomize.dir: the folder overlays/no holds no kustomization.yaml",
		"helm: {releaseName: A_b}\n":                                                                   "Error fleet.yaml:1:21: helm.releaseName: a release name has at most 53 characters",
		"name: A_b\n":                                                                                  `Error fleet.yaml:1:7: name: "A_b" cannot be the name of a bundle`,
		"labels: {a: 'b c'}\n":                                                                         "Error fleet.yaml:1:13: labels.a: it cannot be a label",
		"downstreamResources: [{kind: Pod, name: x}]\n":                                                "Error fleet.yaml:1:30: downstreamResources[0].kind: Pod cannot be copied: only Secret and ConfigMap can",
		"downstreamResources: [{kind: Secret}]\n":                                                      "Error fleet.yaml:1:23: downstreamResources[0].name: it is missing",
		"targetCustomizations: [{clusterName: c, downstreamResources: [{kind: secret, name: a/b}]}]\n": "Error fleet.yaml:1:84: targetCustomizations[0].downstreamResources[0].name: \"a/b\" is no name of a Secret",
		"imageScans: [{image: x, tagName: y, interval: 1m}]\n":                                         "Error fleet.yaml:1:13: imageScans: image scans are not supported",
	} {
		got := read(t, map[string]string{"fleet.yaml": file, "a.yaml": "a: 1\n"}, Options{})
		if !slices.ContainsFunc(got.Findings, func(f Finding) bool { return strings.HasPrefix(string(f.Severity)+" "+f.String(), want) }) {
			t.Errorf("%s gives %v, want %s", file, got.Findings, want)
		}
		if isError := strings.HasPrefix(want, "Error"); isError != (len(got.Bundles) == 0) {
			t.Errorf("%s gives %d bundles", file, len(got.Bundles))
		}
	}
}
