package gitrepos

import (
	"fmt"
	"net"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/flotilla-gitops/flotilla/dev/gitserver"
	"github.com/flotilla-gitops/flotilla/dev/gitserver/repo"
	"github.com/flotilla-gitops/flotilla/integrationtests/harness"
	fleet "github.com/flotilla-gitops/flotilla/pkg/apis/fleet.cattle.io/v1alpha1"
	"github.com/flotilla-gitops/flotilla/pkg/kube"
)

type harnessKey = kube.Key

// deployed is a GitRepo whose two bundles are deployed to one cluster.
func deployed(t *testing.T) (*harness.Repository, kube.Key) {
	t.Helper()
	ws := env.Workspace(t)
	cluster(t, ws)
	r := shop(t)
	key := follow(t, ws, r.URL, nil)
	awaitDesired(t, key, 2)
	return r, key
}

// nothingLost fails if one of the GitRepo's bundles or deployments was deleted.
func nothingLost(t *testing.T, key kube.Key, before map[string]*fleet.Bundle) {
	t.Helper()
	now := bundles(t, key)
	for name, b := range before {
		if now[name] == nil || now[name].UID != b.UID {
			t.Errorf("bundle %s was deleted", name)
		}
	}
	awaitDesired(t, key, len(before))
}

func TestRepositoryThatIsAwayDeletesNothingAndIsTriedAgain(t *testing.T) {
	t.Parallel()
	r, key := deployed(t)
	before := bundles(t, key)
	r.Serve(t, gitserver.Behaviour{Failure: gitserver.FailError})
	awaitTrouble(t, key, fleet.ConditionGitPolling, r.URL)
	nothingLost(t, key, before)
	r.Serve(t, gitserver.Behaviour{})
	awaitNoTrouble(t, key)
	awaitCommit(t, key, r.Push(t, repo.Change{Write: map[string]string{"web/configmap.yaml": configMap("web", "two")}}))
}

func TestAddressThatNobodyListensOn(t *testing.T) {
	t.Parallel()
	listener, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	address := listener.Addr().String()
	if err := listener.Close(); err != nil {
		t.Fatal(err)
	}
	key := follow(t, env.Workspace(t), "http://"+address+"/shop.git", nil)
	awaitTrouble(t, key, fleet.ConditionGitPolling, address)
}

func TestBranchThatDoesNotExist(t *testing.T) {
	t.Parallel()
	r, key := deployed(t)
	before := bundles(t, key)
	env.GitRepos.Edit(t, key, func(gr *fleet.GitRepo) { gr.Spec.Branch = "mian" })
	awaitTrouble(t, key, fleet.ConditionGitPolling, "mian")
	nothingLost(t, key, before)
	r.Push(t, repo.Change{Branch: "mian", Write: map[string]string{"web/configmap.yaml": configMap("web", "x")}})
	awaitNoTrouble(t, key)
	awaitBundles(t, key, "shop-web")
}

func TestWrongPasswordIsSaidWithoutSayingIt(t *testing.T) {
	t.Parallel()
	ws := env.Workspace(t)
	r := shop(t)
	r.Serve(t, gitserver.Behaviour{Username: "bot", Password: "right-canary"})
	secret := env.Secrets.Make(t, &corev1.Secret{
		ObjectMeta: metav1.ObjectMeta{Namespace: ws, Name: "git"}, Type: corev1.SecretTypeBasicAuth,
		StringData: map[string]string{"username": "bot", "password": "wrong-canary"},
	})
	key := follow(t, ws, r.URL, func(gr *fleet.GitRepo) { gr.Spec.ClientSecretName = "git" })
	gr := env.GitRepos.AwaitCondition(t, key, fleet.Condition{Type: fleet.ConditionGitPolling, Status: "False", Reason: "AuthenticationFailed"})
	if text := fmt.Sprintf("%+v", gr.Status); strings.Contains(text, "canary") {
		t.Errorf("the status shows a password: %s", text)
	}
	env.Secrets.Edit(t, harness.KeyOf(secret), func(s *corev1.Secret) { s.Data["password"] = []byte("right-canary") })
	awaitBundles(t, key, "shop-api", "shop-web")
	awaitNoTrouble(t, key)
}

func TestSecretThatIsMissing(t *testing.T) {
	t.Parallel()
	ws := env.Workspace(t)
	r := shop(t)
	key := follow(t, ws, r.URL, func(gr *fleet.GitRepo) { gr.Spec.ClientSecretName = "absent" })
	awaitTrouble(t, key, fleet.ConditionGitPolling, "spec.clientSecretName: Secret absent is not in namespace "+ws)
}

