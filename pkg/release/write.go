package release

import (
	"errors"
	"fmt"
	"strings"
	"sync"

	"golang.org/x/sync/errgroup"
	"helm.sh/helm/v3/pkg/kube"
	"k8s.io/cli-runtime/pkg/resource"
)

// maxRefusals is how many refused objects an error names.
const maxRefusals = 3

// createAll creates objects, each with its name in what is said of it: the API
// server's own words often lack it, such as those of admission webhooks.
func (c *kubeClient) createAll(list kube.ResourceList) (*kube.Result, error) {
	if len(list) == 0 {
		return c.Client.Create(list) // Helm has an error of its own for this
	}
	err := c.byKind(list, func(info *resource.Info) error {
		if _, err := c.Client.Create(kube.ResourceList{info}); err != nil {
			return fmt.Errorf("creating %s: %w", nameOf(info), plain(err))
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	return &kube.Result{Created: list}, nil
}

// changing is how objects are changed.
type changing struct {
	// apply is Helm's function.
	apply func(original, target kube.ResourceList, force bool) (*kube.Result, error)
	// force replaces what cannot be changed.
	force bool
}

// changeAll brings objects from what they were in the last revision to what
// they are to be. What it did is in result, also when it fails.
func (c *kubeClient) changeAll(original, target kube.ResourceList, how changing, result *kube.Result) error {
	before := make(map[string]*resource.Info, len(original))
	for _, info := range original {
		before[placeOf(info)] = info
	}
	var mu sync.Mutex
	return c.byKind(target, func(info *resource.Info) error {
		var was kube.ResourceList
		if known := before[placeOf(info)]; known != nil {
			was = kube.ResourceList{known}
		}
		applied, err := how.apply(was, kube.ResourceList{info}, how.force)
		if err != nil {
			err = c.unchanged(info, how.force, err)
		}
		if applied != nil {
			mu.Lock()
			defer mu.Unlock()
			result.Created = append(result.Created, applied.Created...)
			result.Updated = append(result.Updated, applied.Updated...)
		}
		return err
	})
}

// unchanged deals with an object that could not be changed. With force, one
// that cannot be changed at all is deleted, if it is the release's, and made anew.
func (c *kubeClient) unchanged(info *resource.Info, force bool, err error) error {
	if !immutable(err) {
		return fmt.Errorf("changing %s: %w", nameOf(info), plain(err))
	}
	if !force {
		return fmt.Errorf("changing %s: %w; give it another name, or set helm.force to have it deleted and made anew", nameOf(info), plain(err))
	}
	c.replacing.Lock() // what waits lets go of the one slot that the release has
	defer c.replacing.Unlock()
	one := kube.ResourceList{info}
	left, removeErr := c.objects.remove(c.ctx, removal{release: c.release, set: c.set, objects: infoObjects(one)})
	if removeErr != nil {
		return fmt.Errorf("replacing %s: %w", nameOf(info), removeErr)
	}
	if len(left) > 0 {
		if err := c.WaitForDelete(one, c.timeout); err != nil {
			return fmt.Errorf("replacing %s: %w", nameOf(info), err)
		}
	}
	if _, createErr := c.Client.Create(one); createErr != nil {
		return fmt.Errorf("replacing %s: %w", nameOf(info), plain(errors.Join(createErr, err)))
	}
	return nil
}

// immutable says whether the API server refused a change because of what it
// changes. Helm passes on only the text.
func immutable(err error) bool {
	text := err.Error()
	return strings.Contains(text, "is invalid") &&
		(strings.Contains(text, "immutable") || strings.Contains(text, "Forbidden: updates to "))
}

// byKind calls f for every object, several at once, but one kind after the
// other, in the order of the list. It ends with the kind at which f failed.
func (c *kubeClient) byKind(list kube.ResourceList, f func(*resource.Info) error) error {
	for start := 0; start < len(list); {
		end := start + 1
		kind := list[start].Mapping.GroupVersionKind
		for end < len(list) && list[end].Mapping.GroupVersionKind == kind {
			end++
		}
		if err := several(list[start:end], f); err != nil {
			return err
		}
		start = end
	}
	return nil
}

func several(list kube.ResourceList, f func(*resource.Info) error) error {
	failed := make([]error, len(list))
	var group errgroup.Group
	group.SetLimit(atOnce)
	for i, info := range list {
		group.Go(func() error {
			_, failed[i] = guarded(func() (struct{}, error) { return struct{}{}, f(info) })
			return nil
		})
	}
	_ = group.Wait() // failed has the errors
	return firstErrors(failed)
}

// firstErrors joins the first errors of a list, and says how many more there
// are.
func firstErrors(list []error) error {
	var some []error
	more := 0
	for _, err := range list {
		switch {
		case err == nil:
		case len(some) < maxRefusals:
			some = append(some, err)
		default:
			more++
		}
	}
	if more > 0 {
		some = append(some, fmt.Errorf("and %d more", more))
	}
	return errors.Join(some...)
}

func nameOf(info *resource.Info) Object { return infoObjects(kube.ResourceList{info})[0] }

// placeOf identifies an object as Helm does.
func placeOf(info *resource.Info) string {
	kind := info.Mapping.GroupVersionKind.GroupKind()
	return kind.String() + "/" + info.Namespace + "/" + info.Name
}

// plain takes off the list that Helm makes of a single error.
func plain(err error) error {
	type many interface{ WrappedErrors() []error }
	var list many
	if errors.As(err, &list) && len(list.WrappedErrors()) == 1 {
		return list.WrappedErrors()[0]
	}
	return err
}
