package agent

import (
	"fmt"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/flotilla-gitops/flotilla/pkg/agent"
	fleet "github.com/flotilla-gitops/flotilla/pkg/apis/fleet.cattle.io/v1alpha1"
)

// plainTemplate looks nothing up.
const plainTemplate = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: greeting}\ndata: {text: {{ .Values.greeting | quote }}}\n"

// as has a deployment handled as a service account of the agent's namespace.
func as(serviceAccount string) func(*fleet.BundleDeployment) {
	return func(bd *fleet.BundleDeployment) { bd.Spec.Options.ServiceAccount = serviceAccount }
}

// permit lets a service account of the agent's namespace do something in a
// namespace, under a name of its own.
func (w *world) permit(serviceAccount, namespace, name string, rules ...rbacv1.PolicyRule) {
	w.t.Helper()
	rbac := env.Kubernetes.RbacV1()
	role := &rbacv1.Role{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: name}, Rules: rules}
	_, err := rbac.Roles(namespace).Create(w.t.Context(), role, metav1.CreateOptions{})
	if apierrors.IsAlreadyExists(err) {
		_, err = rbac.Roles(namespace).Update(w.t.Context(), role, metav1.UpdateOptions{})
	}
	if err != nil {
		w.t.Fatal(err)
	}
	binding := &rbacv1.RoleBinding{
		ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: name},
		Subjects:   []rbacv1.Subject{{Kind: rbacv1.ServiceAccountKind, Namespace: w.agent, Name: serviceAccount}},
		RoleRef:    rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "Role", Name: name},
	}
	if _, err := rbac.RoleBindings(namespace).Create(w.t.Context(), binding, metav1.CreateOptions{}); err != nil && !apierrors.IsAlreadyExists(err) {
		w.t.Fatal(err)
	}
}

func on(resource string, verbs ...string) rbacv1.PolicyRule {
	return rbacv1.PolicyRule{APIGroups: []string{"", "batch"}, Resources: []string{resource}, Verbs: verbs}
}

// user is the name by which the API server knows a service account of the
// agent's namespace.
func (w *world) user(serviceAccount string) string {
	return fmt.Sprintf("system:serviceaccount:%s:%s", w.agent, serviceAccount)
}

func TestLookupSeesWhatTheServiceAccountMaySee(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.start()
	theirs := w.makeNamespace("")
	for _, name := range []string{"open", "closed"} {
		w.make(&corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Namespace: theirs, Name: name}, Data: map[string]string{"key": "of-" + name}})
	}
	w.allow("tenant", w.target)
	only := on("configmaps", "get")
	only.ResourceNames = []string{"open"}
	w.permit("tenant", theirs, "open", only)

	template := func(name string) map[string]string {
		return chart(`apiVersion: v1
kind: ConfigMap
metadata:
  name: {{ .Release.Name }}
data:
  found: {{ dig "data" "key" "nothing" (lookup "v1" "ConfigMap" "` + theirs + `" "` + name + `") | quote }}
`)
	}
	key := w.deploy("app", manifest(template("open")).with(as("tenant")))
	w.awaitReady(key)
	if found := w.configMap("app").Data["found"]; found != "of-open" {
		t.Errorf("the template found %q", found)
	}

	// What the account may not see is refused, and said with the file; what runs stays.
	w.change(key, manifest(template("closed")).with(as("tenant")))
	w.awaitFailed(key, `configmaps "closed" is forbidden: User "`+w.user("tenant")+`" cannot get`)
	w.awaitFailed(key, "templates/main.yaml")
	if found := w.configMap("app").Data["found"]; found != "of-open" {
		t.Errorf("after an upgrade that failed the object says %q", found)
	}

	// Without an account nothing is found: the agent itself could see everything.
	none := w.deploy("none", manifest(template("open")))
	w.awaitReady(none)
	if found := w.configMap("none").Data["found"]; found != "nothing" {
		t.Errorf("as the agent itself, the template found %q", found)
	}

	// Also when the release moves, which renders it twice.
	w.change(key, manifest(template("open")).with(as("tenant")).with(helmOptions(func(o *fleet.HelmOptions) { o.ReleaseName = "moved" })))
	w.awaitReady(key)
	if found := w.configMap("moved").Data["found"]; found != "of-open" {
		t.Errorf("after a move, the template found %q", found)
	}
}

