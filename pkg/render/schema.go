package render

import (
	"encoding/json"
	"net/url"
	"path"
	"slices"

	"helm.sh/helm/v3/pkg/chart"
)

// schemaFile is the schema that a chart brings for its values.
const schemaFile = "values.schema.json"

// schemaBase is the address that Helm gives to a chart's schema; what it refers
// to relatively is looked up from there, on the disk of whoever validates.
const schemaBase = "file:///" + schemaFile

// checkSchemas refuses schemas that refer to files: Helm would read them from
// the disk of this process.
func checkSchemas(c *chart.Chart, dir string) error {
	if len(c.Schema) > 0 {
		if ref := fileReference(c.Schema); ref != "" {
			return fileErrorf(path.Join(dir, schemaFile), "the schema refers to the file %s; a schema cannot read files", ref)
		}
	}
	for _, sub := range c.Dependencies() {
		if err := checkSchemas(sub, path.Join(dir, "charts", sub.Name())); err != nil {
			return err
		}
	}
	return nil
}

// fileReference returns the first reference of a schema that leads to a file
// outside of it. What does not parse is left for Helm to complain about.
func fileReference(schema []byte) string {
	var doc any
	if json.Unmarshal(schema, &doc) != nil {
		return ""
	}
	base, err := url.Parse(schemaBase)
	if err != nil {
		return ""
	}
	s := &schemaWalk{own: map[string]bool{schemaBase: true}}
	s.walk(doc, base)
	var found []string
	for _, ref := range s.refs {
		if ref.Scheme == base.Scheme && !s.isOwn(ref) {
			found = append(found, ref.String())
		}
	}
	if len(found) == 0 {
		return ""
	}
	return slices.Min(found)
}

// schemaWalk collects the addresses that a schema gives to itself and to its
// parts, and those it refers to.
type schemaWalk struct {
	own  map[string]bool
	refs []*url.URL
}

// isOwn says whether a reference stays inside the schema. Drafts differ in which
// of the addresses they honour, so one that looks like a real file never counts.
func (s *schemaWalk) isOwn(ref *url.URL) bool {
	return s.own[ref.String()] && path.Dir(ref.Path) == "/"
}

func (s *schemaWalk) walk(node any, base *url.URL) {
	switch n := node.(type) {
	case []any:
		for _, item := range n {
			s.walk(item, base)
		}
	case map[string]any:
		for _, key := range []string{"$id", "id"} {
			if id := resolve(n[key], base); id != nil {
				base = id
				s.own[id.String()] = true
			}
		}
		for _, key := range []string{"$ref", "$dynamicRef", "$recursiveRef", "$schema"} {
			if ref := resolve(n[key], base); ref != nil {
				s.refs = append(s.refs, ref)
			}
		}
		for _, child := range n {
			s.walk(child, base)
		}
	}
}

// resolve returns the document that a reference leads to, without the place inside it.
func resolve(value any, base *url.URL) *url.URL {
	text, ok := value.(string)
	if !ok || text == "" {
		return nil
	}
	ref, err := base.Parse(text)
	if err != nil {
		return nil
	}
	ref.Fragment, ref.RawFragment = "", ""
	return ref
}
