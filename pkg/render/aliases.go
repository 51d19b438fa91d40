package render

import (
	"bytes"

	"gopkg.in/yaml.v3"
)

// mostExpanded bounds the bytes that the aliases of one YAML document may expand to.
const mostExpanded = 32 << 20

const tooManyAliases = "the aliases of the YAML expand to too much"

// nodeBytes is what a node takes beside its text, at the least.
const nodeBytes = 32

// checkAliases refuses a file whose aliases grow beyond all bounds when they are
// expanded, which kustomize does. What is no YAML is not its concern.
func checkAliases(file string, data []byte) error {
	if !bytes.ContainsRune(data, '&') || !bytes.ContainsRune(data, '*') {
		return nil
	}
	decoder := yaml.NewDecoder(bytes.NewReader(data))
	for {
		var node yaml.Node
		if err := decoder.Decode(&node); err != nil {
			return nil //nolint:nilerr // the end, or no YAML: whoever reads it will say so
		}
		sizes := map[*yaml.Node]int{}
		if expandedSize(&node, sizes) > mostExpanded {
			return fileErrorf(file, tooManyAliases)
		}
	}
}

// expandedSize counts the bytes of n and what is below it with aliases expanded; it
// stops counting a little above mostExpanded. An alias to one of its parents counts
// as too many.
func expandedSize(n *yaml.Node, sizes map[*yaml.Node]int) int {
	if n.Kind == yaml.AliasNode {
		return expandedSize(n.Alias, sizes)
	}
	if size, known := sizes[n]; known {
		return size
	}
	sizes[n] = mostExpanded + 1 // until it is known: what reaches it again contains itself
	total := nodeBytes + len(n.Value)
	for _, child := range n.Content {
		if total += expandedSize(child, sizes); total > mostExpanded {
			total = mostExpanded + 1
			break
		}
	}
	sizes[n] = total
	return total
}
