package oracle

import (
	"slices"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// answer is what a criterion says.
type answer int

const (
	no answer = iota
	yes
	// unknown: it cannot be evaluated.
	unknown
)

// selects says whether a label selector matches. No selector matches nothing, an empty one everything; one with a requirement that
// nobody understands is unknown as a whole.
func selects(s *metav1.LabelSelector, labels map[string]string) answer {
	if s == nil {
		return no
	}
	result := yes
	for key, value := range s.MatchLabels {
		if has, ok := labels[key]; !ok || has != value {
			result = no
		}
	}
	for _, r := range s.MatchExpressions {
		value, has := labels[r.Key]
		var holds bool
		switch r.Operator {
		case metav1.LabelSelectorOpIn:
			holds = has && slices.Contains(r.Values, value)
		case metav1.LabelSelectorOpNotIn:
			holds = !has || !slices.Contains(r.Values, value)
		case metav1.LabelSelectorOpExists:
			holds = has
		case metav1.LabelSelectorOpDoesNotExist:
			holds = !has
		default:
			return unknown
		}
		if !holds {
			result = no
		}
	}
	return result
}
