package drift

import (
	"encoding/json"
	"strings"
	"testing"

	"k8s.io/apimachinery/pkg/runtime/schema"

	fleet "github.com/flotilla-gitops/flotilla/pkg/apis/fleet.cattle.io/v1alpha1"
)

func patchFor(text string) fleet.ComparePatch {
	var patch fleet.ComparePatch
	if err := json.Unmarshal([]byte(text), &patch); err != nil {
		panic(err)
	}
	return patch
}

// ofWorkload is a compare patch of the workload of the tests.
func ofWorkload(rest string) fleet.ComparePatch {
	return patchFor(`{"apiVersion":"apps/v1","kind":"Deployment","namespace":"web","name":"app",` + rest + `}`)
}

func TestBetween(t *testing.T) {
	for name, test := range map[string]struct {
		patches         []fleet.ComparePatch
		live, predicted string
		restoring, text string
	}{
		"no drift":             {nil, workload + "spec: {replicas: 1}\nstatus: {replicas: 1}", workload + "spec: {replicas: 1}", "", ""},
		"another value":        {nil, workload + "spec: {replicas: 2}", workload + "spec: {replicas: 1}", `{"spec":{"replicas":1}}`, `{"spec":{"replicas":1}}`},
		"a field that is gone": {nil, configMap, configMap + "data: {a: b}", `{"data":{"a":"b"}}`, `{"data":{"a":"b"}}`},
		"a field that must go": {nil, configMap + "data: {a: b}", configMap + "data: {}", `{"data":{"a":null}}`, `{"data":{"a":null}}`},
		"a map that must go":   {nil, configMap + "data: {a: b}", configMap, `{"data":null}`, `{"data":null}`},
		"metadata of the API server": {
			nil, strings.Replace(configMap, "name: cm", "name: cm, resourceVersion: '1', generation: 1, uid: u, managedFields: [{manager: a}]", 1),
			strings.Replace(configMap, "name: cm", "name: cm, resourceVersion: '2', generation: 2, uid: u, managedFields: [{manager: b}]", 1), "", "",
		},
		"a pointer": {
			[]fleet.ComparePatch{ofWorkload(`"jsonPointers":["/spec/replicas"]`)},
			workload + "spec: {replicas: 2}", workload + "spec: {replicas: 1}", "", "",
		},
		"a pointer beside a change": {
			[]fleet.ComparePatch{ofWorkload(`"jsonPointers":["/spec/replicas"]`)},
			workload + "spec: {replicas: 2, paused: true}", workload + "spec: {replicas: 1, paused: false}",
			`{"spec":{"paused":false}}`, `{"spec":{"paused":false}}`,
		},
		"remove": {
			[]fleet.ComparePatch{ofWorkload(`"operations":[{"op":"remove","path":"/spec/replicas"}]`)},
			workload + "spec: {replicas: 2}", workload + "spec: {replicas: 1}", "", "",
		},
		"remove what only one has": {
			[]fleet.ComparePatch{ofWorkload(`"operations":[{"op":"remove","path":"/spec/replicas"}]`)},
			workload + "spec: {replicas: 2, a: b}", workload + "spec: {a: b}", "", "",
		},
		"replace": {
			[]fleet.ComparePatch{ofWorkload(`"operations":[{"op":"replace","path":"/spec/replicas","value":"x"}]`)},
			workload + "spec: {replicas: 2}", workload + "spec: {replicas: 1}", "", "",
		},
		"replace beside a change": {
			[]fleet.ComparePatch{ofWorkload(`"operations":[{"op":"replace","path":"/spec/replicas","value":"x"}]`)},
			workload + "spec: {replicas: 2, a: b}", workload + "spec: {replicas: 1, a: c}", `{"spec":{"a":"c"}}`, `{"spec":{"a":"c"}}`,
		},
		"add": {
			[]fleet.ComparePatch{ofWorkload(`"operations":[{"op":"add","path":"/metadata/annotations","value":"x"}]`)},
			workload + "spec: {a: b}", strings.Replace(workload, "name: app", "name: app, annotations: {a: b}", 1) + "spec: {a: b}", "", "",
		},
		"an escaped pointer": {
			[]fleet.ComparePatch{ofWorkload(`"jsonPointers":["/metadata/annotations/example.com~1a~0b"]`)},
			strings.Replace(workload, "name: app", "name: app, annotations: {example.com/a~b: x}", 1),
			strings.Replace(workload, "name: app", "name: app, annotations: {example.com/a~b: y}", 1), "", "",
		},
		"a pointer into a list keeps what is live there": {
			[]fleet.ComparePatch{ofWorkload(`"jsonPointers":["/spec/c/0/image"]`)},
			workload + "spec: {c: [{name: a, image: theirs, tty: true}]}", workload + "spec: {c: [{name: a, image: ours, tty: false}]}",
			`{"spec":{"c":[{"image":"theirs","name":"a","tty":false}]}}`, `{"spec":{"c":[{"name":"a","tty":false}]}}`,
		},
		"only what differs of named items is shown": {
			nil, workload + "spec: {c: [{name: a, image: x}, {name: b, image: x, env: [{name: E, value: '1'}, {name: F, value: '2'}]}]}",
			workload + "spec: {c: [{name: a, image: x}, {name: b, image: x, env: [{name: E, value: '1'}, {name: F, value: '3'}]}]}",
			`{"spec":{"c":[{"image":"x","name":"a"},{"env":[{"name":"E","value":"1"},{"name":"F","value":"3"}],"image":"x","name":"b"}]}}`,
			`{"spec":{"c":[{"env":[{"name":"F","value":"3"}],"name":"b"}]}}`,
		},
		"items that come and go": {
			nil, workload + "spec: {c: [{name: a}, {name: b}]}", workload + "spec: {c: [{name: b}, {name: d, x: z}]}",
			`{"spec":{"c":[{"name":"b"},{"name":"d","x":"z"}]}}`, `{"spec":{"c":[{"name":"d","x":"z"},{"$patch":"delete","name":"a"}]}}`,
		},
		"a patch for another object": {
			[]fleet.ComparePatch{patchFor(`{"apiVersion":"apps/v1","kind":"Deployment","namespace":"web","name":"other","jsonPointers":["/spec"]}`)},
			workload + "spec: {replicas: 2}", workload + "spec: {replicas: 1}", `{"spec":{"replicas":1}}`, `{"spec":{"replicas":1}}`,
		},
		"a patch for all of a kind": {
			[]fleet.ComparePatch{patchFor(`{"apiVersion":"apps/v1","kind":"Deployment","jsonPointers":["/spec"]}`)},
			workload + "spec: {replicas: 2}", workload + "spec: {replicas: 1}", "", "",
		},
		"values of a Secret": {
			nil, secret + "data: {password: b2xkLXNlY3JldA==, gone: eA==}", secret + "data: {password: bmV3LXNlY3JldA==, token: eA==}\ntype: Opaque",
			`{"data":{"gone":null,"password":"bmV3LXNlY3JldA==","token":"eA=="},"type":"Opaque"}`,
			`{"data":{"gone":null,"password":"<hidden>","token":"<hidden>"},"type":"<hidden>"}`,
		},
		"values that are named like secrets": {
			nil, workload + "spec: {c: [{name: a, env: [{name: DB_PASSWORD, value: a}]}], apiToken: b}",
			workload + "spec: {c: [{name: a, env: [{name: DB_PASSWORD, value: c}]}], apiToken: d}",
			`{"spec":{"apiToken":"d","c":[{"env":[{"name":"DB_PASSWORD","value":"c"}],"name":"a"}]}}`,
			`{"spec":{"apiToken":"<hidden>","c":[{"env":[{"name":"DB_PASSWORD","value":"<hidden>"}],"name":"a"}]}}`,
		},
	} {
		t.Run(name, func(t *testing.T) {
			rules, err := NewRules(test.patches)
			if err != nil {
				t.Fatal(err)
			}
			live, predicted := object(t, test.live), object(t, test.predicted)
			liveBefore, predictedBefore := live.DeepCopy(), predicted.DeepCopy()
			got := Between(live, predicted, rules)
			if !same(live.Object, liveBefore.Object) || !same(predicted.Object, predictedBefore.Object) {
				t.Error("an object was changed")
			}
			if got == nil {
				if test.text != "" {
					t.Fatal("no drift was found")
				}
				return
			}
			restoring, err := json.Marshal(got.Restoring)
			if err != nil {
				t.Fatal(err)
			}
			if string(restoring) != test.restoring || got.Text != test.text {
				t.Errorf("restored by %s, want %s\nshown as %s, want %s", restoring, test.restoring, got.Text, test.text)
			}
		})
	}
}

