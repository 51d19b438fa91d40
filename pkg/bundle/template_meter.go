package bundle

import "reflect"

// Work is counted in bytes that are looked at or produced, roughly.
const (
	// maxWork is what all templates of one cluster's values may do together.
	maxWork = 32 << 20
	// maxTemplate is how long one template may be, in bytes.
	maxTemplate = 64 << 10
	// workPerCall and workPerRound are what a function call and a round of a loop cost at least.
	workPerCall  = 256
	workPerRound = 1024
)

// limit is the error of a template that goes too far. It quotes nothing of the template.
type limit string

func (l limit) Error() string { return string(l) }

const (
	errWork     limit = "it computes too much"
	errTooLarge limit = "a value in it becomes " + tooLarge
	errTooDeep  limit = "a value in it becomes " + tooDeep
	errFormat   limit = "a format in it has a width, a precision or a verb that is not available in values"
	errPattern  limit = "a regular expression in it is too long or too large"
)

// meter limits what templates may do. Go's templates can be stopped only from within: by a function, or by the writer.
type meter struct{ work int }

// spend records work, or says that it is too much.
func (m *meter) spend(work int) error {
	if work < 0 || work > maxWork-m.work {
		m.work = maxWork
		return errWork
	}
	m.work += work
	return nil
}

// inspect records the work of handling a value, or says that the value is too large or too deep.
func (m *meter) inspect(v reflect.Value) error {
	s := measureValue(v)
	switch {
	case s.weight > maxSize:
		return errTooLarge
	case s.depth > maxDepth+1:
		return errTooDeep
	}
	return m.spend(s.weight)
}

// size is the extent of a value with everything below it, where what is there twice counts twice.
type size struct {
	// weight is about the number of bytes, nodes the number of values in it.
	weight, nodes int
	// depth is the number of levels: 0 for text or a number.
	depth int
}

// excess says what is wrong with a value of this size, or nothing.
func (s size) excess() string {
	switch {
	case s.depth > maxDepth+1:
		return tooDeep
	case s.weight > maxSize:
		return tooLarge
	}
	return ""
}

// measure returns the size of a value. It stops where that is past the limits: the size it returns is then, too.
func measure(value any) size { return measureValue(reflect.ValueOf(value)) }

func measureValue(v reflect.Value) size {
	var s size
	s.add(v, 0)
	return s
}

// nodeWeight is what a value weighs apart from its text.
const nodeWeight = 4

func (s *size) add(v reflect.Value, depth int) {
	for v.Kind() == reflect.Interface {
		v = v.Elem()
	}
	s.nodes++
	s.weight += nodeWeight
	s.depth = max(s.depth, depth)
	if s.excess() != "" {
		return
	}
	switch v.Kind() {
	case reflect.String:
		s.weight += v.Len()
	case reflect.Map:
		s.depth = max(s.depth, depth+1)
		for entries := v.MapRange(); s.excess() == "" && entries.Next(); {
			s.weight += keyLen(entries.Key())
			s.add(entries.Value(), depth+1)
		}
	case reflect.Slice, reflect.Array:
		s.depth = max(s.depth, depth+1)
		for i := 0; s.excess() == "" && i < v.Len(); i++ {
			s.add(v.Index(i), depth+1)
		}
	}
}

func keyLen(key reflect.Value) int {
	if key.Kind() == reflect.String {
		return key.Len()
	}
	return nodeWeight
}
