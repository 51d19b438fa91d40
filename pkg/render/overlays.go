package render

import (
	"bytes"
	"path"
	"slices"
	"strings"
)

const (
	overlaysDir = "overlays"
	patchSuffix = "_patch"
)

// applyOverlays returns the files with the named overlays laid over them, in
// order. The folder of the overlays itself is never deployed.
func applyOverlays(files *tree, overlays []string, limits Limits) (*tree, error) {
	result := &tree{content: make(map[string][]byte, len(files.paths))}
	for _, name := range files.paths {
		if _, overlay := below(overlaysDir, name); !overlay {
			result.put(name, files.content[name])
		}
	}
	for _, overlay := range overlays {
		if err := applyOverlay(result, files, overlay, limits); err != nil {
			return nil, err
		}
	}
	slices.Sort(result.paths)
	return result, nil
}

func applyOverlay(result, files *tree, overlay string, limits Limits) error {
	dir := path.Join(overlaysDir, overlay)
	if _, inside := below(overlaysDir, dir); !inside || !files.isDir(dir) {
		return &Error{Message: "yaml.overlays names " + overlay + ", but the bundle has no files in " + dir}
	}
	var patches []string
	for _, name := range files.paths {
		rel, ok := below(dir, name)
		if !ok {
			continue
		}
		if _, isPatch := patchedFile(rel); isPatch {
			patches = append(patches, rel)
			continue
		}
		result.put(rel, files.content[name])
	}
	// Patches come last, so that they also fit what this overlay has replaced.
	for _, rel := range patches {
		target, _ := patchedFile(rel)
		source := path.Join(dir, rel)
		base, ok := result.content[target]
		if !ok {
			return fileErrorf(source, "there is no %s to patch", target)
		}
		patched, err := patchManifests(patchJob{
			target: target, base: base,
			source: source, patch: files.content[source],
			copyLimit: limits.RenderedBytes,
		})
		if err != nil {
			return err
		}
		result.put(target, patched)
	}
	return nil
}

// patchedFile returns the file that "<file>_patch.<ext>" patches.
func patchedFile(name string) (string, bool) {
	ext := path.Ext(name)
	stem, ok := strings.CutSuffix(strings.TrimSuffix(name, ext), patchSuffix)
	if !ok || !isManifest(name) || strings.HasSuffix(stem, "/") || stem == "" {
		return "", false
	}
	return stem + ext, true
}

// isManifest says whether the name of a file is that of a manifest.
func isManifest(name string) bool {
	return slices.Contains([]string{".yaml", ".yml", ".json"}, path.Ext(name))
}

// joinDocuments is the inverse of splitDocuments.
func joinDocuments(docs [][]byte) []byte {
	return bytes.Join(docs, []byte("---\n"))
}
