package bundle

import (
	"fmt"
	"maps"
	"math"
	"slices"
	"strings"

	fleet "github.com/flotilla-gitops/flotilla/pkg/apis/fleet.cattle.io/v1alpha1"
)

// ClusterFacts are what templates in values can refer to.
type ClusterFacts struct {
	// ClusterNamespace is the namespace of the Cluster object.
	ClusterNamespace string
	// ClusterName is the name of the Cluster object.
	ClusterName string
	// Labels and Annotations are those of the Cluster object. Templates do not see all of them: names that contain
	// "cattle.io/" are hidden unless they start with "fleet.cattle.io/" or "management.cattle.io/", and so are those that
	// start with "kubectl.kubernetes.io/".
	Labels, Annotations map[string]string
	// TemplateValues are those of the Cluster's spec.
	TemplateValues map[string]any
}

const (
	// maxDepth is how deep values may be nested.
	maxDepth = 50
	// maxSize is how large the values of a cluster may become, and any value on the way there, in bytes. A Secret,
	// which has to hold them, holds no more.
	maxSize = 1 << 20
	// labelReference starts a string that stands for a label of the cluster.
	labelReference = "global.fleet.clusterLabels."
	// leftDelim and rightDelim enclose templates.
	leftDelim, rightDelim = "${", "}"
)

// Template returns the options with helm.values and helm.templateValues evaluated for one cluster.
//
// In helm.values, every key and every string is a Go template with the delimiters "${" and "}"; a string that is
// "global.fleet.clusterLabels.NAME" becomes the value of that label of the cluster, or empty. Every entry of
// helm.templateValues is a template whose result is read as YAML and takes the place of the value of that name.
// Templates refer to .ClusterNamespace, .ClusterName, .ClusterLabels, .ClusterAnnotations and .ClusterValues. What is
// not there is an error. With helm.disablePreProcess nothing of this happens.
//
// As in Fleet, the result of a string is read as YAML, too, where the string could stand in a YAML file without
// quotes: "${ .ClusterValues.replicas }" becomes a number, `${ list 1 2 | toJson }` a list. See readScalar.
//
// Templates may call the functions of sprig whose result depends on their arguments alone. A function that reads the
// clock, the environment or a source of randomness is refused by name: its result would differ at every look, so the
// deployment would be changed for ever, and no two replicas of the manager would agree on what should run. Functions
// that change their argument in place are refused as well; dict and merge do the same without. Fleet accepts both
// kinds. How much a template may compute, and how large and how deep its results may be, is limited: a template cannot
// hold up or bring down the manager that evaluates it.
//
// Errors are of type *TemplateError. They name the field, such as values.a.b[0], and never quote values. The argument
// is not changed; the result shares everything but helm with it.
func Template(options fleet.BundleDeploymentOptions, facts ClusterFacts) (fleet.BundleDeploymentOptions, error) {
	labels := visible(facts.Labels)
	if len(labels) > 0 {
		options.Helm = withEmptyObjects(options.Helm)
	}
	if options.Helm == nil || (options.Helm.Values == nil && len(options.Helm.TemplateValues) == 0) {
		return options, nil
	}
	options.Helm = copyOf(options.Helm)
	values := copyOf(options.Helm.Values)
	t := &templater{labels: facts.Labels, verbatim: on(options.Helm.DisablePreProcess)}
	if !t.verbatim {
		if err := t.bind(labels, facts); err != nil {
			return fleet.BundleDeploymentOptions{}, err
		}
	}
	root := &path{name: "values"}
	data, err := t.object(root, values.Data)
	if err == nil && !t.verbatim {
		err = t.templateValues(data, options.Helm.TemplateValues)
	}
	if err != nil {
		return fleet.BundleDeploymentOptions{}, err
	}
	if reason := measure(data).excess(); reason != "" {
		return fleet.BundleDeploymentOptions{}, root.error(reason)
	}
	options.Helm.Values = &fleet.GenericMap{Data: data}
	return options, nil
}

// withEmptyObjects returns helm options as Fleet's identities cover them wherever a cluster has labels: never missing,
// and never without values unless they were missing.
func withEmptyObjects(helm *fleet.HelmOptions) *fleet.HelmOptions {
	if helm == nil {
		return &fleet.HelmOptions{}
	}
	helm = copyOf(helm)
	helm.Values = copyOf(helm.Values)
	if helm.Values.Data == nil {
		helm.Values.Data = map[string]any{}
	}
	return helm
}

// visible returns the labels or annotations that templates may see.
func visible(all map[string]string) map[string]any {
	seen := make(map[string]any, len(all))
	for name, value := range all {
		if isVisible(name) {
			seen[name] = value
		}
	}
	return seen
}

func isVisible(name string) bool {
	if strings.HasPrefix(name, "fleet.cattle.io/") || strings.HasPrefix(name, "management.cattle.io/") {
		return true
	}
	return !strings.Contains(name, "cattle.io/") && !strings.HasPrefix(name, "kubectl.kubernetes.io/")
}

