package registrations

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	authenticationv1 "k8s.io/api/authentication/v1"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/rest"

	"github.com/flotilla-gitops/flotilla/integrationtests/harness"
	"github.com/flotilla-gitops/flotilla/pkg/agent/registration"
	fleet "github.com/flotilla-gitops/flotilla/pkg/apis/fleet.cattle.io/v1alpha1"
	"github.com/flotilla-gitops/flotilla/pkg/kube"
	"github.com/flotilla-gitops/flotilla/pkg/names"
)

// From an installed agent to a Cluster that is ready, without anybody doing anything on the hub.
func TestAgentJoins(t *testing.T) {
	t.Parallel()
	workspace := env.Workspace(t)
	values := token(t, workspace, "join")
	d := newDownstream(t)
	d.bootstrap(values, map[string]string{
		names.KeyClientID:      "client-1",
		names.KeyClusterLabels: `{"env":"dev","fleet.cattle.io/managed":"true","management.cattle.io/cluster-name":"other","fleet.cattle.io/created-by-agent-pod":"p"}`,
	})
	started := time.Now()
	d.start()
	key := kube.Key{Namespace: workspace, Name: names.RegisteredCluster("client-1")}
	cluster := awaitReady(t, key)
	t.Logf("joined and ready after %s", time.Since(started).Round(time.Millisecond))
	if got := fmt.Sprint(cluster.Labels); got != "map[env:dev fleet.cattle.io/created-by-agent-pod:p]" {
		t.Errorf("labels %s", got)
	}
	if cluster.Spec.ClientID != "client-1" {
		t.Errorf("clientID %q", cluster.Spec.ClientID)
	}
	registrations := env.ClusterRegistrations.All(t, workspace, nil).Items
	if len(registrations) != 1 || !registrations[0].Status.Granted || registrations[0].Status.ClusterName != key.Name {
		t.Fatalf("registrations %v", registrations)
	}
	// One-time: once it has been used, it is gone, with the right to read it.
	name := names.RegistrationSecret("client-1", registrations[0].Spec.ClientRandom)
	harness.Eventually(t, "the answer is gone", func(ctx context.Context) error {
		_, err := env.Secrets.Get(ctx, names.NamespaceRegistrations, name)
		_, err2 := env.Kubernetes.RbacV1().Roles(names.NamespaceRegistrations).Get(ctx, name, metav1.GetOptions{})
		_, err3 := env.Kubernetes.RbacV1().RoleBindings(names.NamespaceRegistrations).Get(ctx, name, metav1.GetOptions{})
		if !apierrors.IsNotFound(err) || !apierrors.IsNotFound(err2) || !apierrors.IsNotFound(err3) {
			return errors.Join(errors.New("there still"), err, err2, err3)
		}
		return nil
	})
}

// A Cluster that somebody made with the agent's clientID is the one that is joined.
func TestExistingClusterIsJoined(t *testing.T) {
	t.Parallel()
	workspace := env.Workspace(t)
	key := kube.Key{Namespace: workspace, Name: "prod-eu"}
	cluster := harness.NewCluster(workspace, key.Name, map[string]string{"env": "prod"})
	cluster.Spec.ClientID = "client-2"
	env.Clusters.Make(t, cluster)
	d := newDownstream(t)
	d.bootstrap(token(t, workspace, "join"), map[string]string{names.KeyClientID: "client-2", names.KeyClusterLabels: `{"env":"dev"}`})
	d.start()
	if got := awaitReady(t, key); got.Labels["env"] != "prod" {
		t.Errorf("the agent has changed the labels to %v", got.Labels)
	}
	if all := env.Clusters.All(t, workspace, nil).Items; len(all) != 1 {
		t.Errorf("there are %d clusters", len(all))
	}
}

