package render

import (
	"crypto/sha256"
	"encoding/hex"
	"testing"

	fleet "github.com/flotilla-gitops/flotilla/pkg/apis/fleet.cattle.io/v1alpha1"
)

func downloaded(chart, repo, version string) string {
	sum := sha256.Sum256([]byte(chart + ":" + repo + ":" + version))
	return ".chart/" + hex.EncodeToString(sum[:])
}

func TestFindLayout(t *testing.T) {
	archive := fleet.HelmOptions{Chart: "https://example.org/app-1.0.tgz"}
	remote := fleet.HelmOptions{Chart: "app", Repo: "https://example.org", Version: "1.x"}
	archiveDir := downloaded(archive.Chart, "", "")
	for name, test := range map[string]struct {
		files     files
		helm      *fleet.HelmOptions
		kustomize *fleet.KustomizeOptions
		want      layout
	}{
		"nothing but manifests":       {files: files{"a.yaml": ""}},
		"a chart at the root":         {files: files{"Chart.yaml": ""}, want: layout{chart: "."}},
		"a chart below is none of it": {files: files{"sub/Chart.yaml": ""}},
		"a chart in a named folder":   {files: files{"sub/Chart.yaml": ""}, helm: &fleet.HelmOptions{Chart: "./sub/"}, want: layout{chart: "sub"}},
		"the named one before the root's": {
			files: files{"Chart.yaml": "", "sub/Chart.yaml": ""}, helm: &fleet.HelmOptions{Chart: "sub"}, want: layout{chart: "sub"},
		},
		"the root, named":             {files: files{"Chart.yaml": ""}, helm: &fleet.HelmOptions{Chart: "."}, want: layout{chart: "."}},
		"options without a chart":     {files: files{"Chart.yaml": ""}, helm: &fleet.HelmOptions{ReleaseName: "x"}, want: layout{chart: "."}},
		"a download":                  {files: files{archiveDir + "/Chart.yaml": ""}, helm: &archive, want: layout{chart: archiveDir}},
		"a download, a folder deeper": {files: files{archiveDir + "/app/Chart.yaml": ""}, helm: &archive, want: layout{chart: archiveDir + "/app"}},
		"subcharts do not count": {
			files: files{archiveDir + "/app/Chart.yaml": "", archiveDir + "/app/charts/b/Chart.yaml": ""},
			helm:  &archive, want: layout{chart: archiveDir + "/app"},
		},
		"of several downloads, that of the options": {
			files: files{
				downloaded("app", "https://example.org", "1.x") + "/app/Chart.yaml": "",
				downloaded("app", "https://example.org", "2.x") + "/app/Chart.yaml": "",
			},
			helm: &remote, want: layout{chart: downloaded("app", "https://example.org", "1.x") + "/app"},
		},
		"a kustomization":          {files: files{"kustomization.yaml": ""}, want: layout{kustomization: "kustomization.yaml"}},
		"its second name":          {files: files{"kustomization.yml": ""}, want: layout{kustomization: "kustomization.yml"}},
		"its third name":           {files: files{"Kustomization": ""}, want: layout{kustomization: "Kustomization"}},
		"one below is none of it":  {files: files{"a/kustomization.yaml": ""}},
		"an empty dir is the root": {files: files{"a.yaml": ""}, kustomize: &fleet.KustomizeOptions{}},
		"one in a named folder": {
			files: files{"a/kustomization.yaml": "", "kustomization.yaml": ""}, kustomize: &fleet.KustomizeOptions{Dir: "./a/"},
			want: layout{kustomization: "a/kustomization.yaml"},
		},
		"both": {
			files: files{"Chart.yaml": "", "a/kustomization.yaml": ""}, kustomize: &fleet.KustomizeOptions{Dir: "a"},
			want: layout{chart: ".", kustomization: "a/kustomization.yaml"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := findLayout(treeOf(t, test.files), &fleet.BundleDeploymentOptions{Helm: test.helm, Kustomize: test.kustomize})
			if err != nil || got != test.want {
				t.Errorf("got %+v, %v; want %+v", got, err, test.want)
			}
		})
	}
}

func TestFindLayoutRefuses(t *testing.T) {
	archive := downloaded("https://user:pw@example.org/a.tgz?token=pw", "", "")
	for name, test := range map[string]struct {
		files   files
		options fleet.BundleDeploymentOptions
		want    string
	}{
		"a folder without a kustomization": {
			files:   files{"kustomization.yaml": "", "dev/a.yaml": ""},
			options: fleet.BundleDeploymentOptions{Kustomize: &fleet.KustomizeOptions{Dir: "dev"}},
			want:    "kustomize.dir dev holds no kustomization.yaml, kustomization.yml, Kustomization",
		},
		"a folder above the bundle": {
			options: fleet.BundleDeploymentOptions{Kustomize: &fleet.KustomizeOptions{Dir: "../dev"}},
			want:    "kustomize.dir ../dev leads out of the bundle",
		},
		"two kustomizations in a folder": {
			files: files{"kustomization.yaml": "", "Kustomization": ""},
			want:  "Kustomization: the folder has another kustomization: kustomization.yaml",
		},
		"a chart that is nowhere": {
			files:   files{"Chart.yaml": ""},
			options: fleet.BundleDeploymentOptions{Helm: &fleet.HelmOptions{Chart: "missing"}},
			want:    "the chart missing is not in the bundle",
		},
		"several charts in a download": {
			files:   files{archive + "/a/Chart.yaml": "", archive + "/b/Chart.yaml": ""},
			options: fleet.BundleDeploymentOptions{Helm: &fleet.HelmOptions{Chart: "https://user:pw@example.org/a.tgz?token=pw"}},
			want:    "the download of https://example.org/a.tgz holds several charts: a and b",
		},
		"a repository and no download": {
			options: fleet.BundleDeploymentOptions{Helm: &fleet.HelmOptions{Chart: "app", Repo: "https://user:pw@example.org/x"}},
			want:    "the chart app of https://example.org/x is not in the bundle",
		},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := findLayout(treeOf(t, test.files), &test.options)
			wantError(t, err, test.want)
		})
	}
}
