package bundlereader

import (
	"context"
	"fmt"
	"strings"

	fleet "github.com/flotilla-gitops/flotilla/pkg/apis/fleet.cattle.io/v1alpha1"
)

// Options say what to read and what the GitRepo adds to it.
type Options struct {
	// GitRepo is the name of the GitRepo, Namespace its workspace, Commit the
	// full hash of the commit.
	GitRepo, Namespace, Commit string
	// Paths are folders or patterns, relative to the root of the tree; none
	// means the root.
	Paths []string
	// Bundles, if there are any, list the folders one by one; Paths is not used then.
	Bundles []fleet.BundlePath
	// Targets are those of the GitRepo; none means the ClusterGroup "default".
	Targets []fleet.GitTarget

	// The rest overrides what a fleet.yaml says, wherever it is set.
	TargetNamespace, ServiceAccount        string
	Paused, KeepResources, DeleteNamespace bool
	CorrectDrift                           *fleet.CorrectDrift
	ForceSyncGeneration                    int64
	Labels                                 map[string]string

	// Charts fetches charts that are not in the tree. Without it they are errors.
	Charts ChartSource
	// ChartCredentials are what it may show to servers, by folder.
	ChartCredentials ChartCredentials
	Limits           Limits
}

// Limits bound what a commit may take. Zero means the default.
type Limits struct {
	// MaxFiles and MaxBytes bound the files of one bundle (10,000 and 32 MiB).
	MaxFiles int
	MaxBytes int64
	// MaxBundleBytes bounds the JSON of one bundle, compressed if that helps
	// (1,500,000): what is larger, no API server stores.
	MaxBundleBytes int
	// MaxEntries bounds the files and folders that are looked at in all (500,000).
	MaxEntries int
	// MaxDepth bounds how deep folders are nested (64).
	MaxDepth int
}

const (
	defaultMaxFiles       = 10_000
	defaultMaxBytes       = 32 << 20
	defaultMaxBundleBytes = 1_500_000
	defaultMaxEntries     = 500_000
	defaultMaxDepth       = 64
)

func (l Limits) withDefaults() Limits {
	for _, limit := range []struct {
		value     *int
		byDefault int
	}{
		{&l.MaxFiles, defaultMaxFiles}, {&l.MaxBundleBytes, defaultMaxBundleBytes},
		{&l.MaxEntries, defaultMaxEntries}, {&l.MaxDepth, defaultMaxDepth},
	} {
		if *limit.value <= 0 {
			*limit.value = limit.byDefault
		}
	}
	if l.MaxBytes <= 0 {
		l.MaxBytes = defaultMaxBytes
	}
	return l
}

// ChartRef names a chart that is not in the tree.
type ChartRef struct {
	// Chart is the name of a chart in Repo or, without Repo, where a chart is: the
	// URL of an archive, a chart in a registry, or a folder of a Git repository.
	Chart string
	// Repo is the URL of a chart repository: http(s):// or oci://.
	Repo string
	// Version is a version or a constraint; empty means the latest.
	Version string
	// Auth is what may be shown to servers; nil for nothing.
	Auth *ChartAuth
}

// ChartSource fetches charts. Errors name the URL and the cause.
type ChartSource interface {
	// Fetch returns the files of a chart by path. Paths begin with the name of the chart.
	Fetch(ctx context.Context, ref ChartRef) (files map[string][]byte, err error)
	// Archive returns a chart as it is published: a gzipped tar, and its usual file name.
	Archive(ctx context.Context, ref ChartRef) (name string, archive []byte, err error)
}

// Result is what was read.
type Result struct {
	// Bundles are sorted by name. Helm values are inline.
	Bundles []*fleet.Bundle
	// Findings are sorted by file, line and column.
	Findings []Finding
	// Failed are folders that should have given a bundle, but could not be
	// read. Nothing may be concluded from the absence of their bundles.
	Failed []string
	// EmptyPaths are the entries of Paths that match no folder with a bundle.
	EmptyPaths []string
}

// Severity says what a finding means for its bundle.
type Severity string

const (
	// Error means that the bundle is not made.
	Error Severity = "Error"
	// Warning means that the bundle is made, but perhaps not as intended.
	Warning Severity = "Warning"
)

// Finding is something a user should know or mend.
type Finding struct {
	Severity Severity
	// Folder is the folder of the bundle concerned.
	Folder string
	// File is the path of the file, relative to the root of the tree; it may be empty.
	File string
	// Line and Column count from 1; zero means unknown.
	Line, Column int
	// Field is the path of the field in the file, such as "helm.values"; it may be empty.
	Field string
	// Message says what is wrong and, where that helps, what to do.
	Message string
}

// String is the finding on one line, in the form "file:line:column: field: message".
func (f Finding) String() string {
	place := f.File
	if place == "" {
		place = f.Folder
	}
	if f.Line > 0 {
		place += fmt.Sprintf(":%d", f.Line)
		if f.Column > 0 {
			place += fmt.Sprintf(":%d", f.Column)
		}
	}
	return strings.Join(nonEmpty(place, f.Field, f.Message), ": ")
}

func nonEmpty(parts ...string) []string {
	var kept []string
	for _, part := range parts {
		if part != "" {
			kept = append(kept, part)
		}
	}
	return kept
}
