package bundlereader

import (
	"bytes"
	"path"
	"strings"
)

// checkManifests reports manifests that do not parse, each with its line. Only
// what is deployed as it stands is checked: what a chart or a kustomization
// does with its files, is found out when they are rendered.
func (b *builder) checkManifests() {
	if !b.isPlain() {
		return
	}
	files := b.contents.files
	for _, name := range sortedNames(files) {
		if b.isDeployed(name) {
			line, message := parseManifest(files[name])
			if message != "" {
				b.report(Finding{Severity: Error, File: path.Join(b.folder.path, name), Line: line, Message: message})
			}
		}
	}
}

// isPlain says whether the bundle consists of plain manifests on every cluster.
func (b *builder) isPlain() bool {
	files := b.contents.files
	if _, isChart := files[chartFile]; isChart || len(b.namedCharts()) > 0 || b.contents.hasKustomization(".") {
		return false
	}
	spec := &b.bundle.Spec
	if k := spec.Kustomize; k != nil && k.Dir != "" {
		return false
	}
	for i := range spec.Targets {
		if k := spec.Targets[i].Kustomize; k != nil && k.Dir != "" {
			return false
		}
	}
	return true
}

// isDeployed says whether a file of a plain bundle is a YAML manifest. Files of
// nested bundles and charts are not, and those under templates are not yet.
func (b *builder) isDeployed(name string) bool {
	base := path.Base(name)
	if ext := path.Ext(name); ext != ".yaml" && ext != ".yml" || isOptions(base) {
		return false
	}
	for dir := path.Dir(name); dir != "."; dir = path.Dir(dir) {
		if path.Base(dir) == "templates" {
			return false
		}
		for _, marker := range []string{optionsName, optionsNameToo, chartFile} {
			if _, nested := b.contents.files[path.Join(dir, marker)]; nested {
				return false
			}
		}
	}
	return true
}

// parseManifest parses every document of a file. It returns the line of the
// first mistake and what it is, or nothing.
func parseManifest(content []byte) (line int, message string) {
	content = bytes.ReplaceAll(content, []byte("\r\n"), []byte("\n"))
	start, number := 0, 0
	var document []byte
	for text := range bytes.Lines(append(content, "\n---\n"...)) {
		number++
		marker := bytes.HasPrefix(text, []byte("---")) && (len(text) == 3 || strings.ContainsRune(" \t\n", rune(text[3])))
		if !marker {
			document = append(document, text...)
			continue
		}
		if _, err := toJSON(document); err != nil {
			return start + max(lineOf(document, err), 1), parserText(err)
		}
		// What stands behind the marker belongs to the document it begins.
		start, document = number-1, append([]byte("   "), text[3:]...)
	}
	return 0, ""
}
