package drift

import (
	"strings"
	"testing"
)

func TestWithin(t *testing.T) {
	for name, test := range map[string]struct {
		desired, live string
		want          string // the fields that differ; "?" stands for the whole
	}{
		"the same":                    {configMap + "data: {a: '1'}", configMap + "data: {a: '1'}", ""},
		"more in a map":               {configMap + "data: {a: '1'}", configMap + "data: {a: '1', b: '2'}\nimmutable: true", ""},
		"another value":               {configMap + "data: {a: '1'}", configMap + "data: {a: '2'}", ".data.a"},
		"a value that is gone":        {configMap + "data: {a: '1', b: '2'}", configMap + "data: {b: '2'}", ".data.a"},
		"all that is gone":            {configMap + "data: {a: '1', b: '2'}", configMap, ".data"},
		"another type":                {configMap + "data: {a: '1'}", configMap + "data: {a: 1}", ".data.a"},
		"a map for a value":           {configMap + "data: {a: '1'}", configMap + "data: {a: {b: '1'}}", ".data.a"},
		"a value for a map":           {configMap + "data: {a: {b: '1'}}", configMap + "data: {a: '1'}", ".data.a"},
		"empty for missing":           {configMap + "data: {}", configMap, ".data"},
		"null for missing":            {configMap + "data:", configMap, ""},
		"null for a value":            {configMap + "data: {a: }", configMap + "data: {a: x}", ".data.a"},
		"numbers":                     {workload + "spec: {replicas: 1}", workload + "spec: {replicas: 1.0}", ""},
		"other numbers":               {workload + "spec: {replicas: 1}", workload + "spec: {replicas: 2}", ".spec.replicas"},
		"defaults in items":           {workload + "spec: {c: [{name: a}]}", workload + "spec: {c: [{name: a, policy: Always}]}", ""},
		"another order":               {workload + "spec: {c: [a, b]}", workload + "spec: {c: [b, a]}", ".spec.c.0 .spec.c.1"},
		"one more item":               {workload + "spec: {c: [a]}", workload + "spec: {c: [a, b]}", ".spec.c"},
		"one item less":               {workload + "spec: {c: [a, b]}", workload + "spec: {c: [a]}", ".spec.c"},
		"a label of somebody else's":  {configMap, strings.Replace(configMap, "name: cm", "name: cm, labels: {a: b}", 1), ""},
		"a label of ours that's gone": {strings.Replace(configMap, "name: cm", "name: cm, labels: {a: b}", 1), configMap, ".metadata.labels"},
		"server's own metadata": {
			strings.Replace(configMap, "name: cm", "name: cm, creationTimestamp: null, resourceVersion: '1', generation: 1", 1),
			strings.Replace(configMap, "name: cm", "name: cm, creationTimestamp: '2020-01-01T00:00:00Z', resourceVersion: '2', generation: 7", 1), "",
		},
		"status":                             {workload + "status: {replicas: 0}", workload + "status: {replicas: 3}", ""},
		"text in a Secret":                   {secret + "stringData: {a: hello}", secret + "data: {a: aGVsbG8=}", ""},
		"text in a Secret over data":         {secret + "data: {a: eA==}\nstringData: {a: hello}", secret + "data: {a: aGVsbG8=}", ""},
		"text in a Secret, changed":          {secret + "stringData: {a: hello}", secret + "data: {a: eA==}", ".data.a"},
		"a quantity written another way":     {workload + "spec: {cpu: 1000m}", workload + "spec: {cpu: '1'}", ".spec.cpu"},
		"stringData of what is no Secret":    {configMap + "stringData: {a: x}", configMap, ".stringData"},
		"a list for a map, of the same size": {workload + "spec: {c: {a: b}}", workload + "spec: {c: [a]}", ".spec.c"},
	} {
		t.Run(name, func(t *testing.T) {
			desired, live := object(t, test.desired), object(t, test.live)
			before := desired.DeepCopy()
			found := Compare(desired, live)
			if got := strings.Join(found.Fields(9), " "); got != test.want {
				t.Errorf("got %q, want %q", got, test.want)
			}
			if Within(desired, live) != (test.want == "") {
				t.Error("Within says something else")
			}
			if !same(before.Object, desired.Object) {
				t.Error("desired was changed")
			}
		})
	}
}

func TestDigestTellsWhetherWhatWasAskedForChanged(t *testing.T) {
	desired := object(t, workload+"spec: {cpu: 1000m, other: x}")
	digest := func(live string) uint64 { return Compare(desired, object(t, workload+live)).Digest() }
	first := digest("spec: {cpu: '1', other: x}\nstatus: {replicas: 1}")
	if first != digest("spec: {cpu: '1', other: x, more: y}\nstatus: {replicas: 2}") {
		t.Error("a change of what nobody asked for changes the digest")
	}
	for _, live := range []string{"spec: {cpu: '2', other: x}", "spec: {cpu: '1', other: y}", "spec: {other: x}", "spec: {cpu: 1000m, other: x}"} {
		if first == digest(live) {
			t.Errorf("the digest is the same for %s", live)
		}
	}
}

func TestPlainDifferences(t *testing.T) {
	desired := object(t, workload+"spec: {cpu: 1000m, memory: 1Gi, replicas: 1, empty: {}, no: false, list: [], none: '', tag: v1}")
	live := object(t, workload+"spec: {cpu: '1', memory: 1024Mi, replicas: 2, tag: v2}")
	if got := strings.Join(Compare(desired, live).Plain().Fields(9), " "); got != ".spec.replicas .spec.tag" {
		t.Errorf("got %q", got)
	}
}
