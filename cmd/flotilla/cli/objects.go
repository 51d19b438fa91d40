package cli

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	utilyaml "k8s.io/apimachinery/pkg/util/yaml"
	"sigs.k8s.io/yaml"

	fleet "github.com/flotilla-gitops/flotilla/pkg/apis/fleet.cattle.io/v1alpha1"
	"github.com/flotilla-gitops/flotilla/pkg/bundle"
)

// objectSet is what was read of files: of the kinds that decide what is deployed
// where, and the Secrets with the values of bundles.
type objectSet struct {
	bundles    []*fleet.Bundle
	clusters   []*fleet.Cluster
	groups     []*fleet.ClusterGroup
	mappings   []*fleet.BundleNamespaceMapping
	namespaces []*corev1.Namespace
	secrets    []*corev1.Secret
}

// readObjects reads files with objects of the given kinds.
func readObjects(cmd *cobra.Command, kinds []string, files ...string) (*objectSet, error) {
	found, stdin := &objectSet{}, false
	for _, name := range files {
		if name == "" {
			continue
		}
		if name == "-" && stdin {
			return nil, errors.New(`only one file can be the standard input ("-")`)
		}
		stdin = stdin || name == "-"
		data, err := readInput(cmd, name)
		if err != nil {
			return nil, err
		}
		if err := found.addStream(data, kinds); err != nil {
			return nil, fmt.Errorf("reading the %ss in %s: %w", strings.ToLower(kinds[0]), name, err)
		}
	}
	return found, nil
}

// readBundles reads one or more Bundles with their values, which may be in
// Secrets of the same file.
func readBundles(cmd *cobra.Command, file string) ([]*fleet.Bundle, error) {
	found, err := readObjects(cmd, []string{"Bundle", "Secret"}, file)
	if err != nil {
		return nil, err
	}
	if len(found.bundles) == 0 {
		return nil, fmt.Errorf("reading the bundles in %s: there is no Bundle", file)
	}
	return found.bundles, found.withValues()
}

// addStream adds the objects of a YAML stream, lists of them included.
func (o *objectSet) addStream(data []byte, kinds []string) error {
	documents := utilyaml.NewYAMLReader(bufio.NewReader(bytes.NewReader(data)))
	for {
		document, err := documents.Read()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		raw, err := yaml.YAMLToJSON(document)
		if err != nil {
			return err
		}
		if err := o.add(raw, kinds); err != nil {
			return err
		}
	}
}

// list is what kubectl writes for several objects.
type list struct {
	metav1.TypeMeta `json:",inline"`
	Items           []runtime.RawExtension `json:"items"`
}

func (o *objectSet) add(raw []byte, kinds []string) error {
	var is list
	if err := yaml.Unmarshal(raw, &is); err != nil {
		return err
	}
	version, err := schema.ParseGroupVersion(is.APIVersion)
	if err != nil {
		return err
	}
	ours := version.Group == fleet.SchemeGroupVersion.Group
	switch {
	case is.TypeMeta == metav1.TypeMeta{}:
		return nil // a document of comments
	case is.Items != nil:
		for _, item := range is.Items {
			if err := o.add(item.Raw, kinds); err != nil {
				return err
			}
		}
		return nil
	case !slices.Contains(kinds, is.Kind) || !ours && is.APIVersion != "v1":
		return fmt.Errorf("found %s %s where a %s of %s is expected", is.APIVersion, is.Kind, kinds[0], fleet.SchemeGroupVersion)
	}
	switch is.Kind {
	case "Bundle":
		return decodeInto(raw, &o.bundles)
	case "Cluster":
		return decodeInto(raw, &o.clusters)
	case "ClusterGroup":
		return decodeInto(raw, &o.groups)
	case "BundleNamespaceMapping":
		return decodeInto(raw, &o.mappings)
	case "Namespace":
		return decodeInto(raw, &o.namespaces)
	default:
		return decodeInto(raw, &o.secrets)
	}
}

// decodeInto appends an object. A field that nobody knows is a mistake.
func decodeInto[T any](raw []byte, into *[]*T) error {
	object := new(T)
	if err := yaml.UnmarshalStrict(raw, object); err != nil {
		return err
	}
	*into = append(*into, object)
	return nil
}

// withValues puts values that are kept in Secrets back into the bundles.
func (o *objectSet) withValues() error {
	for i, b := range o.bundles {
		if b.Spec.ValuesHash == "" {
			continue
		}
		secret := o.secret(b.Namespace, b.Name)
		if secret == nil {
			return fmt.Errorf("the values of bundle %s are in the Secret %s/%s: put it into the file, too", b.Name, b.Namespace, b.Name)
		}
		full, err := bundle.InjectValues(b, secret.Data)
		if err != nil {
			return fmt.Errorf("reading the values of bundle %s: %w", b.Name, err)
		}
		o.bundles[i] = full
	}
	return nil
}

func (o *objectSet) secret(namespace, name string) *corev1.Secret {
	for _, s := range o.secrets {
		if s.Namespace == namespace && s.Name == name {
			return s
		}
	}
	return nil
}

// printObject writes an object as a YAML document, without what only an API
// server fills in. The comment is one line, or empty.
func printObject(out io.Writer, comment string, object runtime.Object, gvk schema.GroupVersionKind) error {
	fields, err := runtime.DefaultUnstructuredConverter.ToUnstructured(object)
	if err != nil {
		return fmt.Errorf("encoding %s: %w", gvk.Kind, err)
	}
	delete(fields, "status")
	if metadata, ok := fields["metadata"].(map[string]any); ok {
		delete(metadata, "creationTimestamp")
	}
	fields["apiVersion"], fields["kind"] = gvk.GroupVersion().String(), gvk.Kind
	return printDocument(out, comment, fields)
}

// printDocument writes a YAML document, below a comment of one line where there
// is one.
func printDocument(out io.Writer, comment string, value any) error {
	data, err := yaml.Marshal(value)
	if err != nil {
		return fmt.Errorf("encoding as YAML: %w", err)
	}
	if comment != "" {
		comment = "# " + comment + "\n"
	}
	_, err = fmt.Fprintf(out, "---\n%s%s", comment, data)
	return err
}
