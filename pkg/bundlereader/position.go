package bundlereader

import (
	"strings"

	yamlv3 "gopkg.in/yaml.v3"
)

// position finds where a field is set, given by its path; lists count from 0.
// What is not there is placed at the field that it would be in.
func (d document) position(path ...any) (line, column int) {
	node := d.root
	for _, step := range path {
		if node == nil {
			break
		}
		line, column = node.Line, node.Column
		next := child(node, step)
		if next == nil {
			return line, column
		}
		node = next
	}
	if node == nil {
		return 0, 0
	}
	return node.Line, node.Column
}

func child(node *yamlv3.Node, step any) *yamlv3.Node {
	if node.Kind == yamlv3.AliasNode {
		node = node.Alias
	}
	switch step := step.(type) {
	case int:
		if node.Kind == yamlv3.SequenceNode && step < len(node.Content) {
			return node.Content[step]
		}
	case string:
		for i := 0; node.Kind == yamlv3.MappingNode && i+1 < len(node.Content); i += 2 {
			if strings.EqualFold(node.Content[i].Value, step) {
				return node.Content[i+1]
			}
		}
	}
	return nil
}

// has reports whether a field is set in the file.
func (d document) has(name string) bool { return d.root != nil && child(d.root, name) != nil }
