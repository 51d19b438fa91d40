package cli

import (
	"fmt"
	"strings"
)

// kind is a kind of object that commands can be asked about.
type kind string

const (
	kindGitRepo kind = "gitrepo"
	kindBundle  kind = "bundle"
	kindCluster kind = "cluster"
)

// reference names an object the way that kubectl does: kind/name.
type reference struct {
	kind kind
	name string
}

func (r reference) String() string { return string(r.kind) + "/" + r.name }

// in names the object with its namespace: kind/namespace/name.
func (r reference) in(namespace string) string {
	return string(r.kind) + "/" + namespace + "/" + r.name
}

// parseReference reads kind/name, also with the kind in the plural or with its
// group, as kubectl get -o name writes it.
func parseReference(arg string, allowed ...kind) (reference, error) {
	var forms []string
	for _, k := range allowed {
		forms = append(forms, string(k)+"/NAME")
	}
	expected := strings.Join(forms, " or ")
	word, name, ok := strings.Cut(arg, "/")
	if !ok || name == "" || strings.Contains(name, "/") {
		return reference{}, fmt.Errorf("%q is no object: write %s", arg, expected)
	}
	word = strings.TrimSuffix(strings.ToLower(word), ".fleet.cattle.io")
	for _, k := range allowed {
		if word == string(k) || word == string(k)+"s" {
			return reference{k, name}, nil
		}
	}
	return reference{}, fmt.Errorf("%q is of no kind that this command knows: write %s", arg, expected)
}

func parseReferences(args []string, allowed ...kind) ([]reference, error) {
	refs := make([]reference, 0, len(args))
	for _, arg := range args {
		r, err := parseReference(arg, allowed...)
		if err != nil {
			return nil, err
		}
		refs = append(refs, r)
	}
	return refs, nil
}
