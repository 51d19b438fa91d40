package bundles

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	fleet "github.com/flotilla-gitops/flotilla/pkg/apis/fleet.cattle.io/v1alpha1"
	"github.com/flotilla-gitops/flotilla/pkg/bundle"
	"github.com/flotilla-gitops/flotilla/pkg/copies"
	"github.com/flotilla-gitops/flotilla/pkg/kube"
	"github.com/flotilla-gitops/flotilla/pkg/names"
	"github.com/flotilla-gitops/flotilla/pkg/rollout"
	"github.com/flotilla-gitops/flotilla/pkg/targeting"
)

func clusterOf(name string, labels map[string]string) *fleet.Cluster {
	return &fleet.Cluster{ObjectMeta: metav1.ObjectMeta{Namespace: "clusters", Name: name, Labels: labels}}
}

// Whatever is put and dropped, targets and entries stay in order and together.
func TestBookKeepsItsOrder(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	b := &book{}
	want := map[kube.Key]int{}
	for step := range 3000 {
		key := kube.Key{Namespace: fmt.Sprint("n", r.IntN(3)), Name: fmt.Sprint("c", r.IntN(40))}
		switch r.IntN(5) {
		case 0:
			b.drop(key)
			delete(want, key)
		case 1:
			rand.Shuffle(len(b.entries), func(i, j int) {
				b.entries[i], b.entries[j] = b.entries[j], b.entries[i]
				b.targets[i], b.targets[j] = b.targets[j], b.targets[i]
			})
			b.order()
		default:
			b.put(rollout.Target{Partition: step}, entry{cluster: key})
			want[key] = step
		}
		if len(b.targets) != len(want) || len(b.entries) != len(want) {
			t.Fatalf("step %d: %d targets and %d entries for %d clusters", step, len(b.targets), len(b.entries), len(want))
		}
		if !slices.IsSortedFunc(b.entries, func(x, y entry) int { return compare(x.cluster, y.cluster) }) {
			t.Fatalf("step %d: out of order", step)
		}
	}
	for key, partition := range want {
		if i, found := b.find(key); !found || b.targets[i].Partition != partition {
			t.Errorf("%s is lost, or not what was put last", key)
		}
	}
}

// What is computed once for many clusters, or kept from before, is what each
// of them would compute by itself.
func TestSharedOptionsAreEachClustersOwn(t *testing.T) {
	values := func(text string) *fleet.HelmOptions {
		return &fleet.HelmOptions{Values: &fleet.GenericMap{Data: map[string]any{"name": text}}}
	}
	full := &fleet.Bundle{Spec: fleet.BundleSpec{
		BundleDeploymentOptions: fleet.BundleDeploymentOptions{
			DefaultNamespace: "shop", Helm: values("plain"), DownstreamResources: []fleet.DownstreamResource{{Kind: "Secret", Name: "pull"}},
		},
		Targets: []fleet.BundleTarget{
			{ClusterSelector: &metav1.LabelSelector{MatchLabels: map[string]string{"env": "dev"}}, BundleDeploymentOptions: fleet.BundleDeploymentOptions{Helm: values("${ .ClusterName }")}},
			{ClusterSelector: &metav1.LabelSelector{MatchLabels: map[string]string{"env": "bad"}}, BundleDeploymentOptions: fleet.BundleDeploymentOptions{Helm: values("${ .ClusterLabels.missing }")}},
			{ClusterSelector: &metav1.LabelSelector{}},
		},
	}}
	matcher := targeting.Compile("clusters", &full.Spec, nil)
	newBook := func() *book {
		return &book{sources: newSources(map[copies.Ref]copies.Copy{{Kind: "Secret", Name: "pull"}: {Kind: "Secret", Name: "pull", UID: "u"}}), full: full, content: "s-1", variants: map[variantKey]*variant{}, matchers: map[string]*targeting.Matcher{"clusters": matcher}}
	}
	first, second := newBook(), newBook()
	for i := range 60 {
		labels := map[string]string{}
		if env := []string{"", "dev", "prod", "bad"}[i%4]; env != "" {
			labels["env"] = env
		}
		cluster := clusterOf(fmt.Sprint("c", i), labels)
		d := matcher.Match(cluster)
		v, err := first.variant(d, cluster)
		if err != nil {
			t.Fatal(err)
		}
		got := rollout.Target{Cluster: cluster}
		v.apply(&got, first, nil, nil)
		first.put(got, entry{cluster: kube.KeyOf(cluster), variant: v})

		want := first.compute(v.merged, cluster)
		if got.DeploymentID != want.deploymentID || got.ValuesHash != want.valuesHash || got.Problem != want.problem {
			t.Fatalf("%s: %+v, by itself it would be %+v", cluster.Name, got, want)
		}
		if (want.problem != "") != (labels["env"] == "bad") {
			t.Fatalf("%s: problem %q", cluster.Name, want.problem)
		}
		// Another book, from the same input: kept, and the same.
		w, err := second.variant(d, cluster)
		if err != nil {
			t.Fatal(err)
		}
		again := rollout.Target{Cluster: cluster.DeepCopy()}
		w.apply(&again, second, &got, v)
		if again.DeploymentID != want.deploymentID || again.ValuesHash != want.valuesHash || again.Problem != want.problem {
			t.Fatalf("%s: kept %+v, want %+v", cluster.Name, again, want)
		}
		// A label that a template reads has changed.
		other := clusterOf("other-"+cluster.Name, labels)
		changed := rollout.Target{Cluster: other}
		w.apply(&changed, second, &got, v)
		if fresh := second.compute(w.merged, other); changed.DeploymentID != fresh.deploymentID && !v.varies {
			t.Fatalf("%s: %s, want %s", other.Name, changed.DeploymentID, fresh.deploymentID)
		}
	}
	if len(first.variants) != 4 {
		t.Errorf("%d variants for 60 clusters", len(first.variants))
	}
	// Their deployments are written at once, with nothing computed before: what was kept from an earlier book needed no look.
	first.sources = newSources(first.sources.copies)
	var writers sync.WaitGroup
	for i := range first.targets {
		writers.Go(func() {
			in, err := first.inputs(i)
			if err != nil {
				t.Error(err)
			}
			if t0 := &first.targets[i]; t0.Problem == "" && (bundle.DeploymentValuesHash(in.Values) != t0.ValuesHash || names.Digest(in.Copies) != t0.Copies || t0.Copies == "") {
				t.Errorf("%s: inputs of another hash", first.entries[i].cluster.Name)
			}
		})
	}
	writers.Wait()
}
