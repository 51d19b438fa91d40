package bundle_test

import (
	"encoding/json"
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	fleet "github.com/flotilla-gitops/flotilla/pkg/apis/fleet.cattle.io/v1alpha1"
	"github.com/flotilla-gitops/flotilla/pkg/bundle"
)

// FuzzTemplate: whatever users write, templating ends, gives the same result twice, gives something that can be
// stored, and keeps what it cannot evaluate out of its errors.
func FuzzTemplate(f *testing.F) {
	for _, seed := range []string{
		"${ .ClusterName }", "${ .ClusterLabels.env | upper }", "global.fleet.clusterLabels.env", "a ${ b", "${ } }",
		"${ range $k, $v := .ClusterLabels }${ $k }: ${ $v | quote }\n${ end }", "[1, ${ 2 }]", "{a: ${ 1 }}", "${- 1 -}",
		"&a [*a]", "x: &x y\nz: *x", "${ toPrettyJson . }", "${ regexReplaceAll \"(a|b)*\" .ClusterName \"$1\" }",
		"${ printf \"%[1]*d\" 3 4 }", "${ (index .ClusterValues.l 0).a }", "${ dict 1 2 3 }", "${/* x */}", "|\n ${ 1 }\n",
		"${ break }", "${ range . }${ continue }${ end }", "${ slice (list 1 2) 1 }", "${ semver \"1.2.3\" }", "${ 1e1000 }",
	} {
		f.Add(seed, "key", true)
		f.Add("plain", seed, false)
	}
	cluster := bundle.ClusterFacts{
		ClusterName: "c", ClusterNamespace: "n",
		Labels:         map[string]string{"env": "dev"},
		TemplateValues: map[string]any{"l": []any{map[string]any{"a": "b"}}},
	}
	f.Fuzz(func(t *testing.T, template, key string, asTemplate bool) {
		helm := &fleet.HelmOptions{Values: &fleet.GenericMap{Data: map[string]any{key: []any{template}}}}
		if asTemplate {
			helm.TemplateValues = map[string]string{"whole": template}
		}
		given := fleet.BundleDeploymentOptions{Helm: helm}
		before := given.DeepCopy()
		first, err := bundle.Template(given, cluster)
		if diff := cmp.Diff(*before, given); diff != "" {
			t.Fatalf("the argument was changed:\n%s", diff)
		}
		if err != nil {
			var known *bundle.TemplateError
			if !errors.As(err, &known) {
				t.Fatalf("error of another type: %v", err)
			}
			if strings.Contains(known.Reason, "\n") || len(known.Reason) > 300 {
				t.Fatalf("reason is not fit for a status: %q", known.Reason)
			}
			return
		}
		again, err := bundle.Template(given, cluster)
		if err != nil {
			t.Fatalf("the second time: %v", err)
		}
		one, err := bundle.DeploymentID("M", first)
		if err != nil {
			t.Fatalf("the result has no identity: %v", err)
		}
		two, err := bundle.DeploymentID("M", again)
		if err != nil {
			t.Fatal(err)
		}
		if one != two {
			t.Fatalf("two identities for %q", template)
		}
		if _, values, _ := bundle.SplitValues(first); len(values) > 0 && !json.Valid(values) {
			t.Fatalf("values are not JSON: %s", values)
		}
	})
}

// FuzzValues: what is taken out of a bundle comes back the same.
func FuzzValues(f *testing.F) {
	f.Add(`{"a":1}`, `{"b":[1.5,null,"<x>"]}`, "dev", "dev")
	f.Add(`{}`, `{"b":9007199254740993}`, "", "target000")
	f.Add(`null`, `{"":{}}`, "values.yaml", "..")
	f.Fuzz(func(t *testing.T, root, target, one, two string) {
		b := &fleet.Bundle{}
		b.Spec.Helm = &fleet.HelmOptions{Values: genericMap(root)}
		for _, name := range []string{one, two} {
			custom := fleet.BundleTarget{Name: name}
			custom.Helm = &fleet.HelmOptions{Values: genericMap(target)}
			b.Spec.Targets = append(b.Spec.Targets, custom)
		}
		stripped, data, _, err := bundle.ExtractValues(b)
		if err != nil {
			t.Skip()
		}
		full, err := bundle.InjectValues(stripped, data)
		if err != nil {
			t.Fatal(err)
		}
		again, data2, hash, err := bundle.ExtractValues(full)
		if err != nil {
			t.Fatal(err)
		}
		if hash != stripped.Spec.ValuesHash {
			t.Fatalf("hash %s became %s:\n%s", stripped.Spec.ValuesHash, hash, cmp.Diff(data, data2))
		}
		if diff := cmp.Diff(stripped, again); diff != "" {
			t.Fatalf("bundles differ:\n%s", diff)
		}
	})
}

func genericMap(text string) *fleet.GenericMap {
	m := new(fleet.GenericMap)
	if json.Unmarshal([]byte(text), m) != nil {
		return nil
	}
	return m
}