// Everything that is done for a deployment is done as its service account, and
// refused in its name.
func TestTenantReachesNothingBeyondItsAccount(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.start()
	w.allow("tenant", w.target)
	theirs := w.makeNamespace("")
	secret := func(namespace string) {
		w.putSecret(&corev1.Secret{
			ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: "values"}, Data: map[string][]byte{"values.yaml": []byte("greeting: stolen-greeting\n")},
		})
	}
	secret(w.target)
	secret(theirs)
	from := func(namespace string) func(*fleet.BundleDeployment) {
		return helmOptions(func(o *fleet.HelmOptions) {
			o.ValuesFrom = []fleet.ValuesFrom{{SecretKeyRef: &fleet.SecretKeySelector{
				LocalObjectReference: corev1.LocalObjectReference{Name: "values"}, Namespace: namespace,
			}}}
		})
	}
	nowhere := w.target + "-nowhere"
	for name, test := range map[string]struct {
		ask  ask
		says string
	}{
		"object": {manifest(map[string]string{"a.yaml": "apiVersion: v1\nkind: Service\nmetadata: {name: s}\nspec: {ports: [{port: 80}]}\n"}), "services"},
		"elsewhere": {manifest(map[string]string{
			"a.yaml": "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: e, namespace: " + theirs + "}\n",
		}), "configmaps"},
		"hook":      {manifest(withFiles(chart(plainTemplate), map[string]string{"hook.yaml": jobYAML("tenants", "pre-install", "false")})), "jobs.batch"},
		"values":    {manifest(chart(plainTemplate)).with(from("")), `secrets "values" is forbidden`},
		"valuesfar": {manifest(chart(plainTemplate)).with(from(theirs)), `secrets "values" is forbidden`},
		"namespace": {manifest(map[string]string{"a.yaml": configMapYAML("inside", "1")}).with(func(bd *fleet.BundleDeployment) {
			bd.Spec.Options.DefaultNamespace = nowhere
		}), "creating namespace " + nowhere},
		"labels": {manifest(map[string]string{"a.yaml": configMapYAML("l", "1")}).with(func(bd *fleet.BundleDeployment) {
			bd.Spec.Options.NamespaceLabels = map[string]string{"pod-security.kubernetes.io/enforce": "privileged"}
		}), "of namespace " + w.target},
		"noname": {manifest(map[string]string{"a.yaml": configMapYAML("x", "1")}), `serviceAccount " " cannot be the name of a service account`},
	} {
		account := "tenant"
		if name == "noname" {
			account = " "
		}
		key := w.deploy(name, test.ask.with(as(account)))
		failed := w.awaitFailed(key, test.says)
		if account == "tenant" {
			w.awaitFailed(key, w.user("tenant"))
		}
		if failed.Status.Release != "" && name != "object" && name != "elsewhere" && name != "hook" {
			t.Errorf("%s: there is a release: %s", name, failed.Status.Release)
		}
	}
	for _, name := range []string{"greeting", "inside", "l", "x"} {
		if w.configMap(name) != nil {
			t.Errorf("ConfigMap %s was installed", name)
		}
	}
	if _, err := env.Kubernetes.CoreV1().Namespaces().Get(t.Context(), nowhere, metav1.GetOptions{}); !apierrors.IsNotFound(err) {
		t.Errorf("the namespace was made: %v", err)
	}
}

func TestRemovalActsAsTheServiceAccount(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.configure = func(c *agent.Config) { c.LongestRetry = 2 * time.Second }
	w.start()
	w.permit("tenant", w.target, "deploy", on("configmaps", "get", "create", "patch", "update"))
	key := w.deploy("app", manifest(withFiles(chart(plainTemplate), map[string]string{
		"hook.yaml": jobYAML("goodbye", "pre-delete", "false"),
	})).with(as("tenant")))
	w.awaitReady(key)
	env.BundleDeployments.Remove(t, key)
	stuck := func(says string) {
		t.Helper()
		env.BundleDeployments.AwaitCondition(t, key, fleet.Condition{Type: fleet.ConditionRemoved, Status: metav1.ConditionFalse, Message: says})
		if w.configMap("greeting") == nil {
			t.Fatal("it was removed as somebody else")
		}
	}
	stuck(`jobs.batch "goodbye" is forbidden: User "` + w.user("tenant"))
	w.permit("tenant", w.target, "hooks", on("jobs", "get", "list", "watch", "create", "delete"))
	stuck(`configmaps "greeting" is forbidden: User "` + w.user("tenant") + `" cannot delete`)
	w.permit("tenant", w.target, "remove", on("configmaps", "delete"))
	w.awaitRemoved(key)
	if w.configMap("greeting") != nil {
		t.Error("it is left")
	}
}

func TestServiceAccountCanBeRequired(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.start()
	before := w.deploy("before", manifest(map[string]string{"a.yaml": configMapYAML("before", "1")}))
	w.awaitReady(before)
	w.stop()
	w.configure = func(c *agent.Config) { c.RequireServiceAccount, c.LongestRetry = true, 2*time.Second }
	w.start()

	const says = "no service account to act as, and the agent must not act as itself: set serviceAccount to one of namespace "
	nowhere := w.target + "-nowhere"
	key := w.deploy("app", manifest(map[string]string{"a.yaml": configMapYAML("a", "1")}).with(func(bd *fleet.BundleDeployment) {
		bd.Spec.Options.DefaultNamespace = nowhere
	}))
	w.awaitFailed(key, says+w.agent)
	if _, err := env.Kubernetes.CoreV1().Namespaces().Get(t.Context(), nowhere, metav1.GetOptions{}); !apierrors.IsNotFound(err) {
		t.Errorf("the namespace was made: %v", err)
	}
	w.change(key, manifest(map[string]string{"a.yaml": configMapYAML("a", "1")}))
	w.awaitFailed(key, says+w.agent)
	env.BundleDeployments.Remove(t, before)
	env.BundleDeployments.AwaitCondition(t, before, fleet.Condition{Type: fleet.ConditionRemoved, Status: metav1.ConditionFalse, Message: says})
	if w.configMap("a") != nil || w.configMap("before") == nil {
		t.Fatal("the agent acted as itself")
	}

	w.allow("tenant", w.target)
	tenants := w.deploy("tenants", manifest(map[string]string{"a.yaml": configMapYAML("tenants", "1")}).with(as("tenant")))
	w.awaitReady(tenants)

	// The default account is an account.
	w.allow("fleet-default", w.target)
	account := &corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Namespace: w.agent, Name: "fleet-default"}}
	if _, err := env.Kubernetes.CoreV1().ServiceAccounts(w.agent).Create(t.Context(), account, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	w.awaitReady(key)
	w.awaitRemoved(before)
}
