package bundlereader

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"strings"
	"unicode"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	fleet "github.com/flotilla-gitops/flotilla/pkg/apis/fleet.cattle.io/v1alpha1"
	"github.com/flotilla-gitops/flotilla/pkg/names"
)

// builder makes the bundle of one folder.
type builder struct {
	tree    fs.FS
	folder  folder
	options Options

	name     string
	file     string // the fleet.yaml; the folder itself if it has none
	doc      document
	contents *contents
	bundle   *fleet.Bundle
	findings []Finding
}

// build returns the bundle, or nil if there is nothing in the folder to deploy.
// A *problem, or an error among the findings, means that there is no bundle.
func (b *builder) build(ctx context.Context) (*fleet.Bundle, error) {
	if err := b.open(ctx); err != nil {
		return nil, err
	}
	if err := b.readOptions(); err != nil {
		return nil, err
	}
	b.assemble()
	b.validate()
	if hasErrors(b.findings) {
		return nil, nil
	}
	if err := b.loadValues(); err != nil {
		return nil, err
	}
	b.contents.skip = b.usedAsOptions()
	if err := b.contents.load(ctx); err != nil {
		return nil, err
	}
	if err := b.addCharts(ctx); err != nil {
		return nil, err
	}
	if len(b.contents.files) == 0 {
		return nil, nil
	}
	if err := b.addDependencies(ctx); err != nil {
		return nil, err
	}
	b.checkLayout()
	b.checkManifests()
	return b.bundle, b.encode()
}

// open finds the folder.
func (b *builder) open(ctx context.Context) error {
	b.file = b.folder.path
	if err := enterAll(ctx, b.tree, b.folder.path); err != nil {
		return err
	}
	real, info, err := resolve(b.tree, ".", b.folder.path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return &problem{Finding{Severity: Error, Message: "there is no such folder"}}
	case errors.Is(err, errLink):
		return &problem{Finding{Severity: Error, Message: err.Error()}}
	case err != nil:
		return fmt.Errorf("looking at %s: %w", b.folder.path, err)
	case !info.IsDir():
		return &problem{Finding{Severity: Error, Message: "it is not a folder"}}
	}
	b.contents = &contents{tree: b.tree, root: real, limits: b.options.Limits, report: b.report}
	return nil
}

// readOptions reads the fleet.yaml, if there is one.
func (b *builder) readOptions() error {
	name, err := b.findOptions()
	if err != nil || name == "" {
		return err
	}
	b.file = path.Join(b.folder.path, name)
	_, content, err := b.contents.named(path.Join(b.contents.root, name))
	if err != nil {
		return err
	}
	var findings []Finding
	b.doc, findings = parseOptions(content)
	for _, f := range findings {
		b.report(f)
	}
	return nil
}

// findOptions returns the name of the fleet.yaml, or nothing. One that the
// GitRepo names is not looked for, so that its absence is a mistake.
func (b *builder) findOptions() (string, error) {
	if b.folder.options != "" {
		return b.folder.options, nil
	}
	for _, name := range []string{optionsName, optionsNameToo} {
		info, err := fs.Lstat(b.tree, path.Join(b.contents.root, name))
		switch {
		case err == nil && !info.IsDir():
			return name, nil
		case err != nil && !errors.Is(err, fs.ErrNotExist):
			return "", fmt.Errorf("looking for %s: %w", name, err)
		}
	}
	return "", nil
}

// report adds a finding; folder and file are filled in if they are missing.
func (b *builder) report(f Finding) {
	f.Folder = b.folder.path
	if f.File == "" {
		f.File = b.file
	}
	f.Field, f.Message = bounded(f.Field, maxFieldText), bounded(f.Message, maxMessageText)
	b.findings = append(b.findings, f)
}

// What is said about a finding may quote the tree, which is not trusted.
const (
	maxFieldText   = 200
	maxMessageText = 600
)

// bounded returns text on one line, cut to about limit bytes.
func bounded(text string, limit int) string {
	text = strings.Map(func(c rune) rune {
		if unicode.IsControl(c) {
			return ' '
		}
		return c
	}, strings.ToValidUTF8(text, "?"))
	if len(text) <= limit {
		return text
	}
	return strings.ToValidUTF8(text[:limit], "") + "…"
}

// assemble makes the bundle as the fleet.yaml and the GitRepo describe it,
// without resources.
func (b *builder) assemble() {
	options := &b.doc.options
	if options.Name != "" {
		b.name = options.Name
	}
	b.bundle = &fleet.Bundle{
		ObjectMeta: metav1.ObjectMeta{Name: b.name, Namespace: b.options.Namespace, Labels: b.labels(), Annotations: b.annotations()},
		Spec:       *options.BundleSpec.DeepCopy(),
	}
	spec := &b.bundle.Spec
	b.dropInternal(spec)
	if spec.TargetCustomizationMode == "" {
		spec.TargetCustomizationMode = fleet.FirstMatch
	}
	assembleTargets(spec, options, b.options.Targets)
	inheritChart(spec)
	override(spec, b.options)
}