// Whatever is wrong is refused, with a reason that the agent and whoever looks at the hub can read.
func TestRefusals(t *testing.T) {
	t.Parallel()
	workspace := env.Workspace(t)
	values := token(t, workspace, "join")
	first := newDownstream(t)
	first.bootstrap(values, map[string]string{names.KeyClientID: "taken"})
	if err := first.register(); err != nil {
		t.Fatal(err)
	}
	imported := harness.NewCluster(workspace, "imported", nil)
	imported.Spec.ClientID, imported.Spec.KubeConfigSecret = "imported", "none"
	env.Clusters.Make(t, imported)
	env.Clusters.Make(t, harness.NewCluster(workspace, names.RegisteredCluster("name-taken"), nil))
	only := token(t, workspace, "only", func(token *fleet.ClusterRegistrationToken) {
		token.Annotations = map[string]string{names.AnnotationOnlyClient: "somebody"}
	})
	other := token(t, env.Workspace(t), "join")

	for name, tt := range map[string]struct {
		values map[string]string
		more   map[string]string
		reason string // of the condition; empty: the API server refuses
		says   string
	}{
		"a second cluster with the same clientID": {values, map[string]string{names.KeyClientID: "taken"}, "ClientIDTaken", "clientID of its own"},
		"an imported cluster":                     {values, map[string]string{names.KeyClientID: "imported"}, "Imported", "kubeConfigSecret"},
		"a name that is taken":                    {values, map[string]string{names.KeyClientID: "name-taken"}, "NameTaken", "another clientID"},
		"a token for another cluster":             {only, map[string]string{names.KeyClientID: "me"}, "TokenForAnotherCluster", "another clientID"},
		"the name of another token":               {values, map[string]string{names.KeyClientID: "x", names.KeyTokenName: "only"}, "TokenUnknown", "not one of this workspace"},
		"the token of another workspace":          {other, map[string]string{names.KeyClientID: "y", names.KeyClusterNamespace: workspace}, "", "forbidden"},
		"no token at all":                         {values, map[string]string{names.KeyClientID: "z", names.KeyToken: "a.b.c"}, "", "expired or was revoked"},
		"a bad label":                             {values, map[string]string{names.KeyClientID: "l", names.KeyClusterLabels: `{"env":"not a value"}`}, "Invalid", "env"},
	} {
		t.Run(name, func(t *testing.T) {
			d := newDownstream(t)
			d.bootstrap(tt.values, tt.more)
			err := d.register()
			var refused *registration.RefusedError
			if !errors.As(err, &refused) || !strings.Contains(refused.Reason, tt.says) {
				t.Fatalf("it got %v, want a refusal that says %q", err, tt.says)
			}
			if _, err := env.Secrets.Get(t.Context(), d.namespace, names.SecretAgent); !apierrors.IsNotFound(err) {
				t.Errorf("a refused agent has a Secret: %v", err)
			}
			if tt.reason == "" {
				return
			}
			found := false
			for _, registration := range env.ClusterRegistrations.All(t, workspace, nil).Items {
				for _, condition := range registration.Status.Conditions {
					found = found || registration.Spec.ClientID == tt.more[names.KeyClientID] && condition.Reason == tt.reason && !registration.Status.Granted
				}
			}
			if !found {
				t.Errorf("no registration says %s", tt.reason)
			}
		})
	}
}

// A join token opens nothing but what it is for, and cannot lie about itself.
func TestJoinTokenIsGoodForNothingElse(t *testing.T) {
	t.Parallel()
	workspace := env.Workspace(t)
	values := token(t, workspace, "join")
	hub := hubAs(t, values[names.KeyToken])
	ctx := t.Context()
	harness.Eventually(t, "the policy is heeded", func(ctx context.Context) error {
		_, err := hub.ClusterRegistrations.Create(ctx, &fleet.ClusterRegistration{ObjectMeta: metav1.ObjectMeta{Namespace: workspace, GenerateName: "lie-"}})
		if !apierrors.IsForbidden(err) {
			return fmt.Errorf("got %w", err)
		}
		return nil
	})
	for name, try := range map[string]func() error{
		"list registrations": func() error { _, err := hub.ClusterRegistrations.List(ctx, workspace, nil); return err },
		"list clusters":      func() error { _, err := hub.Clusters.List(ctx, workspace, nil); return err },
		"read its Secret":    func() error { _, err := hub.Secrets.Get(ctx, workspace, "join"); return err },
		"list answers":       func() error { _, err := hub.Secrets.List(ctx, names.NamespaceRegistrations, nil); return err },
		"make a cluster":     func() error { _, err := hub.Clusters.Create(ctx, harness.NewCluster(workspace, "c", nil)); return err },
		"read contents":      func() error { _, err := hub.Contents.List(ctx, "", nil); return err },
		"claim another token": func() error {
			_, err := hub.ClusterRegistrations.Create(ctx, &fleet.ClusterRegistration{ObjectMeta: metav1.ObjectMeta{
				Namespace: workspace, GenerateName: "lie-", Annotations: map[string]string{names.AnnotationCredential: "JTI=other"},
			}})
			return err
		},
		"ask for very much": func() error {
			secret, err := env.Secrets.Get(ctx, workspace, "join")
			if err != nil {
				t.Fatal(err)
			}
			_, err = hub.ClusterRegistrations.Create(ctx, &fleet.ClusterRegistration{
				ObjectMeta: metav1.ObjectMeta{
					Namespace: workspace, GenerateName: "lie-", Annotations: map[string]string{names.AnnotationCredential: secret.Annotations[names.AnnotationCredential]},
				},
				Spec: fleet.ClusterRegistrationSpec{ClientID: strings.Repeat("x", 100_000)},
			})
			return err
		},
	} {
		if err := try(); !apierrors.IsForbidden(err) {
			t.Errorf("a join token can %s, or fails otherwise: %v", name, err)
		}
	}
}

