package registrations

import (
	"maps"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/yaml"

	fleet "github.com/flotilla-gitops/flotilla/pkg/apis/fleet.cattle.io/v1alpha1"
	"github.com/flotilla-gitops/flotilla/pkg/names"
)

func TestImageOf(t *testing.T) {
	for image, want := range map[string]agentImage{
		"":                     {},
		"flotilla-agent":       {Repository: "flotilla-agent"},
		"flotilla-agent:0.1.0": {Repository: "flotilla-agent", Tag: "0.1.0"},
		"registry.example.com:5000/flotilla/flotilla-agent:0.1.0": {
			Registry: "registry.example.com:5000/flotilla", Repository: "flotilla-agent", Tag: "0.1.0",
		},
		"registry.example.com:5000/flotilla-agent": {Registry: "registry.example.com:5000", Repository: "flotilla-agent"},
		"hub/flotilla-agent@sha256:abc":            {Registry: "hub", Repository: "flotilla-agent", Digest: "sha256:abc"},
		"hub/flotilla-agent:1@sha256:abc":          {Registry: "hub", Repository: "flotilla-agent", Tag: "1", Digest: "sha256:abc"},
	} {
		if got := imageOf(image); got != want {
			t.Errorf("%s: got %+v, want %+v", image, got, want)
		}
	}
}

// An agent that joins gets the hub's own image, and another after the hub was upgraded.
func TestValuesNameTheImageOfTheHubsAgents(t *testing.T) {
	c := &controller{Deps: Deps{AgentImage: "registry.example.com/flotilla/flotilla-agent:0.1.0"}}
	token := &fleet.ClusterRegistrationToken{ObjectMeta: metav1.ObjectMeta{Namespace: "fleet-default", Name: "join"}}
	values, err := c.values(token, "a.b.c")
	if err != nil {
		t.Fatal(err)
	}
	var got struct{ Image map[string]string }
	if err := yaml.Unmarshal(values, &got); err != nil {
		t.Fatal(err)
	}
	want := map[string]string{"registry": "registry.example.com/flotilla", "repository": "flotilla-agent", "tag": "0.1.0"}
	if !maps.Equal(got.Image, want) {
		t.Errorf("the image is %v, want %v", got.Image, want)
	}
	secret := &corev1.Secret{Data: map[string][]byte{names.KeyValues: values}}
	if !c.upToDate(secret) {
		t.Error("what was just written is to be written anew")
	}
	c.AgentImage = "registry.example.com/flotilla/flotilla-agent:0.2.0"
	if c.upToDate(secret) {
		t.Error("another image is no reason to write the values anew")
	}
}
