package bundle

import (
	"maps"
	"slices"
	"strings"

	fleet "github.com/flotilla-gitops/flotilla/pkg/apis/fleet.cattle.io/v1alpha1"
)

// CheckTemplates returns what is wrong with the templates of options on every cluster: those that do not parse, and
// those that call functions which there are not. What depends on the cluster, For finds out.
func CheckTemplates(options fleet.BundleDeploymentOptions) []*TemplateError {
	helm := options.Helm
	if helm == nil || on(helm.DisablePreProcess) {
		return nil
	}
	var c checker
	if helm.Values != nil {
		c.value(&path{name: "values"}, helm.Values.Data)
	}
	root := &path{name: "templateValues"}
	for _, key := range slices.Sorted(maps.Keys(helm.TemplateValues)) {
		c.template(root.key(key), helm.TemplateValues[key])
	}
	return c.found
}

type checker struct{ found []*TemplateError }

func (c *checker) value(at *path, value any) {
	if at.depth > maxDepth {
		c.found = append(c.found, &TemplateError{Field: at.String(), Reason: tooDeep})
		return
	}
	switch v := value.(type) {
	case string:
		c.template(at, v)
	case map[string]any:
		for _, key := range slices.Sorted(maps.Keys(v)) {
			c.template(at.key(key), key)
			c.value(at.key(key), v[key])
		}
	case []any:
		for i, item := range v {
			c.value(at.index(i), item)
		}
	}
}

func (c *checker) template(at *path, text string) {
	if !strings.Contains(text, leftDelim) || strings.HasPrefix(text, labelReference) {
		return
	}
	if _, _, reason := parseTemplate(text); reason != "" {
		c.found = append(c.found, &TemplateError{Field: at.String(), Reason: reason})
	}
}