// The Secret of a join token is looked at when it changes: one that somebody deletes is made anew, with another token, and one that
// somebody empties is put right.
func TestSecretOfAJoinTokenIsKept(t *testing.T) {
	t.Parallel()
	workspace := env.Workspace(t)
	values := token(t, workspace, "join")
	secret := kube.Key{Namespace: workspace, Name: "join"}
	env.Secrets.Remove(t, secret)
	again := func(s *corev1.Secret) error {
		if len(s.Data[names.KeyValues]) == 0 || bytes.Contains(s.Data[names.KeyValues], []byte(values[names.KeyToken])) {
			return errors.New("there is no new token")
		}
		return nil
	}
	env.Secrets.Await(t, secret, again)
	env.Secrets.Edit(t, secret, func(s *corev1.Secret) { s.Data = map[string][]byte{names.KeyValues: []byte("{}")} })
	env.Secrets.Await(t, secret, func(s *corev1.Secret) error {
		if string(s.Data[names.KeyValues]) == "{}" {
			return errors.New("it is as somebody left it")
		}
		return again(s)
	})
	d := newDownstream(t)
	d.bootstrap(env.JoinValues(t, workspace, "join"), map[string]string{names.KeyClientID: "kept"})
	if err := d.register(); err != nil {
		t.Errorf("the new token does not open: %v", err)
	}
}

// A registration that somebody has written down and makes again, once its token was revoked, is not answered; neither are those
// beside it disturbed.
func TestReplayedRegistration(t *testing.T) {
	t.Parallel()
	workspace := env.Workspace(t)
	d := newDownstream(t)
	d.bootstrap(token(t, workspace, "join"), map[string]string{names.KeyClientID: "replayed"})
	if err := d.register(); err != nil {
		t.Fatal(err)
	}
	seen := env.ClusterRegistrations.All(t, workspace, nil).Items[0]
	env.ClusterRegistrationTokens.Remove(t, kube.Key{Namespace: workspace, Name: "join"})
	env.Secrets.AwaitGone(t, kube.Key{Namespace: workspace, Name: "join"})
	replay := &fleet.ClusterRegistration{
		ObjectMeta: metav1.ObjectMeta{Namespace: workspace, Name: "replay", Labels: seen.Labels, Annotations: seen.Annotations}, Spec: seen.Spec,
	}
	env.ClusterRegistrations.Make(t, replay)
	env.ClusterRegistrations.AwaitCondition(t, harness.KeyOf(replay), fleet.Condition{
		Type: fleet.ConditionAccepted, Status: metav1.ConditionFalse, Reason: "TokenUnknown",
	})
	answer, err := env.Secrets.Get(t.Context(), names.NamespaceRegistrations, names.RegistrationSecret(seen.Spec.ClientID, seen.Spec.ClientRandom))
	if err == nil && len(answer.Data[names.KeyToken]) > 0 {
		t.Error("a replayed registration was answered with a token")
	}
	values := token(t, workspace, "other")
	other := newDownstream(t)
	other.bootstrap(values, map[string]string{names.KeyClientID: "beside"})
	if err := other.register(); err != nil {
		t.Errorf("another cluster is kept from joining: %v", err)
	}
}

