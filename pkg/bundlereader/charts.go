package bundlereader

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"regexp"
	"slices"
	"strings"

	fleet "github.com/flotilla-gitops/flotilla/pkg/apis/fleet.cattle.io/v1alpha1"
)

// downloadedCharts is the folder of a bundle that holds charts from elsewhere,
// each below a digest of what it was named by.
const downloadedCharts = ".chart"

// addCharts fetches the charts that the options name and that are not in the
// folder, and adds their files.
func (b *builder) addCharts(ctx context.Context) error {
	fetched := map[ChartRef]bool{}
	for _, named := range b.namedCharts() {
		ref := ChartRef{Chart: named.helm.Chart, Repo: named.helm.Repo, Version: named.helm.Version, Auth: b.options.ChartCredentials.For(b.folder.path)}
		remote, err := b.isRemote(ref, named.field)
		if err != nil {
			return err
		}
		if !remote || fetched[ref] {
			continue
		}
		fetched[ref] = true
		if err := b.addChart(ctx, ref, named.field); err != nil {
			return err
		}
	}
	return nil
}

// namedChart is a chart that the options name, and where.
type namedChart struct {
	helm  *fleet.HelmOptions
	field []any
}

func (b *builder) namedCharts() []namedChart {
	spec := &b.bundle.Spec
	all := []namedChart{{helm: spec.Helm, field: []any{"helm", "chart"}}}
	for i := range spec.Targets {
		field := []any{"helm", "chart"}
		if own := len(b.doc.options.Targets); i < own {
			field = []any{"targets", i, "helm"}
		} else if i-own < len(b.doc.options.TargetCustomizations) {
			field = []any{"targetCustomizations", i - own, "helm"}
		}
		all = append(all, namedChart{helm: spec.Targets[i].Helm, field: field})
	}
	return slices.DeleteFunc(all, func(c namedChart) bool {
		return c.helm == nil || c.helm.Chart == "" && c.helm.Repo == ""
	})
}

// isRemote says whether a chart has to be fetched: it has a repository, or it
// is not in the folder.
func (b *builder) isRemote(ref ChartRef, field []any) (bool, error) {
	if ref.Repo != "" {
		return true, nil
	}
	if hasScheme(ref.Chart) {
		return true, nil
	}
	at := path.Join(b.contents.root, strings.TrimPrefix(ref.Chart, "/"))
	if !inside(b.contents.root, at) && isElsewhere(ref.Chart) {
		return true, nil
	}
	if !inside(b.contents.root, at) {
		return false, b.fieldError(fmt.Sprintf("the chart %q is outside of the folder", ref.Chart), field...)
	}
	_, _, err := resolve(b.tree, b.contents.root, at)
	switch {
	case err == nil:
		return false, nil
	case errors.Is(err, fs.ErrNotExist) && isElsewhere(ref.Chart):
		return true, nil
	case errors.Is(err, fs.ErrNotExist):
		return false, b.fieldError(fmt.Sprintf("the chart %q is neither in the folder nor an address such as https://…, oci://… or git::https://…", ref.Chart), field...)
	case errors.Is(err, errLink):
		return false, b.fieldError(err.Error(), field...)
	default:
		return false, fmt.Errorf("looking for chart %s: %w", ref.Chart, err)
	}
}

// hasScheme says whether a chart is named by an address that cannot be a folder.
func hasScheme(s string) bool {
	return isURL(s) || strings.HasPrefix(s, "ssh://") || forcedForm.MatchString(s)
}

func isURL(s string) bool {
	return slices.ContainsFunc([]string{"http://", "https://", "oci://"}, func(scheme string) bool { return strings.HasPrefix(s, scheme) })
}

var (
	// forcedForm is an address with the way to fetch it in front: git::https://…
	forcedForm = regexp.MustCompile(`^[a-z0-9]+::`)
	// shortForm are addresses without a scheme: on well-known hosts, and the form
	// of scp.
	shortForm = regexp.MustCompile(`^(github\.com|gitlab\.com|bitbucket\.org)/[^/]+/[^/]|^[A-Za-z0-9._-]+@[A-Za-z0-9._-]+:[^/:]`)
)

// isElsewhere says whether what is no folder may be an address.
func isElsewhere(s string) bool { return hasScheme(s) || shortForm.MatchString(s) }

func (b *builder) addChart(ctx context.Context, ref ChartRef, field []any) error {
	if b.options.Charts == nil {
		return b.fieldError("charts from elsewhere cannot be fetched here", field...)
	}
	files, err := b.options.Charts.Fetch(ctx, ref)
	if err != nil {
		if ctx.Err() != nil {
			return ctx.Err()
		}
		return b.fieldError(err.Error(), field...)
	}
	sum := sha256.Sum256([]byte(ref.Chart + ":" + ref.Repo + ":" + ref.Version))
	base := path.Join(downloadedCharts, hex.EncodeToString(sum[:]))
	for name, content := range files {
		if slices.ContainsFunc(strings.Split(name, "/"), isHidden) {
			continue
		}
		if !fs.ValidPath(name) {
			return b.fieldError(fmt.Sprintf("the chart holds a file with the invalid name %q", name), field...)
		}
		if err := b.contents.add(path.Join(base, name), content); err != nil {
			return b.atField(err, "the chart is too large: ", field...)
		}
	}
	return nil
}

// add puts a file that is not from the tree among the contents.
func (c *contents) add(name string, content []byte) error {
	c.count++
	c.bytes += int64(len(content))
	if c.count > c.limits.MaxFiles || c.bytes > c.limits.MaxBytes {
		return c.fail(c.root, fmt.Sprintf("a bundle has at most %d files and %d bytes", c.limits.MaxFiles, c.limits.MaxBytes))
	}
	c.files[name] = content
	return nil
}

// hasKustomization reports whether a folder of the bundle has a kustomization.
func (c *contents) hasKustomization(dir string) bool {
	return slices.ContainsFunc([]string{"kustomization.yaml", "kustomization.yml", "Kustomization"}, func(name string) bool {
		_, ok := c.files[path.Join(dir, name)]
		return ok
	})
}
