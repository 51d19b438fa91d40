package report

import (
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	fleet "github.com/flotilla-gitops/flotilla/pkg/apis/fleet.cattle.io/v1alpha1"
	"github.com/flotilla-gitops/flotilla/pkg/names"
)

// Mark is a person's word about the removals of an object.
type Mark string

// Marks.
const (
	// MarkHold holds them.
	MarkHold Mark = "hold"
	// MarkRelease lets what is held go, and ends a hold.
	MarkRelease Mark = "release"
	// MarkUnhold ends a hold, and lets nothing go that the brake holds.
	MarkUnhold Mark = "unhold"
)

// Marks says what became of marks.
type Marks struct {
	TypeMeta
	Objects []Marked `json:"objects"`
}

// Marked is an object on which a mark was put.
type Marked struct {
	Kind      string `json:"kind"`
	Namespace string `json:"namespace"`
	Name      string `json:"name"`
	Mark      Mark   `json:"mark"`
	// Changed says that the object was not marked like that before.
	Changed bool `json:"changed"`
	// Refused says that the mark would not do what it is for; Message says why.
	Refused bool `json:"refused,omitempty"`
	// Message says to a person what follows from it.
	Message string `json:"message"`
}

// NewMarks returns an empty list.
func NewMarks() Marks { return Marks{TypeMeta: typeOf("Marks"), Objects: []Marked{}} }

// Marking is an object that a mark is put on.
type Marking struct {
	// Object is changed.
	Object metav1.Object
	// Conditions are those of its status.
	Conditions []fleet.Condition
	// GitRepo is the one that the object, a Bundle, is of; nil if there is none.
	GitRepo *fleet.GitRepo
	Now     time.Time
}

// Put changes the annotations of the object as the mark asks, and says what
// follows.
func (t Marking) Put(mark Mark) Marked {
	m := Marked{Namespace: t.Object.GetNamespace(), Name: t.Object.GetName(), Mark: mark}
	is, _ := holdOf("", t.Object, t.Conditions)
	annotations := maps.Clone(t.Object.GetAnnotations())
	if annotations == nil {
		annotations = map[string]string{}
	}
	// What its GitRepo's condition says of the Bundle: its folder is gone.
	if annotations[names.AnnotationGone] != "" && t.Object.GetDeletionTimestamp() == nil {
		is.Pruning = true
	}
	switch mark {
	case MarkHold:
		m.hold(is, annotations)
	case MarkUnhold:
		m.unhold(is, annotations)
	case MarkRelease:
		if m.Refused, m.Message = t.blocked(is); m.Refused {
			return m
		}
		m.release(is, annotations, t.Now)
	}
	t.Object.SetAnnotations(annotations)
	return m
}

// blocked says whether a word about the object does not reach what holds it,
// and what does.
func (t Marking) blocked(is Hold) (bool, string) {
	switch {
	case t.GitRepo != nil && byHand(t.GitRepo):
		return true, fmt.Sprintf("held by a hold on its GitRepo: release gitrepo/%s", t.GitRepo.Name)
	case is.Pruning && is.Reason == fleet.ReasonKindLeaving:
		return true, is.Message
	}
	return false, ""
}

func (m *Marked) hold(is Hold, annotations map[string]string) {
	m.Changed = !is.Hand
	m.Message = "held: nothing of it goes because of edited targets, clusters that no longer match, or a folder that is gone"
	annotations[names.AnnotationHold] = "true"
	// Who holds now has not let go what was held before.
	delete(annotations, names.AnnotationReleaseHeld)
}

func (m *Marked) unhold(is Hold, annotations map[string]string) {
	m.Changed, m.Message = is.Hand, "nobody holds it by hand"
	if is.Hand {
		m.Message = "no longer held by hand: what is due goes, as far as the brake lets it"
	}
	delete(annotations, names.AnnotationHold)
}

func (m *Marked) release(is Hold, annotations map[string]string, now time.Time) {
	delete(annotations, names.AnnotationHold)
	m.Changed = is.Hand || is.Pruning && !is.Releasing
	switch {
	case is.Releasing:
		m.Message = "released before: the garbage collector has yet to act on it"
	case is.Pruning:
		annotations[names.AnnotationReleaseHeld] = now.UTC().Format(time.RFC3339)
		m.Message = "released: what was held goes now; flotilla gc list shows how far it is"
	case is.Hand:
		m.Message = "no longer held by hand"
	default:
		m.Message = "nothing of it is held"
	}
}

// Yes says that every mark does what it is for.
func (m Marks) Yes() bool {
	return !slices.ContainsFunc(m.Objects, func(o Marked) bool { return o.Refused })
}

// WriteText writes a line for every object.
func (m Marks) WriteText(out io.Writer) error {
	var lines []string
	for _, o := range m.Objects {
		lines = append(lines, fmt.Sprintf("%s/%s: %s", strings.ToLower(o.Kind), o.Name, o.Message))
	}
	return writeLines(out, lines)
}