// labels are those of the fleet.yaml, and over them those by which the manager
// knows its bundles.
func (b *builder) labels() map[string]string {
	labels := map[string]string{}
	own := map[string]string{names.LabelRepoName: b.options.GitRepo, names.LabelCommit: b.options.Commit}
	for key, value := range b.options.Labels {
		own[key] = value
	}
	for key, value := range b.doc.options.Labels {
		if _, reserved := own[key]; reserved {
			line, column := b.doc.position("labels", key)
			b.report(Finding{Severity: Warning, Line: line, Column: column, Field: "labels." + key, Message: "the label is set by the manager; the value in the file is ignored"})
		}
		labels[key] = value
	}
	for key, value := range own {
		if value != "" {
			labels[key] = value
		}
	}
	return labels
}

func (b *builder) annotations() map[string]string {
	annotations := map[string]string{}
	for key, value := range b.doc.options.Annotations {
		annotations[key] = value
	}
	annotations[names.AnnotationPath] = b.folder.path
	delete(annotations, names.AnnotationOverrideTargets)
	if len(b.doc.options.OverrideTargets) > 0 {
		annotations[names.AnnotationOverrideTargets] = "true"
	}
	return annotations
}

// dropInternal removes what only the manager sets, whatever the file says.
func (b *builder) dropInternal(spec *fleet.BundleSpec) {
	all := []*fleet.BundleDeploymentOptions{&spec.BundleDeploymentOptions}
	for i := range spec.Targets {
		all = append(all, &spec.Targets[i].BundleDeploymentOptions)
	}
	for i := range b.doc.options.TargetCustomizations {
		all = append(all, &b.doc.options.TargetCustomizations[i].BundleDeploymentOptions)
	}
	for _, options := range all {
		options.Overwrites, options.AllowedTargetNamespaceSelector = nil, nil
	}
	spec.Resources, spec.TargetRestrictions = nil, nil
	spec.ContentsID, spec.ValuesHash, spec.HelmOpOptions = "", "", nil
	for _, name := range internalFields() {
		if b.doc.has(name) {
			line, column := b.doc.position(name)
			b.report(Finding{Severity: Warning, Line: line, Column: column, Field: name, Message: "the field is set by the manager; the value in the file is ignored"})
		}
	}
}

// internalFields lists the fields of a Bundle that a fleet.yaml cannot set.
func internalFields() []string {
	return []string{"resources", "targetRestrictions", "contentsId", "valuesHash", "helmOpOptions", "overwrites", "allowedTargetNamespaceSelector"}
}

// inheritChart copies the chart of the bundle into customizations that have
// helm options, but name no chart of their own.
func inheritChart(spec *fleet.BundleSpec) {
	if spec.Helm == nil {
		return
	}
	for i := range spec.Targets {
		helm := spec.Targets[i].Helm
		if helm == nil {
			continue
		}
		for _, field := range []struct{ own, root *string }{
			{&helm.Repo, &spec.Helm.Repo}, {&helm.Chart, &spec.Helm.Chart}, {&helm.Version, &spec.Helm.Version},
		} {
			if *field.own == "" {
				*field.own = *field.root
			}
		}
	}
}

// loadValues merges values files into the values. At the root of the file this
// is done only for a chart that is named there.
func (b *builder) loadValues() error {
	spec := &b.bundle.Spec
	if helm := spec.Helm; helm != nil {
		if helm.Chart != "" || helm.Repo != "" {
			if err := b.mergeValuesFiles(helm, "helm"); err != nil {
				return err
			}
		} else if len(helm.ValuesFiles) > 0 {
			line, column := b.doc.position("helm", "valuesFiles")
			b.report(Finding{Severity: Warning, Line: line, Column: column, Field: "helm.valuesFiles",
				Message: "the files are not used, because helm.chart is not set; for a chart in this very folder, set helm.chart to \".\""})
		}
	}
	fromTargets := len(b.doc.options.Targets)
	for i := range spec.Targets {
		helm := spec.Targets[i].Helm
		if helm == nil {
			continue
		}
		place := []any{"targets", i, "helm"}
		if i >= fromTargets {
			place = []any{"targetCustomizations", i - fromTargets, "helm"}
		}
		if err := b.mergeValuesFiles(helm, place...); err != nil {
			return err
		}
	}
	return nil
}

// fieldError is an error of this bundle that is placed at a field of its fleet.yaml.
func (b *builder) fieldError(message string, field ...any) error {
	line, column := b.doc.position(field...)
	return &problem{Finding{Severity: Error, File: b.file, Line: line, Column: column, Field: fieldPath(field), Message: message}}
}

// atField moves a problem to the field that led to it. Other errors stay as they are.
func (b *builder) atField(err error, prefix string, field ...any) error {
	var wrong *problem
	if !errors.As(err, &wrong) {
		return err
	}
	return b.fieldError(prefix+wrong.finding.Message, field...)
}

// fieldPath writes a path as in "targetCustomizations[2].helm".
func fieldPath(steps []any) string {
	var text strings.Builder
	for _, step := range steps {
		switch step := step.(type) {
		case int:
			fmt.Fprintf(&text, "[%d]", step)
		case string:
			if text.Len() > 0 {
				text.WriteByte('.')
			}
			text.WriteString(step)
		}
	}
	return text.String()
}
