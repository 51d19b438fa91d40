package render

import (
	"path"
	"regexp"
	"slices"
	"strings"

	"sigs.k8s.io/kustomize/api/types"
)

// mostKustomizations bounds the kustomizations that one may include, each counted
// as often as it is included: they may double with every level.
const mostKustomizations = 1000

// checkReferences follows a kustomization through all that it includes and
// refuses what lies outside of the bundle. Kustomize itself would fetch it: with
// an HTTP request, or with git.
func checkReferences(files *tree, dir string) error {
	return (&references{files: files}).follow(dir, nil)
}

type references struct {
	files *tree
	count int
}

// follow checks the kustomization in dir, which the folders of trail include.
func (r *references) follow(dir string, trail []string) error {
	file, err := kustomizationIn(r.files, dir)
	if err != nil {
		return err
	}
	if file == "" {
		return fileErrorf(dir, "the folder holds no kustomization")
	}
	if slices.Contains(trail, dir) {
		return fileErrorf(file, "the kustomization includes itself")
	}
	if r.count++; r.count > mostKustomizations {
		return fileErrorf(file, "the kustomization includes more than %d others", mostKustomizations)
	}
	var k types.Kustomization
	if err := k.Unmarshal(r.files.content[file]); err != nil {
		line, message := describeYAML(err)
		return &Error{File: file, Line: line, Message: "reading the kustomization: " + message, Err: err}
	}
	k.FixKustomization()
	if len(k.HelmCharts) > 0 {
		return fileErrorf(file, "helmCharts is not supported: make the chart the bundle's own, in helm.chart")
	}
	if err := r.checkFiles(file, &k); err != nil {
		return err
	}
	if err := r.checkPlugins(file, &k); err != nil {
		return err
	}
	return r.checkIncluded(file, &k, append(trail, dir))
}

// checkIncluded checks what the kustomization lists as resources and components.
func (r *references) checkIncluded(file string, k *types.Kustomization, trail []string) error {
	for _, ref := range slices.Concat(k.Resources, k.Components) {
		if err := checkLocal(file, ref); err != nil {
			return err
		}
		target := path.Join(path.Dir(file), ref)
		switch {
		case escapes(target):
			return fileErrorf(file, "%s lies outside of the bundle's folder, so it is not part of the bundle", ref)
		case r.files.has(target) || target == path.Join(path.Dir(file), chartManifests):
		case r.files.isDir(target):
			if err := r.follow(target, trail); err != nil {
				return err
			}
		default:
			return fileErrorf(file, "there is no %s in the bundle", ref)
		}
	}
	return nil
}

// checkFiles checks every field of a kustomization that names a file to read.
func (r *references) checkFiles(file string, k *types.Kustomization) error {
	refs := slices.Concat(k.Crds, k.Configurations, []string{k.OpenAPI["path"]})
	for _, p := range k.PatchesStrategicMerge { //nolint:staticcheck // deprecated, but everybody has it
		refs = append(refs, string(p))
	}
	for _, p := range slices.Concat(k.Patches, k.PatchesJson6902) { //nolint:staticcheck // deprecated, but everybody has it
		refs = append(refs, p.Path)
	}
	for _, p := range k.Replacements {
		refs = append(refs, p.Path)
	}
	for _, g := range k.ConfigMapGenerator {
		refs = append(refs, sourceFiles(g.KvPairSources)...)
	}
	for _, g := range k.SecretGenerator {
		refs = append(refs, sourceFiles(g.KvPairSources)...)
	}
	for _, ref := range refs {
		if err := checkLocal(file, ref); err != nil {
			return err
		}
	}
	return nil
}

// sourceFiles returns the files of a generator, without the keys they go under.
func sourceFiles(sources types.KvPairSources) []string {
	files := slices.Concat(sources.EnvSources, []string{sources.EnvSource})
	for _, source := range sources.FileSources {
		files = append(files, afterKey(source))
	}
	return files
}

func afterKey(source string) string {
	if _, file, ok := strings.Cut(source, "="); ok {
		return file
	}
	return source
}

// checkPlugins checks generators, transformers and validators: documents, inline
// or in files, that may name files themselves. Folders of them are refused: what
// these name could be changed by patches on the way.
func (r *references) checkPlugins(file string, k *types.Kustomization) error {
	for _, entry := range slices.Concat(k.Generators, k.Transformers, k.Validators) {
		if err := checkLocal(file, entry); err != nil {
			return err
		}
		if inline := documentsOf(file, []byte(entry)); len(inline) > 0 {
			if err := checkPluginFiles(file, inline); err != nil {
				return err
			}
			continue
		}
		target := path.Join(path.Dir(file), entry)
		data, ok := r.files.content[target]
		if !ok {
			return fileErrorf(file, "%s is no file of the bundle: generators, transformers and validators are given as files or inline", entry)
		}
		if err := checkPluginFiles(target, documentsOf(target, data)); err != nil {
			return err
		}
	}
	return nil
}

// documentsOf returns the mappings among the documents of data; kustomize
// complains about the others.
func documentsOf(file string, data []byte) []map[string]any {
	var found []map[string]any
	for _, doc := range splitDocuments(file, data) {
		value, err := doc.decode(lenient)
		if mapping, ok := value.(map[string]any); err == nil && ok {
			found = append(found, mapping)
		}
	}
	return found
}

// checkPluginFiles checks whatever the configurations of kustomize's plugins read.
func checkPluginFiles(file string, configurations []map[string]any) error {
	for _, configuration := range configurations {
		if err := checkFileFields(file, "", configuration); err != nil {
			return err
		}
	}
	return nil
}

// checkFileFields checks the texts under every field that names a file in some
// plugin.
func checkFileFields(file, field string, node any) error {
	switch n := node.(type) {
	case string:
		switch field {
		case "files", "envs", "env", "path", "paths", "targetFilePath", "valuesFile", "additionalValuesFiles":
			return checkLocal(file, afterKey(n))
		}
	case []any:
		for _, item := range n {
			if err := checkFileFields(file, field, item); err != nil {
				return err
			}
		}
	case map[string]any:
		for name, item := range n {
			if err := checkFileFields(file, name, item); err != nil {
				return err
			}
		}
	}
	return nil
}

// remote matches what kustomize takes for something to fetch, and a little more:
// a scheme, user@host, or the host that needs neither.
var remote = regexp.MustCompile(`(?i)^(git::)*([a-z][a-z0-9+.-]*://|https?:|[a-z][a-z0-9-]*@|github\.com[/:])|^git::`)

// checkLocal refuses a reference that leads to the network.
func checkLocal(file, ref string) error {
	if remote.MatchString(ref) {
		return fileErrorf(file, "%s is remote: a kustomization is built from the files of its bundle only, so add them to the repository",
			withoutCredentials(ref))
	}
	return nil
}