// A token that has expired goes, with its Secret, and opens nothing any more; deleting it does the same.
func TestTokensEnd(t *testing.T) {
	t.Parallel()
	workspace := env.Workspace(t)
	values := token(t, workspace, "short", validFor(3*time.Second))
	revoked := token(t, workspace, "revoked")
	env.ClusterRegistrationTokens.AwaitGone(t, kube.Key{Namespace: workspace, Name: "short"})
	env.Secrets.AwaitGone(t, kube.Key{Namespace: workspace, Name: "short"})
	env.ClusterRegistrationTokens.Remove(t, kube.Key{Namespace: workspace, Name: "revoked"})
	env.Secrets.AwaitGone(t, kube.Key{Namespace: workspace, Name: "revoked"})
	gone := time.Now()
	for _, values := range []map[string]string{values, revoked} {
		d := newDownstream(t)
		d.bootstrap(values, map[string]string{names.KeyClientID: "late"})
		harness.Eventually(t, "the token is refused", func(context.Context) error {
			var refused *registration.RefusedError
			if err := d.register(); !errors.As(err, &refused) {
				return fmt.Errorf("got %w", err)
			}
			return nil
		})
	}
	if took := time.Since(gone); took > 15*time.Second {
		t.Errorf("the tokens were refused after %s only", took)
	}
	if all := env.Clusters.All(t, workspace, nil).Items; len(all) != 0 {
		t.Errorf("there are %d clusters", len(all))
	}
}

// The hub renews the token of an agent that joined, and the agent fetches it before the old one ends.
func TestTokenOfAJoinedAgentIsRenewed(t *testing.T) {
	t.Parallel()
	workspace := env.Workspace(t)
	d := newDownstream(t)
	d.bootstrap(token(t, workspace, "join"), map[string]string{names.KeyClientID: "renewed"})
	stop := d.start()
	key := kube.Key{Namespace: workspace, Name: names.RegisteredCluster("renewed")}
	awaitReady(t, key)
	stop()
	place := kube.Key{Namespace: names.ClusterNamespace(workspace, key.Name), Name: names.SecretAgent}
	before, err := env.Secrets.Get(t.Context(), place.Namespace, place.Name)
	if err != nil {
		t.Fatal(err)
	}
	// Time passes for the hub, and for the agent that was away.
	past := time.Now().Add(-time.Second).UTC().Format(time.RFC3339)
	due := func(s *corev1.Secret) { s.Annotations[names.AnnotationRenew] = past }
	env.Secrets.Edit(t, place, due)
	env.Secrets.Edit(t, kube.Key{Namespace: d.namespace, Name: names.SecretAgent}, due)
	env.Clusters.Edit(t, key, func(c *fleet.Cluster) { c.Spec.Paused = true })
	renewed := env.Secrets.Await(t, place, func(s *corev1.Secret) error {
		if bytes.Equal(s.Data[names.KeyToken], before.Data[names.KeyToken]) {
			return errors.New("the token is still the same")
		}
		return nil
	})
	d.start()
	env.Secrets.Await(t, kube.Key{Namespace: d.namespace, Name: names.SecretAgent}, func(s *corev1.Secret) error {
		if !bytes.Contains(s.Data[names.KeyKubeconfig], renewed.Data[names.KeyToken]) {
			return errors.New("the agent has the old token")
		}
		return nil
	})
}

// An agent learns with its next token where the hub is from now on, and goes there if it is answered there.
func TestHubMoves(t *testing.T) {
	t.Parallel()
	place, d := newDownstream(t).namespace, newDownstream(t)
	old := kube.AddressOf(env.Config)
	moved := kube.Address{URL: strings.Replace(old.URL, "127.0.0.1", "localhost", 1), CA: old.CA}
	for name, tt := range map[string]struct {
		says kube.Address
		want string
	}{
		"nothing":               {kube.Address{}, old.URL},
		"nobody is there":       {kube.Address{URL: "https://127.0.0.1:1", CA: old.CA}, old.URL},
		"somebody else's there": {kube.Address{URL: moved.URL}, old.URL},
		"it has moved":          {moved, moved.URL},
	} {
		kubeconfig, err := old.Kubeconfig(place, agentToken(t, place))
		if err != nil {
			t.Fatal(err)
		}
		kept := &corev1.Secret{
			ObjectMeta: metav1.ObjectMeta{Namespace: place, Name: names.SecretAgent},
			Data: map[string][]byte{
				names.KeyToken: []byte(agentToken(t, place)), names.KeyAPIServerURL: []byte(tt.says.URL), names.KeyAPIServerCA: tt.says.CA,
			},
		}
		env.Secrets.Make(t, kept)
		mine := &corev1.Secret{Data: map[string][]byte{names.KeyKubeconfig: kubeconfig, names.KeyDeploymentNamespace: []byte(place)}}
		mine.Annotations = map[string]string{names.AnnotationRegistered: "x"}
		renewed, err := (&registration.Registrar{Local: d.client, Namespace: d.namespace}).Renew(t.Context(), mine)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if !bytes.Contains(renewed.Data[names.KeyKubeconfig], []byte("server: "+tt.want+"\n")) {
			t.Errorf("told that %s, the agent does not go to %s", name, tt.want)
		}
		env.Secrets.Remove(t, harness.KeyOf(kept))
	}
}

