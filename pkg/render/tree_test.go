package render

import (
	"bytes"
	"compress/gzip"
	"encoding/base64"
	"strings"
	"testing"

	fleet "github.com/flotilla-gitops/flotilla/pkg/apis/fleet.cattle.io/v1alpha1"
)

func compressed(t *testing.T, data []byte) string {
	t.Helper()
	var buffer bytes.Buffer
	w := gzip.NewWriter(&buffer)
	if _, err := w.Write(data); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return base64.StdEncoding.EncodeToString(buffer.Bytes())
}

func TestDecodeTree(t *testing.T) {
	got, err := decodeTree([]fleet.BundleResource{
		{Name: "./b//plain.yaml", Content: "\xef\xbb\xbfkind: X"},
		{Name: "a.bin", Content: compressed(t, []byte{0xff, 0x00}), Encoding: "base64+gz"},
		{Content: "kind: Y"},
	}, 100)
	if err != nil {
		t.Fatal(err)
	}
	want := map[string]string{
		"a.bin":                  "\xff\x00",
		"b/plain.yaml":           "kind: X", // without the byte order mark
		"manifests/file002.yaml": "kind: Y",
	}
	if strings.Join(got.paths, " ") != "a.bin b/plain.yaml manifests/file002.yaml" {
		t.Errorf("paths are %v", got.paths)
	}
	for name, content := range want {
		if string(got.content[name]) != content {
			t.Errorf("%s is %q, want %q", name, got.content[name], content)
		}
	}
	for dir, want := range map[string]bool{".": true, "b": true, "manifests": true, "a.bin": false, "man": false, "c": false} {
		if got.isDir(dir) != want {
			t.Errorf("isDir(%q) is %v", dir, !want)
		}
	}
}

func TestDecodeTreeRefuses(t *testing.T) {
	bomb := compressed(t, make([]byte, 10<<20))
	for name, test := range map[string]struct {
		resources []fleet.BundleResource
		want      string
	}{
		"a path out of the bundle":   {[]fleet.BundleResource{{Name: "a/../../b"}}, "a/../../b: the path leads out of the bundle"},
		"an absolute path":           {[]fleet.BundleResource{{Name: "/etc/passwd"}}, "leads out of the bundle"},
		"the bundle's folder itself": {[]fleet.BundleResource{{Name: "a/.."}}, "leads out of the bundle"},
		"two files of a path":        {[]fleet.BundleResource{{Name: "a"}, {Name: "./a"}}, "a: the bundle holds two files of this path"},
		"an unknown encoding":        {[]fleet.BundleResource{{Name: "a", Encoding: "rot13"}}, `a: the encoding "rot13" is not known`},
		"no base64":                  {[]fleet.BundleResource{{Name: "a", Encoding: "base64+gz", Content: "%%%"}}, "a: the content is not base64-encoded gzip"},
		"no gzip":                    {[]fleet.BundleResource{{Name: "a", Encoding: "base64+gz", Content: "aGVsbG8="}}, "a: the content is not base64-encoded gzip"},
		"half of a gzip":             {[]fleet.BundleResource{{Name: "a", Encoding: "base64+gz", Content: bomb[:len(bomb)/2]}}, "a: "},
		"one bomb":                   {[]fleet.BundleResource{{Name: "a", Encoding: "base64+gz", Content: bomb}}, "a: the files of the bundle exceed 1000 bytes"},
		"many small files": {[]fleet.BundleResource{
			{Name: "a", Content: strings.Repeat("x", 600)}, {Name: "b", Content: strings.Repeat("x", 600)},
		}, "b: the files of the bundle exceed 1000 bytes"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := decodeTree(test.resources, 1000)
			wantError(t, err, test.want)
		})
	}
}
