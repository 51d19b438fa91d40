package render

import (
	"bytes"
	"fmt"
	"path"
	"regexp"
	"slices"
	"strings"
	"sync"

	"sigs.k8s.io/kustomize/api/krusty"
	"sigs.k8s.io/kustomize/api/resmap"
	"sigs.k8s.io/kustomize/api/types"
	"sigs.k8s.io/kustomize/kyaml/filesys"
	"sigs.k8s.io/yaml"
)

// chartManifests is the file, beside the kustomization, with the manifests that
// the chart has rendered. It is added to the resources of the kustomization.
const chartManifests = "fleet-manifests.yaml"

// kustomizeLock lets one kustomization run at a time: the schema that kustomize
// consults is a variable of its package that every run resets.
//
//nolint:gochecknoglobals // guards a global of another package
var kustomizeLock sync.Mutex

// kustomization is a kustomization of the bundle.
type kustomization struct {
	files  *tree
	path   string
	limits Limits
}

// build runs the kustomization; rendered are the objects of the chart that it
// works on, nil when there is no chart. Errors are *Error.
func (k *kustomization) build(rendered []object) ([]object, error) {
	if err := checkReferences(k.files, path.Dir(k.path)); err != nil {
		return nil, err
	}
	fs, err := k.filesystem()
	if err != nil {
		return nil, err
	}
	if len(rendered) > 0 {
		if err := k.addManifests(fs, rendered); err != nil {
			return nil, err
		}
	}
	manifests, err := k.run(fs)
	if err != nil {
		return nil, &Error{File: k.path, Message: "running kustomize: " + describeKustomize(err), Err: err}
	}
	if int64(len(manifests)) > k.limits.RenderedBytes {
		return nil, fileErrorf(k.path, "the manifests exceed %d bytes", k.limits.RenderedBytes)
	}
	objects, err := objectsOf(k.path, manifests, lenient)
	if err != nil {
		return nil, err
	}
	for i := range objects {
		objects[i].line = 0 // a line of what was rendered says nothing
	}
	return objects, nil
}

// run runs kustomize in memory, with nothing but its own generators and
// transformers. Some of its faults are panics.
func (k *kustomization) run(fs filesys.FileSystem) (manifests []byte, err error) {
	kustomizeLock.Lock()
	defer kustomizeLock.Unlock()
	defer func() {
		if fault := recover(); fault != nil {
			err = fmt.Errorf("kustomize failed: %v", fault)
		}
	}()
	options := krusty.MakeDefaultOptions()
	options.LoadRestrictions = types.LoadRestrictionsRootOnly
	options.PluginConfig = types.DisabledPluginConfig()
	var result resmap.ResMap
	result, err = krusty.MakeKustomizer(options).Run(fs, path.Join("/", path.Dir(k.path)))
	if err != nil {
		return nil, err
	}
	return result.AsYaml()
}

// filesystem returns the files of the bundle as kustomize reads them.
func (k *kustomization) filesystem() (filesys.FileSystem, error) {
	fs := filesys.MakeFsInMemory()
	for _, name := range k.files.paths {
		data := k.files.content[name]
		if err := checkAliases(name, data); err != nil {
			return nil, err
		}
		// Names that kustomize does not take can be in no kustomization, but may well be in the bundle.
		if !kustomizeNames.MatchString(name) {
			continue
		}
		if err := fs.WriteFile(path.Join("/", name), data); err != nil {
			return nil, &Error{File: name, Message: "kustomize does not take this path", Err: err}
		}
	}
	return fs, nil
}

// kustomizeNames matches the paths that kustomize's memory holds.
var kustomizeNames = regexp.MustCompile(`^[a-zA-Z0-9-_.:/]+$`)

// addManifests puts the objects of the chart beside the kustomization and lists
// the file in its resources, unless the author has done so.
func (k *kustomization) addManifests(fs filesys.FileSystem, rendered []object) error {
	file := path.Join(path.Dir(k.path), chartManifests)
	if k.files.has(file) {
		return fileErrorf(file, "the name is reserved for the manifests of the chart")
	}
	var manifests bytes.Buffer
	for _, o := range rendered {
		data, err := yaml.Marshal(o.Object)
		if err != nil {
			return o.errorf("the object cannot be written as YAML")
		}
		manifests.WriteString("---\n")
		manifests.Write(data)
	}
	content := map[string]any{}
	if err := yaml.Unmarshal(k.files.content[k.path], &content); err != nil {
		line, message := describeYAML(err)
		return &Error{File: k.path, Line: line, Message: message, Err: err}
	}
	resources, _ := content["resources"].([]any)
	if !slices.Contains(resources, any(chartManifests)) {
		content["resources"] = append(resources, chartManifests)
	}
	changed, err := yaml.Marshal(content)
	if err != nil {
		return &Error{File: k.path, Message: "the kustomization cannot be written as YAML", Err: err}
	}
	if err := fs.WriteFile(path.Join("/", file), manifests.Bytes()); err != nil {
		return &Error{File: file, Message: "kustomize does not take this path", Err: err}
	}
	if err := fs.WriteFile(path.Join("/", k.path), changed); err != nil {
		return &Error{File: k.path, Message: "kustomize does not take this path", Err: err}
	}
	return nil
}

// quotedContent matches what kustomize quotes of files and patches: between back
// quotes, as a patch, over several lines, or as a mapping.
var quotedContent = regexp.MustCompile("(?s)`[^`]*`|\\[patch: \"(?:[^\"\\\\]|\\\\.)*\"\\]|\\[[^\\]\n]*\n.*?\\]|\\{.*\\}")

// longestMessage keeps the chain of causes that kustomize returns readable.
const longestMessage = 600

// describeKustomize shortens an error of kustomize to what it says about paths and objects.
func describeKustomize(err error) string {
	text := quotedContent.ReplaceAllString(err.Error(), "…")
	text = strings.Join(strings.Fields(text), " ")
	if len(text) > longestMessage {
		text = strings.ToValidUTF8(text[:longestMessage], "") + "…"
	}
	return text
}