// templater evaluates the values of one cluster.
type templater struct {
	labels map[string]string
	// verbatim leaves values as they are, but for checking them.
	verbatim bool
	context  map[string]any
	meter    meter
	// written is how many bytes the templates so far have produced.
	written int
}

func (t *templater) bind(labels map[string]any, facts ClusterFacts) error {
	clusterValues := facts.TemplateValues
	if clusterValues == nil {
		clusterValues = map[string]any{}
	}
	if reason := measure(clusterValues).excess(); reason != "" {
		return &TemplateError{Field: "spec.templateValues of the cluster", Reason: reason}
	}
	t.context = map[string]any{
		"ClusterNamespace":   facts.ClusterNamespace,
		"ClusterName":        facts.ClusterName,
		"ClusterLabels":      labels,
		"ClusterAnnotations": visible(facts.Annotations),
		"ClusterValues":      clusterValues,
	}
	return nil
}

// value evaluates one value and everything below it.
func (t *templater) value(at *path, value any) (any, error) {
	switch v := value.(type) {
	case string:
		return t.text(at, v)
	case map[string]any:
		return t.object(at, v)
	case []any:
		return t.list(at, v)
	default:
		return plain(at, v)
	}
}

func (t *templater) object(at *path, object map[string]any) (map[string]any, error) {
	if at.depth > maxDepth {
		return nil, at.error(tooDeep)
	}
	result := make(map[string]any, len(object))
	// In a fixed order, so that the same values always give the same error.
	for _, key := range slices.Sorted(maps.Keys(object)) {
		below := at.key(key)
		newKey, err := t.name(below, key)
		if err != nil {
			return nil, err
		}
		if _, taken := result[newKey]; taken {
			return nil, below.error("its name, evaluated, is that of another field")
		}
		if result[newKey], err = t.value(below, object[key]); err != nil {
			return nil, err
		}
	}
	return result, nil
}

func (t *templater) list(at *path, list []any) ([]any, error) {
	if at.depth > maxDepth {
		return nil, at.error(tooDeep)
	}
	result := make([]any, len(list))
	for i, item := range list {
		var err error
		if result[i], err = t.value(at.index(i), item); err != nil {
			return nil, err
		}
	}
	return result, nil
}

// name evaluates the name of a field.
func (t *templater) name(at *path, key string) (string, error) {
	if t.verbatim || !strings.Contains(key, leftDelim) {
		return key, nil
	}
	return t.evaluate(at, key)
}

// text evaluates a string.
func (t *templater) text(at *path, text string) (any, error) {
	switch {
	case t.verbatim:
		return text, nil
	case strings.HasPrefix(text, labelReference):
		name := strings.TrimPrefix(text, labelReference)
		if !isVisible(name) {
			return "", nil
		}
		return t.labels[name], nil
	case !strings.Contains(text, leftDelim):
		return text, nil
	}
	switch styleOf(text) {
	case stylePlain:
		result, err := t.evaluate(at, text)
		if err != nil {
			return nil, err
		}
		return readScalar(at, result)
	case styleBlock:
		// A block begins after a line break, which "${-" at its very start takes away.
		result, err := t.evaluate(at, "\n"+text)
		return chomp(text, strings.TrimPrefix(result, "\n")), err
	case styleQuoted:
	}
	return t.evaluate(at, text)
}

// templateValues evaluates templates of whole values into data.
func (t *templater) templateValues(data map[string]any, templates map[string]string) error {
	root := &path{name: "templateValues"}
	for _, key := range slices.Sorted(maps.Keys(templates)) {
		at := root.key(key)
		result, err := t.evaluate(at, templates[key])
		if err != nil {
			return err
		}
		value, err := readYAML(result)
		if err != nil {
			return at.error("its result cannot be read as YAML")
		}
		data[key] = value
	}
	return nil
}

// evaluate carries out one template.
func (t *templater) evaluate(at *path, text string) (string, error) {
	result, reason := execute(text, t.context, &t.meter)
	if reason != "" {
		return "", at.error(reason)
	}
	if t.written += len(result); t.written > maxSize {
		return "", at.error("with it the values of this cluster are " + tooLarge)
	}
	return result, nil
}

// plain checks a value that is neither text nor nested, and gives numbers the types that decoding JSON gives them.
func plain(at *path, value any) (any, error) {
	switch v := value.(type) {
	case nil, bool, int64:
		return v, nil
	case float64:
		if !math.IsNaN(v) && !math.IsInf(v, 0) {
			return v, nil
		}
	case int:
		return int64(v), nil
	case int32:
		return int64(v), nil
	case float32:
		return plain(at, float64(v))
	}
	return nil, at.error(fmt.Sprintf("a value of type %T cannot be expressed in JSON", value))
}

// copyOf returns a shallow copy, or a new zero value for nil.
func copyOf[T any](p *T) *T {
	c := new(T)
	if p != nil {
		*c = *p
	}
	return c
}

func on(option *bool) bool { return option != nil && *option }
