package cli

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"maps"
	"time"

	lassocache "github.com/rancher/lasso/pkg/cache"
	"github.com/spf13/cobra"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/util/uuid"

	"github.com/flotilla-gitops/flotilla/cmd/flotilla/report"
	fleet "github.com/flotilla-gitops/flotilla/pkg/apis/fleet.cattle.io/v1alpha1"
	"github.com/flotilla-gitops/flotilla/pkg/kube"
	"github.com/flotilla-gitops/flotilla/pkg/names"
	"github.com/flotilla-gitops/flotilla/pkg/status"
)

// joinFlags are the flags of the command join.
type joinFlags struct {
	hub     hubFlags
	labels  map[string]string
	ttl     time.Duration
	chart   string
	values  bool
	replace bool
	wait    bool
	timeout time.Duration
}

const (
	defaultJoinTTL = time.Hour
	// issueTimeout is how long the manager may take to make a token: it takes milliseconds.
	issueTimeout = 30 * time.Second
)

func joinCommand() *cobra.Command {
	var f joinFlags
	cmd := &cobra.Command{
		Use:   "join CLUSTER",
		Short: "Let a cluster join: print the one line to run against it",
		Long: `Let a cluster join the hub. The command makes the Cluster, unless it is there, and a join token that is good for this cluster
alone and for an hour; then it prints one line to paste into a shell whose helm talks to the cluster that is to join. Whoever has that
line can join in its place: treat it as a password.

With --wait, the command ends when the cluster has joined and everything on it is ready. An agent that was set up anew does not know what
the one before it did: --replace lets it take that one's place.

The exit code is 0 if the line was printed and, with --wait, the cluster is ready, 1 if it is not in time, and 2 for any error.`,
		Example: `  # Print the line, then wait until the cluster is ready
  flotilla join -n fleet-default prod-3 --label env=prod --wait

  # Or in one go
  flotilla join -n fleet-default prod-3 --values |
    helm --kube-context prod-3 upgrade --install flotilla-agent charts/flotilla-agent -n cattle-fleet-system --create-namespace --values -`,
		Args: cobra.ExactArgs(1),
		RunE: f.run,
	}
	f.hub = addHubFlags(cmd)
	flags := cmd.Flags()
	flags.StringToStringVar(&f.labels, "label", nil, "label of the Cluster, such as env=prod; can be given several times")
	flags.DurationVar(&f.ttl, "ttl", defaultJoinTTL, "how long the line is good for, such as 30m")
	flags.StringVar(&f.chart, "chart", "charts/flotilla-agent", "chart of the agent: a folder, an archive or an address")
	flags.BoolVar(&f.values, "values", false, "print the values for the chart of the agent instead of the line")
	flags.BoolVar(&f.replace, "replace", false, "let another agent take the place of the one that has joined before")
	flags.BoolVar(&f.wait, "wait", false, "wait until the cluster is ready")
	flags.DurationVar(&f.timeout, "timeout", defaultPatience, "how long to wait, such as 90s or 10m; 0 is for ever")
	return cmd
}

func (f *joinFlags) run(cmd *cobra.Command, args []string) error {
	if cmd.Flags().Changed("timeout") && !f.wait {
		return errors.New("--timeout says how long to wait: give --wait, too")
	}
	if f.ttl <= 0 {
		return errors.New("--ttl must be above 0: whoever has the line can join")
	}
	s, err := f.hub.open()
	if err != nil {
		return err
	}
	cluster, err := f.cluster(cmd.Context(), s, args[0])
	if err != nil {
		return err
	}
	values, err := f.issue(cmd.Context(), s, cluster)
	if err != nil {
		return err
	}
	if err := f.print(cmd, values); err != nil {
		return err
	}
	if !f.wait {
		return nil
	}
	ref := reference{kindCluster, cluster.Name}
	world, err := s.statusWorld(cmd.Context(), []reference{ref})
	if err != nil {
		return err
	}
	started := time.Now()
	w := waiting{session: s, refs: []reference{ref}, progress: cmd.ErrOrStderr()}
	found, err := w.until(cmd.Context(), f.timeout, report.StatusOf(world, w.options))
	if err != nil {
		return err
	}
	if !found.Yes() {
		return unless(false, fmt.Sprintf("not ready after %s: %s", f.timeout, found.WaitingFor()))
	}
	fmt.Fprintf(cmd.ErrOrStderr(), "%s is ready after %s\n", ref, time.Since(started).Round(100*time.Millisecond))
	return nil
}

func (f *joinFlags) print(cmd *cobra.Command, values []byte) error {
	out := cmd.OutOrStdout()
	if f.values {
		_, err := out.Write(values)
		return err
	}
	_, err := fmt.Fprintf(out, "echo %s | base64 -d | helm upgrade --install flotilla-agent %s --namespace %s --create-namespace --values -\n",
		base64.StdEncoding.EncodeToString(values), f.chart, names.NamespaceSystem)
	return err
}

