package copies

import (
	"reflect"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	fleet "github.com/flotilla-gitops/flotilla/pkg/apis/fleet.cattle.io/v1alpha1"
	"github.com/flotilla-gitops/flotilla/pkg/names"
)

func TestRefs(t *testing.T) {
	type resources = []fleet.DownstreamResource
	for name, tt := range map[string]struct {
		in    resources
		want  []Ref
		wrong []string
	}{
		"nothing":                     {},
		"kinds in small letters":      {resources{{Kind: "secret", Name: "b"}, {Kind: "configmap", Name: "a"}}, []Ref{{"ConfigMap", "a"}, {"Secret", "b"}}, nil},
		"each once, sorted":           {resources{{Kind: "Secret", Name: "b"}, {Kind: "Secret", Name: "a"}, {Kind: "SECRET", Name: "b"}}, []Ref{{"Secret", "a"}, {"Secret", "b"}}, nil},
		"one name, two kinds":         {resources{{Kind: "Secret", Name: "a"}, {Kind: "ConfigMap", Name: "a"}}, []Ref{{"ConfigMap", "a"}, {"Secret", "a"}}, nil},
		"another kind":                {resources{{Kind: "Secret", Name: "a"}, {Kind: "Pod", Name: "a"}}, []Ref{{"Secret", "a"}}, []string{"downstreamResources[1].kind: Pod cannot be copied: only Secret and ConfigMap can"}},
		"no kind":                     {resources{{Name: "a"}}, nil, []string{"downstreamResources[0].kind: it is missing: write Secret or ConfigMap"}},
		"no name":                     {resources{{Kind: "Secret"}}, nil, []string{"downstreamResources[0].name: it is missing: write the name of the Secret in the workspace"}},
		"a name that leads elsewhere": {resources{{Kind: "ConfigMap", Name: "../x"}}, nil, []string{`downstreamResources[0].name: "../x" is no name of a ConfigMap: `}},
	} {
		refs, wrong := Refs(tt.in)
		if !reflect.DeepEqual(refs, tt.want) || len(wrong) != len(tt.wrong) {
			t.Errorf("%s: %v, %v; want %v, %q", name, refs, wrong, tt.want, tt.wrong)
			continue
		}
		for i := range wrong {
			if !strings.HasPrefix(wrong[i].Error(), tt.wrong[i]) {
				t.Errorf("%s: %v, want %q", name, wrong[i], tt.wrong[i])
			}
		}
	}
}

func secretCopy(password string) Copy {
	return OfSecret(&corev1.Secret{
		ObjectMeta: metav1.ObjectMeta{
			Namespace: "ws", Name: "pull", UID: "u1", ResourceVersion: "7",
			Labels: map[string]string{"argocd.argoproj.io/instance": "hub"}, Annotations: map[string]string{"a": "b"},
		},
		Type: corev1.SecretTypeOpaque, Data: map[string][]byte{"password": []byte(password)},
	})
}

func mapCopy() Copy {
	return OfConfigMap(&corev1.ConfigMap{
		ObjectMeta: metav1.ObjectMeta{Namespace: "ws", Name: "settings", UID: "u2"},
		Data:       map[string]string{"values.yaml": "a: b"}, BinaryData: map[string][]byte{"bin": {0, 1}},
	})
}

func TestEncodeAndDecode(t *testing.T) {
	first, digest, err := Encode([]Copy{secretCopy("x"), mapCopy()})
	if err != nil {
		t.Fatal(err)
	}
	second, same, _ := Encode([]Copy{mapCopy(), secretCopy("x")})
	if string(first) != string(second) || digest != same || digest != names.Digest(first) {
		t.Error("the order matters")
	}
	if strings.Contains(string(first), "argocd") {
		t.Error("labels of the hub go along")
	}
	list, err := Decode(first)
	if want := []Copy{mapCopy(), secretCopy("x")}; err != nil || !reflect.DeepEqual(list, want) {
		t.Errorf("got %+v, %v", list, err)
	}
	if value, ok := list[0].Value("values.yaml"); !ok || value != "a: b" {
		t.Errorf("value is %q", value)
	}
	if value, ok := list[1].Value("password"); !ok || value != "x" {
		t.Errorf("value is %q", value)
	}
	if _, ok := list[0].Value("bin"); ok {
		t.Error("bytes are no values")
	}
	// The same content of another object has another digest: nobody can look for the content that belongs to a digest.
	other := secretCopy("x")
	other.UID = "u3"
	if _, another, _ := Encode([]Copy{other, mapCopy()}); another == digest {
		t.Error("the digest is that of the content alone")
	}
	if encoded, digest, err := Encode(nil); encoded != nil || digest != "" || err != nil || names.Digest(nil) != "" {
		t.Error("nothing has a digest")
	}
	if list, err := Decode(nil); list != nil || err != nil {
		t.Error("nothing cannot be read")
	}
}

func TestCopiesHaveABound(t *testing.T) {
	_, _, err := Encode([]Copy{secretCopy(strings.Repeat("x", MaxSize))})
	if want := "downstreamResources: together they are 683 KiB, encoded, and may be 512: take some out, or make them smaller"; err == nil || err.Error() != want {
		t.Errorf("got %v, want %s", err, want)
	}
}

