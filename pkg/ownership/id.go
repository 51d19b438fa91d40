package ownership

import (
	"cmp"
	"unique"
)

// Kind is the kind of a node.
type Kind uint8

// Kinds of nodes.
const (
	KindGitRepo Kind = iota + 1
	KindHelmOp
	KindBundle
	KindDeployment
	KindContent
	KindSecret
	KindCluster
	// KindNamespace is the place of one cluster on the hub, or a workspace.
	KindNamespace
)

// Kinds returns all kinds.
func Kinds() []Kind {
	return []Kind{KindGitRepo, KindHelmOp, KindBundle, KindDeployment, KindContent, KindSecret, KindCluster, KindNamespace}
}

// String returns the kind's name in the API.
func (k Kind) String() string {
	switch k {
	case KindGitRepo:
		return "GitRepo"
	case KindHelmOp:
		return "HelmOp"
	case KindBundle:
		return "Bundle"
	case KindDeployment:
		return "BundleDeployment"
	case KindContent:
		return "Content"
	case KindSecret:
		return "Secret"
	case KindCluster:
		return "Cluster"
	case KindNamespace:
		return "Namespace"
	}
	return "Unknown"
}

// ID names a node. It is comparable, and takes three words however long the
// names are: a fleet has few of them, each very often.
type ID struct {
	Kind            Kind
	namespace, name unique.Handle[string]
}

// IDOf returns the ID of an object; the namespace of a cluster-wide one is
// empty.
func IDOf(kind Kind, namespace, name string) ID {
	return ID{kind, unique.Make(namespace), unique.Make(name)}
}

// Namespace returns the namespace of the object.
func (id ID) Namespace() string { return text(id.namespace) }

// Name returns the name of the object.
func (id ID) Name() string { return text(id.name) }

// String returns kind, namespace and name.
func (id ID) String() string {
	if id.Namespace() == "" {
		return id.Kind.String() + " " + id.Name()
	}
	return id.Kind.String() + " " + id.Namespace() + "/" + id.Name()
}

// Compare orders IDs by kind, namespace and name.
func (id ID) Compare(other ID) int {
	return cmp.Or(
		cmp.Compare(id.Kind, other.Kind),
		cmp.Compare(id.Namespace(), other.Namespace()),
		cmp.Compare(id.Name(), other.Name()),
	)
}

// text returns the value of a handle; that of the zero ID is empty.
func text(h unique.Handle[string]) string {
	if h == (unique.Handle[string]{}) {
		return ""
	}
	return h.Value()
}
