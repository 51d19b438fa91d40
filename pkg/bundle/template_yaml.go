package bundle

import (
	"errors"
	"strings"

	yamlv3 "gopkg.in/yaml.v3"
	utiljson "k8s.io/apimachinery/pkg/util/json"
	"sigs.k8s.io/yaml"
)

// style is how a string would be written in a YAML file.
type style int

const (
	// stylePlain: without quotes; what a template puts there is read as YAML.
	stylePlain style = iota
	// styleBlock: over several lines; it stays a string.
	styleBlock
	// styleQuoted: it stays a string.
	styleQuoted
)

// styleOf returns the style in which the encoder writes the string.
func styleOf(text string) style {
	encoded, err := yaml.Marshal(text)
	if err != nil || len(encoded) == 0 {
		return styleQuoted
	}
	switch encoded[0] {
	case '"', '\'', '!':
		return styleQuoted
	case '|', '>':
		return styleBlock
	}
	return stylePlain
}

// readScalar returns what the result of a template means where a plain YAML scalar stood: null, true, a number, a
// quoted string, a list or an object in flow style. What cannot be read as such is the string that it is; only a list
// or an object that does not end is an error.
func readScalar(at *path, result string) (any, error) {
	result = strings.TrimSpace(result)
	if strings.ContainsAny(result, "\r\n") {
		return result, nil
	}
	const field = "v"
	document, err := readYAML(field + ": " + result)
	object, _ := document.(map[string]any)
	value, single := object[field]
	if err != nil || !single || len(object) != 1 {
		if strings.HasPrefix(result, "[") || strings.HasPrefix(result, "{") {
			return nil, at.error("its result begins like a list or an object, but cannot be read as YAML")
		}
		return result, nil
	}
	if _, isString := value.(string); isString && !strings.HasPrefix(result, `"`) && !strings.HasPrefix(result, "'") {
		// YAML would drop what follows " #".
		return result, nil
	}
	return value, nil
}

// chomp gives the result of a block the line breaks at its end that the block had.
func chomp(block, result string) string {
	switch {
	case strings.HasSuffix(block, "\n\n"):
		return result
	case strings.HasSuffix(block, "\n"):
		if trimmed := strings.TrimRight(result, "\n"); trimmed != "" {
			return trimmed + "\n"
		}
		return ""
	default:
		return strings.TrimRight(result, "\n")
	}
}

var errYAML = errors.New("this cannot be read as YAML")

// readYAML reads one YAML document; whole numbers become int64. The error quotes nothing.
func readYAML(text string) (any, error) {
	if strings.Contains(text, "&") && !boundedAliases(text) {
		return nil, errYAML
	}
	encoded, err := yaml.YAMLToJSON([]byte(text))
	if err != nil {
		return nil, errYAML
	}
	var value any
	if err := utiljson.Unmarshal(encoded, &value); err != nil {
		return nil, errYAML
	}
	return value, nil
}

// boundedAliases says whether a document with anchors stays small when every alias is written out. The decoder limits
// how many aliases there are, but not how much each of them stands for.
func boundedAliases(text string) bool {
	var document yamlv3.Node
	if err := yamlv3.Unmarshal([]byte(text), &document); err != nil {
		return false
	}
	budget := maxSize
	return spendNode(&document, &budget, 0)
}

func spendNode(node *yamlv3.Node, budget *int, depth int) bool {
	if *budget -= 1 + len(node.Value); *budget < 0 || depth > 2*maxDepth {
		return false
	}
	if node.Kind == yamlv3.AliasNode {
		return spendNode(node.Alias, budget, depth+1)
	}
	for _, child := range node.Content {
		if !spendNode(child, budget, depth+1) {
			return false
		}
	}
	return true
}
