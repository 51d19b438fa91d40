package binaries

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"runtime"
	"strings"
)

// module is one of the build-only modules under dev/controlplane/build.
type module struct {
	// folder is the module's name below dev/controlplane/build.
	folder string
	// upstream is the module it takes the programs from; its version names the cache folder.
	upstream string
	programs []program
	// tags leave out what no test needs.
	tags string
	// versionVariables are the linker's names of variables that must hold the version, as it would be in a release.
	versionVariables func(version string) map[string]string
}

// program is one binary.
type program struct {
	name string
	pkg  string
}

// modules lists what is built, quick ones first, so that a reader of the progress sees early that it works.
func modules() []module {
	return []module{
		{
			folder: "etcd", upstream: "go.etcd.io/etcd/server/v3",
			programs: []program{{"etcd", "go.etcd.io/etcd/server/v3"}},
		},
		{
			folder: "kwok", upstream: kwokModule,
			programs: []program{{"kwok", kwokModule + "/cmd/kwok"}},
		},
		{
			folder: "kubernetes", upstream: "k8s.io/kubernetes",
			programs: []program{
				{"kube-apiserver", "k8s.io/kubernetes/cmd/kube-apiserver"},
				{"kube-controller-manager", "k8s.io/kubernetes/cmd/kube-controller-manager"},
				{"kube-scheduler", "k8s.io/kubernetes/cmd/kube-scheduler"},
			},
			versionVariables: kubernetesVersion,
		},
	}
}

// kubernetesVersion makes /version tell the truth: an unset version reads v0.0.0, which charts that ask for
// a minimum Kubernetes version refuse.
func kubernetesVersion(version string) map[string]string {
	const pkg = "k8s.io/component-base/version."
	parts := strings.SplitN(strings.TrimPrefix(version, "v"), ".", 3)
	return map[string]string{pkg + "gitVersion": version, pkg + "gitMajor": parts[0], pkg + "gitMinor": parts[1]}
}

// recipe is everything that decides what a module's binaries are.
type recipe struct {
	module
	// dir is where the module's go.mod is.
	dir     string
	version string
	flags   []string
	// key names the cache folder: the same key, the same binaries.
	key string
}

// read completes the module by what its folder below root says.
func (m module) read(root string) (recipe, error) {
	r := recipe{module: m, dir: filepath.Join(root, "dev", "controlplane", "build", m.folder)}
	hash := sha256.New()
	for _, name := range []string{"go.mod", "go.sum"} {
		data, err := os.ReadFile(filepath.Join(r.dir, name))
		if err != nil {
			return recipe{}, fmt.Errorf("reading build module: %w", err)
		}
		hash.Write(data)
		if name == "go.mod" {
			if r.version, err = requiredVersion(data, m.upstream); err != nil {
				return recipe{}, fmt.Errorf("reading %s: %w", filepath.Join(r.dir, name), err)
			}
		}
	}
	r.flags = m.flags(r.version)
	_, _ = fmt.Fprintln(hash, r.flags, runtime.GOOS, runtime.GOARCH)
	r.key = fmt.Sprintf("%s-%s-%s", m.folder, r.version, hex.EncodeToString(hash.Sum(nil))[:8])
	return r, nil
}

func requiredVersion(goMod []byte, path string) (string, error) {
	pattern := regexp.MustCompile(`(?m)^(?:require)?\s*` + regexp.QuoteMeta(path) + ` (v\d+\.\d+\.\S+)`)
	match := pattern.FindSubmatch(goMod)
	if match == nil {
		return "", fmt.Errorf("it does not require %s", path)
	}
	return string(match[1]), nil
}

func (m module) flags(version string) []string {
	link := "-s -w"
	if m.versionVariables != nil {
		variables := m.versionVariables(version)
		for _, name := range sortedKeys(variables) {
			link += " -X " + name + "=" + variables[name]
		}
	}
	flags := []string{"-trimpath", "-mod=readonly", "-buildvcs=false", "-ldflags", link}
	if m.tags != "" {
		flags = append(flags, "-tags", m.tags)
	}
	return flags
}
