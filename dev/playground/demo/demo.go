// Package demo tells the story of Flotilla on a real installation: a repository becomes workloads on two
// clusters, a commit moves them, an edit of the targets takes them off one cluster, a deletion off all.
//
// It is a test, too: every step waits, with a deadline, for what must be true on the hub and downstream, and
// measures how long that took since its cause.
package demo

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"k8s.io/client-go/kubernetes"

	"github.com/flotilla-gitops/flotilla/dev/installation"
	"github.com/flotilla-gitops/flotilla/dev/process"
	"github.com/flotilla-gitops/flotilla/dev/progress"
	fleet "github.com/flotilla-gitops/flotilla/pkg/apis/fleet.cattle.io/v1alpha1"
	"github.com/flotilla-gitops/flotilla/pkg/kube"
)

const (
	// defaultDeadline is how long the slowest expectation of a step may take.
	defaultDeadline = time.Minute
	// cleanUpTimeout is for what happens after a failure or a Ctrl-C.
	cleanUpTimeout = time.Minute
	logLines       = 12
)

// Options of Run.
type Options struct {
	// Out takes the story.
	Out io.Writer
	// Keep leaves the installation running in the end.
	Keep bool
	// Deadline is how long a step may wait for what must become true; zero means a minute.
	Deadline time.Duration
}

// story is what the steps share.
type story struct {
	*installation.Installation
	printer  *progress.Printer
	deadline time.Duration
	hub      *kube.Hub
	// clusters are clients by name of the cluster.
	clusters map[string]kubernetes.Interface
}

// step is one chapter.
type step struct {
	title string
	run   func(context.Context) error
}

// Run brings the installation up, tells the story and removes everything. An installation that runs already is
// used and left running. After a failure the logs stay, and the error says what was waited for in vain.
func Run(ctx context.Context, i *installation.Installation, options Options) error {
	s := &story{
		Installation: i, printer: progress.New(options.Out), clusters: map[string]kubernetes.Interface{},
		deadline: cmp.Or(options.Deadline, defaultDeadline),
	}
	keep := options.Keep || isUp(i)
	began := time.Now()
	steps := []step{
		{"The playground comes up: three real control planes, a git server, the manager, three agents", s.up},
		{"A GitRepo appears: three folders, for the clusters with env=dev and those with env=prod", s.deploy},
		{"A commit: version 1.1 of the web shop", s.commit},
		{"The target prod is taken out of the GitRepo", s.untarget},
		{"The GitRepo is deleted", s.remove},
	}
	for number, step := range steps {
		s.printer.Println(fmt.Sprintf("\n%d. %s", number+1, step.title))
		if err := step.run(ctx); err != nil {
			// After a Ctrl-C ctx has ended, but there is still something to clean up.
			return s.fail(context.WithoutCancel(ctx), number+1, err, keep)
		}
	}
	if keep {
		s.printer.Println("\nThe playground stays up.")
	} else {
		s.printer.Println(fmt.Sprintf("\n%d. The playground goes down", len(steps)+1))
		if err := s.down(ctx); err != nil {
			return err
		}
	}
	s.printer.Println(fmt.Sprintf("\nThe whole story took %s.", progress.Seconds(time.Since(began))))
	return nil
}

// isUp tells whether anything of the installation runs.
func isUp(i *installation.Installation) bool {
	parts, err := i.Parts()
	if err != nil {
		return false
	}
	for _, part := range parts {
		if part.PID != 0 {
			return true
		}
	}
	return false
}

func (s *story) up(ctx context.Context) error {
	if err := s.Up(ctx); err != nil {
		return err
	}
	hub, err := s.Hub()
	if err != nil {
		return err
	}
	s.hub = hub
	for _, member := range installation.Members() {
		cluster, err := s.Cluster(member.Name)
		if err != nil {
			return err
		}
		config, err := cluster.RESTConfig()
		if err != nil {
			return err
		}
		if s.clusters[member.Name], err = kubernetes.NewForConfig(config); err != nil {
			return fmt.Errorf("connecting to %s: %w", member.Name, err)
		}
	}
	return nil
}

func (s *story) down(ctx context.Context) error {
	task := s.printer.Start("everything removed")
	if err := os.RemoveAll(s.Repository(name).Dir()); err != nil {
		task.Fail("")
		return fmt.Errorf("removing the demo's repository: %w", err)
	}
	kept, err := s.Down(ctx)
	if err != nil {
		task.Fail("")
		return err
	}
	task.Done("")
	for _, path := range kept {
		s.printer.Println("    kept " + path)
	}
	return nil
}

// fail shows what our programs said last and ends everything but keeps the logs.
func (s *story) fail(ctx context.Context, number int, cause error, keep bool) error {
	ctx, cancel := context.WithTimeout(ctx, cleanUpTimeout)
	defer cancel()
	err := fmt.Errorf("step %d failed: %w", number, cause)
	if errors.Is(cause, context.Canceled) {
		err = fmt.Errorf("interrupted in step %d", number)
	} else {
		s.showTrouble(ctx)
		s.showLogs()
	}
	if !keep {
		err = errors.Join(err, s.Halt(ctx))
	}
	s.printer.Println("\nThe logs are in " + s.LogDir() + ".")
	return err
}

// showTrouble lists what the hub says is not as it should be.
func (s *story) showTrouble(ctx context.Context) {
	if s.hub == nil {
		return
	}
	var lines []string
	note := func(kind, key string, conditions []fleet.Condition) {
		if !isReady(conditions) {
			lines = append(lines, fmt.Sprintf("  %s %s: %s", kind, key, describe(conditions)))
		}
	}
	if list, err := s.hub.GitRepos.List(ctx, "", nil); err == nil {
		for _, o := range list.Items {
			note("GitRepo", o.Name, o.Status.Conditions)
		}
	}
	if list, err := s.hub.Bundles.List(ctx, "", nil); err == nil {
		for _, o := range list.Items {
			note("Bundle", o.Name, o.Status.Conditions)
		}
	}
	if list, err := s.hub.BundleDeployments.List(ctx, "", nil); err == nil {
		for _, o := range list.Items {
			note("BundleDeployment", o.Namespace+"/"+o.Name, o.Status.Conditions)
		}
	}
	if len(lines) > 0 {
		s.printer.Println("\nWhat the hub says is not ready:\n" + strings.Join(lines, "\n"))
	}
}

func (s *story) showLogs() {
	parts := []string{"manager"}
	for _, member := range installation.Members() {
		parts = append(parts, "agent/"+member.Name)
	}
	for _, part := range parts {
		tail, err := process.LogTail(s.LogFile(part), logLines)
		if err == nil && tail != "" {
			s.printer.Println("\nThe last lines of " + part + ":\n" + tail)
		}
	}
}
