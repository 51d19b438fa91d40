package bundlereader

import (
	"bytes"
	"errors"

	yamlv3 "gopkg.in/yaml.v3"
	"sigs.k8s.io/yaml"
)

const (
	// maxExpanded bounds what a YAML document may grow to, in bytes, when its
	// aliases are written out.
	maxExpanded = 16 << 20
	// nodeBytes is what a value takes beside its text, at the least.
	nodeBytes = 32
)

var errAliases = errors.New("the file grows beyond 16 MiB when its aliases are written out")

// toJSON converts YAML the way Kubernetes does, unless its aliases would make
// more of it than memory can hold: a few kilobytes can name gigabytes.
func toJSON(content []byte) ([]byte, error) {
	if bytes.ContainsRune(content, '&') && bytes.ContainsRune(content, '*') {
		var node yamlv3.Node
		// What this parser cannot read, the other one complains about.
		if yamlv3.Unmarshal(content, &node) == nil && expanded(&node, map[*yamlv3.Node]int{}) > maxExpanded {
			return nil, errAliases
		}
	}
	return yaml.YAMLToJSON(content)
}

// expanded counts the bytes of a node as if aliases were written out. An alias
// to a node that it is in counts as too many.
func expanded(node *yamlv3.Node, known map[*yamlv3.Node]int) int {
	if size, ok := known[node]; ok {
		return size
	}
	known[node] = maxExpanded + 1 // until it is known
	size := nodeBytes + len(node.Value)
	if node.Kind == yamlv3.AliasNode {
		size += expanded(node.Alias, known)
	}
	for _, child := range node.Content {
		size = min(size+expanded(child, known), maxExpanded+1)
	}
	known[node] = size
	return size
}