// agentToken returns a new token of an agent in a namespace of the hub.
func agentToken(t *testing.T, namespace string) string {
	t.Helper()
	meta := metav1.ObjectMeta{Name: names.Agent}
	_, err1 := env.Kubernetes.CoreV1().ServiceAccounts(namespace).Create(t.Context(), &corev1.ServiceAccount{ObjectMeta: meta}, metav1.CreateOptions{})
	_, err2 := env.Kubernetes.RbacV1().Roles(namespace).Create(t.Context(), &rbacv1.Role{ObjectMeta: meta, Rules: []rbacv1.PolicyRule{{
		APIGroups: []string{""}, Resources: []string{"secrets"}, Verbs: []string{"get"},
	}}}, metav1.CreateOptions{})
	_, err3 := env.Kubernetes.RbacV1().RoleBindings(namespace).Create(t.Context(), &rbacv1.RoleBinding{
		ObjectMeta: meta, RoleRef: rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "Role", Name: names.Agent},
		Subjects: []rbacv1.Subject{{Kind: rbacv1.ServiceAccountKind, Namespace: namespace, Name: names.Agent}},
	}, metav1.CreateOptions{})
	for _, err := range []error{err1, err2, err3} {
		if err != nil && !apierrors.IsAlreadyExists(err) {
			t.Fatal(err)
		}
	}
	// Two that are asked for in the same second are told apart by their ids.
	token, err := env.Kubernetes.CoreV1().ServiceAccounts(namespace).CreateToken(t.Context(), names.Agent, &authenticationv1.TokenRequest{}, metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	return token.Status.Token
}

// An agent whose own token is no longer accepted, because it was away for too long, registers again and is known.
func TestAgentThatWasAwayForTooLongComesBack(t *testing.T) {
	t.Parallel()
	workspace := env.Workspace(t)
	d := newDownstream(t)
	d.bootstrap(token(t, workspace, "join"), map[string]string{names.KeyClientID: "away"})
	stop := d.start()
	key := kube.Key{Namespace: workspace, Name: names.RegisteredCluster("away")}
	awaitReady(t, key)
	stop()
	own := kube.Key{Namespace: d.namespace, Name: names.SecretAgent}
	good, err := env.Secrets.Get(t.Context(), own.Namespace, own.Name)
	if err != nil {
		t.Fatal(err)
	}
	env.Secrets.Edit(t, own, func(s *corev1.Secret) {
		s.Data[names.KeyKubeconfig] = bytes.ReplaceAll(good.Data[names.KeyKubeconfig], []byte("token: ey"), []byte("token: xy"))
	})
	d.start()
	env.Secrets.Await(t, own, func(s *corev1.Secret) error {
		if bytes.Contains(s.Data[names.KeyKubeconfig], []byte("token: xy")) {
			return errors.New("the agent has the void token")
		}
		return nil
	})
	if all := env.Clusters.All(t, workspace, nil).Items; len(all) != 1 {
		t.Errorf("there are %d clusters", len(all))
	}
}

func hubAs(t *testing.T, token string) *kube.Hub {
	t.Helper()
	config := rest.AnonymousClientConfig(env.Config)
	config.BearerToken = token
	conn, err := kube.Connect(config, kube.Options{UserAgent: "somebody"})
	if err != nil {
		t.Fatal(err)
	}
	return kube.NewHub(conn)
}