func TestTextIsBounded(t *testing.T) {
	live, predicted := object(t, configMap+"data: {}"), object(t, configMap+"data: {}")
	data := map[string]any{"big": strings.Repeat("é", 5000)}
	for i := range 100 {
		data[strings.Repeat("k", i+1)] = strings.Repeat("v", 50)
	}
	predicted.Object["data"] = data
	got := Between(live, predicted, Rules{})
	if len(got.Text) > maxText+64 || !strings.Contains(got.Text, "more bytes") {
		t.Errorf("a text of %d bytes: %s", len(got.Text), got.Text)
	}
}

func TestIgnore(t *testing.T) {
	rules, err := NewRules([]fleet.ComparePatch{
		patchFor(`{"apiVersion":"v1","kind":"ConfigMap","namespace":"web","name":"tmp-.*","operations":[{"op":"ignore"}]}`),
		patchFor(`{"apiVersion":"v1","kind":"Secret","namespace":"web","operations":[{"op":"ignore"}]}`),
		patchFor(`{"apiVersion":"rbac.authorization.k8s.io/v1","kind":"ClusterRole","name":"^viewer$","operations":[{"op":"ignore"}]}`),
		patchFor(`{"apiVersion":"v1","kind":"Service","namespace":"web","name":"a","jsonPointers":["/spec"]}`),
	})
	if err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct {
		group, kind, namespace, name string
		want                         bool
	}{
		{"", "ConfigMap", "web", "tmp-1", true},
		{"", "ConfigMap", "web", "my-tmp-1", true},
		{"", "ConfigMap", "web", "cm", false},
		{"", "ConfigMap", "other", "tmp-1", false},
		{"", "Secret", "web", "any", true},
		{"", "Secret", "other", "any", false},
		{"example.com", "Secret", "web", "any", false},
		{"rbac.authorization.k8s.io", "ClusterRole", "", "viewer", true},
		{"rbac.authorization.k8s.io", "ClusterRole", "", "viewers", false},
		{"", "Service", "web", "a", false},
	} {
		kind := schema.GroupKind{Group: test.group, Kind: test.kind}
		if got := rules.Ignore(kind, test.namespace, test.name); got != test.want {
			t.Errorf("%v %s/%s is ignored: %v", kind, test.namespace, test.name, got)
		}
	}
}

