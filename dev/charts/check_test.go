package charts

import (
	"fmt"
	"slices"
	"testing"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/runtime"
)

// `helm test` runs the very image of what it looks at, as the same account and as restricted, and nothing else picks its pod up.
func TestHelmTestRunsTheSameImage(t *testing.T) {
	for name, cases := range matrix() {
		for which, vals := range cases {
			where := name + ", " + which
			for _, deployment := range deploymentsOf(t, name, vals) {
				hooks := render(t, name, vals).Hooks
				if len(hooks) != 1 || hooks[0].GetKind() != "Pod" || hooks[0].GetAnnotations()["helm.sh/hook"] != "test" {
					t.Fatalf("%s: the hooks are %v", where, hooks)
				}
				var pod corev1.Pod
				if err := runtime.DefaultUnstructuredConverter.FromUnstructuredWithValidation(hooks[0].Object, &pod, true); err != nil {
					t.Fatalf("%s: %v", where, err)
				}
				checked, check := deployment.Spec.Template.Spec, pod.Spec.Containers[0]
				if check.Image != checked.Containers[0].Image || pod.Spec.ServiceAccountName != checked.ServiceAccountName {
					t.Errorf("%s: it runs %s as %s", where, check.Image, pod.Spec.ServiceAccountName)
				}
				if check.SecurityContext.String() != checked.Containers[0].SecurityContext.String() ||
					pod.Spec.HostNetwork != checked.HostNetwork {
					t.Errorf("%s: its security context is %v", where, check.SecurityContext)
				}
				want := []string{"check", "--namespace=" + deployment.Namespace}
				if !slices.Equal(check.Args, want) {
					t.Errorf("%s: its arguments are %v", where, check.Args)
				}
				for key, value := range deployment.Spec.Selector.MatchLabels {
					if pod.Labels[key] == value {
						t.Errorf("%s: its label %s is that of the pods it looks at", where, fmt.Sprint(key, "=", value))
					}
				}
			}
		}
	}
}