// cluster returns the Cluster that an agent is to join as; it is made if it is not there.
func (f *joinFlags) cluster(ctx context.Context, s *session, name string) (*fleet.Cluster, error) {
	before, err := s.Clusters.Get(ctx, s.namespace, name)
	if kube.IsGone(err, name) {
		cluster := &fleet.Cluster{
			ObjectMeta: metav1.ObjectMeta{Namespace: s.namespace, Name: name, Labels: f.labels},
			Spec:       fleet.ClusterSpec{ClientID: string(uuid.NewUUID())},
		}
		made, err := s.Clusters.Create(ctx, cluster)
		if err != nil {
			return nil, s.explain(fmt.Errorf("making the Cluster: %w", err))
		}
		return made, nil
	}
	if err != nil {
		return nil, s.absent(err, reference{kindCluster, name})
	}
	switch {
	case before.Spec.KubeConfigSecret != "":
		return nil, fmt.Errorf("the Cluster %s is imported by the Secret %s: its agent is installed from the hub", name, before.Spec.KubeConfigSecret)
	case before.Annotations[names.AnnotationRegistered] != "" && !f.replace:
		return nil, fmt.Errorf("an agent has joined as %s: give --replace to let another one take its place, or choose another name", name)
	}
	after := before.DeepCopy()
	if after.Labels == nil {
		after.Labels = map[string]string{}
	}
	maps.Copy(after.Labels, f.labels)
	delete(after.Annotations, names.AnnotationRegistered)
	if after.Spec.ClientID == "" {
		after.Spec.ClientID = string(uuid.NewUUID())
	}
	if _, err := s.Clusters.Patch(ctx, before, after); err != nil {
		return nil, s.explain(fmt.Errorf("preparing the Cluster: %w", err))
	}
	return after, nil
}

// issue has the manager make a join token for the cluster, and returns the values for the chart of its agent.
func (f *joinFlags) issue(ctx context.Context, s *session, cluster *fleet.Cluster) ([]byte, error) {
	token, err := s.ClusterRegistrationTokens.Create(ctx, &fleet.ClusterRegistrationToken{
		ObjectMeta: metav1.ObjectMeta{
			Namespace: s.namespace, GenerateName: names.ImportToken(cluster.Name) + "-",
			Annotations: map[string]string{names.AnnotationOnlyClient: cluster.Spec.ClientID},
		},
		Spec: fleet.ClusterRegistrationTokenSpec{TTL: &metav1.Duration{Duration: f.ttl}},
	})
	if err != nil {
		return nil, s.explain(fmt.Errorf("making a join token: %w", err))
	}
	if err := s.awaitToken(ctx, token.Name); err != nil {
		return nil, err
	}
	secret, err := s.Secrets.Get(ctx, s.namespace, token.Name)
	if err != nil {
		return nil, s.explain(fmt.Errorf("reading the join token: %w", err))
	}
	return fmt.Appendf(secret.Data[names.KeyValues], "clientID: %q\n", cluster.Spec.ClientID), nil
}

// awaitToken returns when the manager has made the Secret of a token.
func (s *session) awaitToken(ctx context.Context, name string) error {
	ctx, cancel := context.WithTimeout(ctx, issueTimeout)
	defer cancel()
	hub, err := connect(s.config, kube.Options{
		Namespace: s.namespace,
		Selectors: map[schema.GroupVersionKind]lassocache.TweakListOptionsFunc{
			fleet.SchemeGroupVersion.WithKind("ClusterRegistrationToken"): func(o *metav1.ListOptions) { o.FieldSelector = "metadata.name=" + name },
		},
	})
	if err != nil {
		return err
	}
	made := make(chan *fleet.Condition, 1)
	hub.ClusterRegistrationTokens.OnEvent(func(e kube.Event[*fleet.ClusterRegistrationToken]) {
		if e.New == nil || e.New.Name != name {
			return
		}
		if accepted := status.Get(e.New.Status.Conditions, fleet.ConditionAccepted); accepted != nil {
			select {
			case made <- accepted:
			default: // One answer is enough.
			}
		}
	})
	if err := hub.Start(ctx); err != nil && ctx.Err() == nil {
		return s.explain(fmt.Errorf("watching the join token: %w", err))
	}
	select {
	case accepted := <-made:
		if accepted.Status != metav1.ConditionTrue {
			return errors.New(accepted.Message)
		}
		return nil
	case <-ctx.Done():
		if errors.Is(ctx.Err(), context.Canceled) {
			return ctx.Err()
		}
		return fmt.Errorf("the manager has not made the join token in %s: check that it runs: kubectl -n %s get deployment flotilla-manager",
			issueTimeout, names.NamespaceSystem)
	}
}