func TestWhatCannotBeUnderstoodIsNamedAndTheRestHolds(t *testing.T) {
	for want, bad := range map[string]string{
		"diff.comparePatches[0]: name is no regular expression":       `"name":"(","operations":[{"op":"ignore"}]`,
		`diff.comparePatches[0]: path "spec" does not begin`:          `"jsonPointers":["spec"]`,
		`diff.comparePatches[0]: path "" does not begin`:              `"operations":[{"op":"remove"}]`,
		`diff.comparePatches[0]: operation "move" is none of ignore`:  `"operations":[{"op":"move","path":"/a"}]`,
		`diff.comparePatches[0]: path "a" does not begin with a slas`: `"operations":[{"op":"replace","path":"a","value":"b"}]`,
	} {
		rules, err := NewRules([]fleet.ComparePatch{
			patchFor(`{"apiVersion":"v1","kind":"ConfigMap",` + bad + `}`), ofWorkload(`"jsonPointers":["/spec/replicas"]`),
		})
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("the error is %v, want %q", err, want)
		}
		if Between(object(t, workload+"spec: {replicas: 2}"), object(t, workload+"spec: {replicas: 1}"), rules) != nil {
			t.Errorf("after %s the other rule does not hold", bad)
		}
	}
}

func TestCountingLeavesOutWhatRulesDo(t *testing.T) {
	rules, err := NewRules([]fleet.ComparePatch{ofWorkload(`"jsonPointers":["/spec/replicas","/spec/c/0"]`)})
	if err != nil {
		t.Fatal(err)
	}
	desired := object(t, workload+"spec: {replicas: 1, replicasMax: 1, c: [{a: b}, {a: b}]}")
	live := object(t, workload+"spec: {replicas: 2, replicasMax: 2, c: [{a: c}, {a: c}]}")
	if got := strings.Join(rules.Counting(desired, Compare(desired, live)).Fields(9), " "); got != ".spec.c.1.a .spec.replicasMax" {
		t.Errorf("got %q", got)
	}
}

