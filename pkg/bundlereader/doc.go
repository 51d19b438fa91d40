// Package bundlereader turns the files of one commit into Bundles.
//
// A folder becomes a bundle if it has a fleet.yaml, or if it is named by the
// paths of the GitRepo and holds manifests. Its files become the resources of
// the bundle, its fleet.yaml the options.
//
// What is wrong with a folder is a finding: it names file, line and field, and
// concerns that folder alone. An error concerns the bundle, which is then not
// made; a warning does not. Read itself fails only if the tree cannot be read
// at all, so an error of Read says nothing about which folders there are.
//
// The tree is not trusted. Symbolic links are followed inside the bundle's
// folder only; sizes, counts and depths are bounded; YAML is parsed by
// libraries that bound its aliases.
package bundlereader
