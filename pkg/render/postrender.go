package render

import (
	"bytes"
	"fmt"
	"path"
	"strings"

	"helm.sh/helm/v3/pkg/chartutil"
	"sigs.k8s.io/yaml"
)

// sourceComment is how Helm names the template above each manifest.
const sourceComment = "# Source: "

// postRenderer completes what Helm has rendered from the templates.
type postRenderer struct {
	paths     chartPaths
	kustomize *kustomization
	literals  []object
	finish    finisher
	limits    Limits
}

// Run returns the manifests of the release. Helm may call it more than once.
func (p *postRenderer) Run(rendered *bytes.Buffer) (*bytes.Buffer, error) {
	if int64(rendered.Len()) > p.limits.RenderedBytes {
		return nil, p.tooLarge()
	}
	objects, err := p.renderedObjects(rendered.Bytes())
	if err != nil {
		return nil, err
	}
	if p.kustomize != nil {
		if objects, err = p.kustomize.build(objects); err != nil {
			return nil, err
		}
	}
	for _, o := range p.literals {
		o.Unstructured = o.DeepCopy()
		objects = append(objects, o)
	}
	if objects, err = p.finish.finish(objects); err != nil {
		return nil, err
	}
	return p.write(objects)
}

// renderedObjects reads what Helm has rendered, each manifest under the name of
// its template.
func (p *postRenderer) renderedObjects(manifests []byte) ([]object, error) {
	var objects []object
	for _, doc := range splitDocuments("", manifests) {
		doc.file, doc.line = p.paths.source(doc.data), 0
		found, err := doc.objects(lenient)
		if err != nil {
			return nil, err
		}
		objects = append(objects, found...)
	}
	return objects, nil
}

func (p *postRenderer) write(objects []object) (*bytes.Buffer, error) {
	var manifests bytes.Buffer
	for _, o := range objects {
		data, err := yaml.Marshal(o.Object)
		if err != nil {
			return nil, o.errorf("the object cannot be written as YAML")
		}
		manifests.WriteString("---\n")
		if o.file != "" {
			manifests.WriteString(sourceComment + o.file + "\n")
		}
		manifests.Write(data)
		if int64(manifests.Len()) > p.limits.RenderedBytes {
			return nil, p.tooLarge()
		}
	}
	return &manifests, nil
}

func (p *postRenderer) tooLarge() *Error {
	return &Error{Message: fmt.Sprintf("the manifests exceed %d bytes", p.limits.RenderedBytes)}
}

// chartPaths turns the names that Helm gives to templates into paths of the bundle.
type chartPaths struct {
	// chart is the name of the chart, dir its folder in the bundle; empty for a generated chart.
	chart, dir string
}

// source returns the path that the comment above a manifest names.
func (c chartPaths) source(manifest []byte) string {
	for line := range bytes.Lines(manifest) {
		text := strings.TrimSpace(string(line))
		if name, ok := strings.CutPrefix(text, sourceComment); ok {
			return c.inBundle(name)
		}
		if text != "" && !strings.HasPrefix(text, "#") {
			break
		}
	}
	return ""
}

// inBundle returns the path of a template, which Helm knows as <chart>/templates/….
func (c chartPaths) inBundle(name string) string {
	rel, ok := strings.CutPrefix(name, c.chart+"/")
	if !ok {
		return name
	}
	if c.dir == "" && !strings.HasPrefix(rel, chartutil.TemplatesDir+"/") {
		return name
	}
	return path.Join(c.dir, rel)
}