// FuzzRules: rules are what any user may have written. What two sides have in
// common is no drift, whatever the rules; restoring never touches what a
// pointer leads to; nothing panics, and no object is changed.
func FuzzRules(f *testing.F) {
	f.Add("jsonPointers", "/spec/replicas", "", `{"replicas":1}`, `{"replicas":2}`)
	f.Add("remove", "/spec/c/0/image", "", `{"c":[{"image":"a"}]}`, `{"c":[]}`)
	f.Add("replace", "/spec/~1/~0", "x", `{"/":{"~":1}}`, `{"/":null}`)
	f.Add("add", "/spec/c/-", "x", `{"c":[1,2]}`, `{"c":{"-":1}}`)
	f.Add("test", "/spec", "x", `{}`, `{"":{"":[]}}`)
	f.Add("add", "/spec//00", "", `{"":[[1]]}`, `{"":[{"00":1}]}`)
	f.Fuzz(func(t *testing.T, op, path, value, a, b string) {
		var live, predicted map[string]any
		if json.Unmarshal([]byte(a), &live) != nil || json.Unmarshal([]byte(b), &predicted) != nil {
			return
		}
		patch := ofWorkload(`"name":"app"`)
		if op == "jsonPointers" {
			patch.JSONPointers = []string{path}
		} else {
			patch.Operations = []fleet.Operation{{Op: op, Path: path, Value: value}}
		}
		rules, err := NewRules([]fleet.ComparePatch{patch})
		if err != nil {
			return
		}
		x, y := object(t, workload), object(t, workload)
		x.Object["spec"], y.Object["spec"] = live, predicted
		before := x.DeepCopy()
		if got := Between(x, x.DeepCopy(), rules); got != nil {
			t.Fatalf("an object differs from itself: %s", got.Text)
		}
		got := Between(x, y, rules)
		if !same(before.Object, x.Object) {
			t.Fatal("the object was changed")
		}
		if got == nil || op != "jsonPointers" {
			return
		}
		p, err := parsePointer(path)
		if err != nil {
			t.Fatal(err)
		}
		if _, touched := p.get(got.Restoring); touched && len(p) > 1 && !throughList(p, x.Object) {
			old, _ := p.get(x.Object)
			now, _ := p.get(got.Restoring)
			if !same(old, now) {
				t.Fatalf("restoring changes %s from %v to %v", path, old, now)
			}
		}
	})
}

// throughList says whether the pointer leads through a list: the patch then has
// the whole of it.
func throughList(p pointer, value any) bool {
	for i := range p {
		if at, ok := p[:i].get(value); ok {
			if _, list := at.([]any); list {
				return true
			}
		}
	}
	return false
}
