package rollout

import (
	"fmt"
	"math"
	"strconv"
	"strings"

	"k8s.io/apimachinery/pkg/util/intstr"

	fleet "github.com/flotilla-gitops/flotilla/pkg/apis/fleet.cattle.io/v1alpha1"
)

// Defaults of a rolloutStrategy.
const (
	defaultMaxNew                 = 50
	defaultAutoPartitionThreshold = 200
)

func defaultAutoPartitionSize() *intstr.IntOrString {
	return &intstr.IntOrString{Type: intstr.String, StrVal: "25%"}
}
func defaultMaxUnavailablePartitions() *intstr.IntOrString { return &intstr.IntOrString{} }

// limit resolves the first value that is set, a number or a percentage, for
// count things. Percentages are rounded down, but not to zero: that only the
// number 0 means. No value is all of them. Of no things at all, one may be.
func limit(count int, values ...*intstr.IntOrString) (int, error) {
	if count <= 0 {
		count = 1
	}
	for _, value := range values {
		if value != nil {
			return resolve(count, value)
		}
	}
	return count, nil
}

func resolve(count int, value *intstr.IntOrString) (int, error) {
	if value.Type == intstr.Int {
		return min(max(value.IntValue(), 0), count), nil
	}
	if n, err := strconv.Atoi(value.StrVal); err == nil {
		return min(max(n, 0), count), nil
	}
	number, isPercentage := strings.CutSuffix(value.StrVal, "%")
	percent, err := strconv.ParseFloat(number, 64)
	if !isPercentage || err != nil || math.IsNaN(percent) || math.IsInf(percent, 0) {
		return 0, fmt.Errorf("%q is neither a number nor a percentage", value.StrVal)
	}
	switch {
	case percent >= 100:
		return count, nil
	case percent <= 0:
		return 1, nil
	}
	// The product of whole numbers is exact; a share such as 0.49 is not.
	return max(int(float64(count)*percent/100), 1), nil
}

// limits resolves values of a strategy and keeps the first that cannot be read.
type limits struct{ problem string }

// of returns the limit of count, or none at all for a value that cannot be
// read: doubt holds back.
func (l *limits) of(field string, count int, values ...*intstr.IntOrString) int {
	n, err := limit(count, values...)
	if err != nil && l.problem == "" {
		l.problem = "spec.rolloutStrategy." + field + ": " + err.Error()
	}
	return n
}

// strategyOf returns the bundle's strategy. Numbers that it does not set have
// their defaults; others have theirs where they are resolved.
func strategyOf(b *fleet.Bundle) (s fleet.RolloutStrategy, threshold, maxNew int) {
	if b.Spec.RolloutStrategy != nil {
		s = *b.Spec.RolloutStrategy
	}
	threshold, maxNew = defaultAutoPartitionThreshold, defaultMaxNew
	if s.AutoPartitionThreshold != nil {
		threshold = *s.AutoPartitionThreshold
	}
	if s.MaxNew != nil {
		maxNew = max(*s.MaxNew, 0)
	}
	return s, threshold, maxNew
}
