package faults

import (
	"context"
	"encoding/json"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/flotilla-gitops/flotilla/integrationtests/churn/oracle"
	"github.com/flotilla-gitops/flotilla/integrationtests/harness"
	"github.com/flotilla-gitops/flotilla/pkg/kube"
	"github.com/flotilla-gitops/flotilla/pkg/names"
)

type ctx = context.Context

func decode(t *testing.T, data []byte, into any) {
	t.Helper()
	if err := json.Unmarshal(data, into); err != nil {
		t.Errorf("reading %q: %v", data, err)
	}
}

// dump tells the state of the scene, one line for each object, without what differs from one run to another.
func (s *scene) dump() []string {
	var lines []string
	places := []string{s.home, "home", s.away, "away"}
	ours := map[string]bool{s.home: true, s.away: true}
	add := func(kind string, key kube.Key, obj any) {
		if ours[key.Namespace] {
			lines = append(lines, told(kind, key, obj))
		}
	}
	deployed := map[kube.Key]bool{}
	s.witness.Look(func(w *oracle.World) {
		for key, obj := range w.Clusters {
			add("Cluster", key, obj)
			namespace := names.ClusterNamespace(key.Namespace, key.Name)
			ours[namespace] = ours[key.Namespace]
			// The namespace of a cluster is named after its workspace, so it is replaced first.
			places = append([]string{namespace, "place-of-" + key.Name}, places...)
		}
		for key, obj := range w.GitRepos {
			add("GitRepo", key, obj)
		}
		for key, obj := range w.Bundles {
			add("Bundle", key, obj)
		}
		for key, obj := range w.Deployments {
			add("BundleDeployment", key, obj)
			deployed[key] = true
		}
		for key, obj := range w.Groups {
			add("ClusterGroup", key, obj)
		}
	})
	for namespace := range ours {
		secrets := env.Secrets.All(s, namespace, nil).Items
		for i := range secrets {
			// The values of what is gone may stay for a minute.
			if key := harness.KeyOf(&secrets[i]); secrets[i].Type == names.SecretTypeDeployment && deployed[key] {
				add("Secret", key, &secrets[i])
			}
		}
	}
	for i := range lines {
		lines[i] = strings.NewReplacer(places...).Replace(lines[i])
	}
	slices.Sort(lines)
	return lines
}

// told tells one object.
func told(kind string, key kube.Key, obj any) string {
	data, err := json.Marshal(obj)
	if err != nil {
		return err.Error()
	}
	var fields map[string]any
	if err := json.Unmarshal(data, &fields); err != nil {
		return err.Error()
	}
	strip(fields)
	if data, err = json.Marshal(fields); err != nil {
		return err.Error()
	}
	line := regexp.MustCompile(`[0-9a-f]{40,}`).ReplaceAllString(string(data), "#")
	line = regexp.MustCompile(`http://[^"]*`).ReplaceAllString(line, "URL")
	return fmt.Sprintf("%s %s %s", kind, key, line)
}

// strip takes away what differs from one run to another.
func strip(value any) {
	switch value := value.(type) {
	case map[string]any:
		for _, key := range []string{
			"resourceVersion", "uid", "generation", "observedGeneration", "creationTimestamp", "managedFields", "lastSeen",
			"lastUpdateTime", "lastTransitionTime", "lastPollingTriggered", "lastWebhookTime", "kind", "apiVersion", "newlyCreated",
		} {
			delete(value, key)
		}
		for _, inner := range value {
			strip(inner)
		}
	case []any:
		for _, inner := range value {
			strip(inner)
		}
	}
}

// differences returns the lines that only one of two sorted dumps has.
func differences(got, want []string) []string {
	var lines []string
	for _, line := range got {
		if !slices.Contains(want, line) {
			lines = append(lines, "got  "+line)
		}
	}
	for _, line := range want {
		if !slices.Contains(got, line) {
			lines = append(lines, "want "+line)
		}
	}
	return lines
}
