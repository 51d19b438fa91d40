// Package figures holds what was measured: figures with their unit, what they are compared with, and how they are shown.
package figures

import (
	"fmt"
	"math"
	"slices"
	"strconv"
	"time"
)

// Unit of a figure.
type Unit string

// Units. A figure without one is a plain number.
const (
	Milliseconds Unit = "ms"
	Seconds      Unit = "s"
	PerSecond    Unit = "/s"
	PerMinute    Unit = "/min"
	Bytes        Unit = "B"
	Times        Unit = "×"
	Number       Unit = ""
)

// Samples are the figures of several rounds of the same measure.
type Samples []float64

// Add appends a duration, in milliseconds.
func (s *Samples) Add(d time.Duration) { *s = append(*s, float64(d)/float64(time.Millisecond)) }

// Median returns the middle figure, or the mean of the two in the middle; 0 if there is none.
func (s Samples) Median() float64 {
	if len(s) == 0 {
		return 0
	}
	sorted := slices.Sorted(slices.Values(s))
	middle := len(sorted) / 2
	if len(sorted)%2 == 1 {
		return sorted[middle]
	}
	return (sorted[middle-1] + sorted[middle]) / 2
}

// Rate returns n things per second of d; 0 if d is.
func Rate(n int, d time.Duration) float64 {
	if d <= 0 {
		return 0
	}
	return float64(n) / d.Seconds()
}

// format writes a figure with as many digits as mean something.
func format(value float64, unit Unit) string {
	switch unit {
	case Milliseconds:
		return digits(value) + " ms"
	case Seconds:
		return digits(value) + " s"
	case Bytes:
		return formatBytes(value)
	case Times:
		return strconv.FormatFloat(value, 'f', 2, 64) + " ×"
	case Number, PerSecond, PerMinute:
		return digits(value) + string(unit)
	}
	return digits(value) + " " + string(unit)
}

func digits(value float64) string {
	switch abs := math.Abs(value); {
	case abs >= 100 || value == math.Trunc(value):
		return strconv.FormatFloat(value, 'f', 0, 64)
	case abs >= 10:
		return strconv.FormatFloat(value, 'f', 1, 64)
	default:
		return strconv.FormatFloat(value, 'f', 2, 64)
	}
}

func formatBytes(value float64) string {
	switch abs := math.Abs(value); {
	case abs >= 1<<20:
		return fmt.Sprintf("%.1f MiB", value/(1<<20))
	case abs >= 1<<10:
		return fmt.Sprintf("%.1f KiB", value/(1<<10))
	default:
		return fmt.Sprintf("%.0f B", value)
	}
}