func FuzzDecode(f *testing.F) {
	encoded, _, _ := Encode([]Copy{secretCopy("hunter2-hunter2"), mapCopy()})
	f.Add(encoded)
	f.Add([]byte(`[{"kind":"Pod","name":"x"}]`))
	f.Add([]byte(`[null]`))
	f.Fuzz(func(t *testing.T, data []byte) {
		list, err := Decode(data)
		if err != nil {
			if strings.Contains(err.Error(), "hunter2") {
				t.Errorf("the error tells the content: %v", err)
			}
			return
		}
		for i := range list {
			change, made, err := Terms{Namespace: "target", Owner: Owner{"agents", "app"}}.Provide(Object{}, &list[i])
			if err != nil || change != Create || made.Meta().GetNamespace() != "target" {
				t.Errorf("got %v, %v", change, err)
			}
		}
	})
}

func TestRefused(t *testing.T) {
	secret := func(name string, kind corev1.SecretType) *corev1.Secret {
		return &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: "ws", Name: name}, Type: kind}
	}
	named := func(name string) metav1.ObjectMeta { return metav1.ObjectMeta{Namespace: "ws", Name: name} }
	uses := Uses{
		Clusters: []*fleet.Cluster{{ObjectMeta: named("c"), Spec: fleet.ClusterSpec{KubeConfigSecret: "kubeconfig"}}, {ObjectMeta: named("d")}},
		GitRepos: []*fleet.GitRepo{{ObjectMeta: named("r"), Spec: fleet.GitRepoSpec{
			ClientSecretName: "git", HelmSecretName: "charts", HelmSecretNameForPaths: "paths", WebhookSecret: "hook", OCIRegistrySecret: "oci",
		}}},
		HelmOps:      []*fleet.HelmOp{{ObjectMeta: named("h"), Spec: fleet.HelmOpSpec{HelmSecretName: "op"}}},
		Restrictions: []*fleet.GitRepoRestriction{{ObjectMeta: named("g"), DefaultClientSecretName: "default", AllowedClientSecretNames: []string{"allowed"}}},
		Policies: []*fleet.Policy{{ObjectMeta: named("p"),
			GitRepo: &fleet.GitRepoPolicy{DefaultClientSecretName: "policy", AllowedClientSecretNames: []string{"may"}},
			HelmOp:  &fleet.HelmOpPolicy{DefaultHelmSecretName: "oppolicy", AllowedHelmSecretNames: []string{"opmay"}},
		}},
	}
	for name, want := range map[string]string{
		"free": "", "kubeconfig": "Cluster c is reached", "git": "GitRepo r works", "charts": "GitRepo r works", "paths": "GitRepo r works",
		"hook": "GitRepo r works", "oci": "GitRepo r works", "op": "HelmOp h works", "default": "GitRepoRestriction g lets", "allowed": "GitRepoRestriction g lets",
		"policy": "Policy p lets", "may": "Policy p lets", "oppolicy": "Policy p lets", "opmay": "Policy p lets",
		names.SecretGitCredential: "it is what GitRepos use", names.SecretOCIStorage: "it is what GitRepos use",
	} {
		got := uses.Refused(secret(name, corev1.SecretTypeOpaque))
		if !strings.HasPrefix(got, want) || (want == "") != (got == "") {
			t.Errorf("%s: %q, want %q", name, got, want)
		}
	}
	for _, kind := range []corev1.SecretType{
		names.SecretTypeBundleValues, names.SecretTypeDeployment, names.SecretTypeOCIStorage, names.SecretTypeHelmOpAccess,
		names.SecretTypeAgentCredential, names.SecretTypeClusterRegValues, corev1.SecretTypeServiceAccountToken,
		corev1.SecretTypeBootstrapToken, "helm.sh/release.v1", corev1.SecretTypeDockercfg,
	} {
		if uses.Refused(secret("free", kind)) == "" {
			t.Errorf("a Secret of type %s can be copied", kind)
		}
	}
	for _, kind := range []corev1.SecretType{
		"", corev1.SecretTypeOpaque, corev1.SecretTypeTLS, corev1.SecretTypeDockerConfigJson, corev1.SecretTypeBasicAuth, corev1.SecretTypeSSHAuth,
	} {
		if got := uses.Refused(secret("free", kind)); got != "" {
			t.Errorf("a Secret of type %s cannot be copied: %s", kind, got)
		}
	}
}

// A Secret that a kind comes to name must not be forgotten.
func TestEveryNamedSecretIsRefused(t *testing.T) {
	for _, tt := range []struct {
		spec  any
		named []string
	}{
		{&fleet.GitRepoSpec{}, NamedByGitRepo(&fleet.GitRepo{})},
		{&fleet.HelmOpSpec{}, NamedByHelmOp(&fleet.HelmOp{})},
		{&fleet.ClusterSpec{}, NamedByCluster(&fleet.Cluster{})},
	} {
		var fields []string
		kind := reflect.TypeOf(tt.spec).Elem()
		for i := range kind.NumField() {
			if f := kind.Field(i); strings.Contains(f.Name, "Secret") && f.Type.Kind() == reflect.String && f.Name != "KubeConfigSecretNamespace" {
				fields = append(fields, f.Name)
			}
		}
		if len(fields) != len(tt.named) {
			t.Errorf("%s has %v; %d of them are known", kind.Name(), fields, len(tt.named))
		}
	}
}