func TestManifestThatDoesNotParse(t *testing.T) {
	t.Parallel()
	r, key := deployed(t)
	before := bundles(t, key)
	r.Push(t, repo.Change{Write: map[string]string{
		"web/configmap.yaml": "kind: ConfigMap\n  data: [\n",
		"api/configmap.yaml": configMap("api", "two"),
	}})
	awaitTrouble(t, key, fleet.ConditionAccepted, "web/configmap.yaml:2")
	nothingLost(t, key, before)
	// The other folder goes on.
	env.Bundles.Await(t, kube.Key{Namespace: key.Namespace, Name: "shop-api"}, func(b *fleet.Bundle) error {
		if !strings.Contains(b.Spec.Resources[0].Content, "two") {
			return fmt.Errorf("it is not the second commit's")
		}
		return nil
	})
	r.Push(t, repo.Change{Write: map[string]string{"web/configmap.yaml": configMap("web", "two")}})
	awaitNoTrouble(t, key)
}

func TestFieldThatNobodyKnowsIsAWarning(t *testing.T) {
	t.Parallel()
	ws := env.Workspace(t)
	r := shop(t)
	r.Push(t, repo.Change{Write: map[string]string{"web/fleet.yaml": "defaultNamespace: shop\nnamespce: x\n"}})
	key := follow(t, ws, r.URL, nil)
	awaitBundles(t, key, "shop-api", "shop-web")
	env.GitRepos.AwaitCondition(t, key, fleet.Condition{Type: fleet.ConditionAccepted, Status: "True", Message: "web/fleet.yaml:2"})
}

func TestPathThatMatchesNothingDeletesNothing(t *testing.T) {
	t.Parallel()
	_, key := deployed(t)
	before := bundles(t, key)
	env.GitRepos.Edit(t, key, func(gr *fleet.GitRepo) { gr.Spec.Paths = []string{"aps/*"} })
	awaitTrouble(t, key, fleet.ConditionAccepted, `spec.paths: "aps/*" matches no folder`)
	nothingLost(t, key, before)
	env.GitRepos.Edit(t, key, func(gr *fleet.GitRepo) { gr.Spec.Paths = []string{"web"} })
	awaitNoTrouble(t, key)
	awaitBundles(t, key, "shop-web")
}

func TestClusterGroupThatIsMissing(t *testing.T) {
	t.Parallel()
	_, key := deployed(t)
	before := bundles(t, key)
	env.GitRepos.Edit(t, key, func(gr *fleet.GitRepo) { gr.Spec.Targets = []fleet.GitTarget{{Name: "g", ClusterGroup: "absent"}} })
	env.GitRepos.AwaitCondition(t, key, fleet.Condition{
		Type: fleet.ConditionReady, Status: "False", Message: `there is no ClusterGroup "absent"`,
	})
	now := bundles(t, key)
	for name := range before {
		if now[name] == nil {
			t.Errorf("bundle %s was deleted", name)
		}
	}
	env.ClusterGroups.Make(t, &fleet.ClusterGroup{
		ObjectMeta: metav1.ObjectMeta{Namespace: key.Namespace, Name: "absent"},
		Spec:       fleet.ClusterGroupSpec{Selector: &metav1.LabelSelector{}},
	})
	awaitDesired(t, key, 2)
}

func TestNameThatIsTaken(t *testing.T) {
	t.Parallel()
	ws := env.Workspace(t)
	r := shop(t)
	first := follow(t, ws, r.URL, nil)
	awaitBundles(t, first, "shop-api", "shop-web")
	other := harness.GitRepository(t)
	other.Push(t, repo.Change{Write: map[string]string{"x/configmap.yaml": configMap("x", "y"), "x/fleet.yaml": "name: shop-web\n"}})
	second := follow(t, ws, other.URL, func(gr *fleet.GitRepo) { gr.Name = "other" })
	awaitTrouble(t, second, fleet.ConditionAccepted, "bundle shop-web already exists and belongs to GitRepo shop")
	awaitBundles(t, first, "shop-api", "shop-web")
	env.GitRepos.Remove(t, first)
	awaitBundles(t, second, "shop-web")
	awaitNoTrouble(t, second)
}

func TestKindsThatAreNotBuiltYetSaySo(t *testing.T) {
	t.Parallel()
	ws := env.Workspace(t)
	op := env.HelmOps.Make(t, &fleet.HelmOp{ObjectMeta: metav1.ObjectMeta{Namespace: ws, Name: "op"}})
	env.HelmOps.AwaitCondition(t, harness.KeyOf(op), fleet.Condition{
		Type: fleet.ConditionAccepted, Status: "False", Reason: fleet.ReasonNotImplemented,
	})
}
