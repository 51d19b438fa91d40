package bundle_test

import (
	"bytes"
	"compress/gzip"
	"errors"
	"io"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	fleet "github.com/flotilla-gitops/flotilla/pkg/apis/fleet.cattle.io/v1alpha1"
	"github.com/flotilla-gitops/flotilla/pkg/bundle"
)

const mebibyte = 1 << 20

// The names and digests here are those of Fleet: other programs depend on them.
func TestEncode(t *testing.T) {
	tests := []struct {
		name      string
		resources []fleet.BundleResource
		raw       string
		content   string
		sha256    string
	}{
		{
			name:      "one file",
			resources: []fleet.BundleResource{{Name: "a.yaml", Content: "x: 1\n"}},
			raw:       "{\"resources\":[{\"name\":\"a.yaml\",\"content\":\"x: 1\\n\"}]}\n",
			content:   "s-20cc81bbcc13f766848bdc5027b5740c7824ae6051d5295c337e8e6804cf4",
			sha256:    "20cc81bbcc13f766848bdc5027b5740c7824ae6051d5295c337e8e6804cf4b91",
		},
		{
			name:      "HTML characters are escaped",
			resources: []fleet.BundleResource{{Name: "a.yaml", Content: "x: <&>\n"}},
			raw:       "{\"resources\":[{\"name\":\"a.yaml\",\"content\":\"x: \\u003c\\u0026\\u003e\\n\"}]}\n",
			content:   "s-3f7e368ce7e626f3e3009e888c9653f56df3451bdf1e857db33496147080b",
			sha256:    "3f7e368ce7e626f3e3009e888c9653f56df3451bdf1e857db33496147080bc80",
		},
		{
			name:      "two files",
			resources: []fleet.BundleResource{{Name: "a.yaml", Content: "x: 1\n"}, {Name: "b/c.yaml", Content: "y: 2\n"}},
			raw:       "{\"resources\":[{\"name\":\"a.yaml\",\"content\":\"x: 1\\n\"},{\"name\":\"b/c.yaml\",\"content\":\"y: 2\\n\"}]}\n",
			content:   "s-de9090a4a7bd9f7eaf6b27b040b19575e89113c30ecee6b75b7f8f97968a1",
			sha256:    "de9090a4a7bd9f7eaf6b27b040b19575e89113c30ecee6b75b7f8f97968a1f0b",
		},
		{
			name:      "a binary file",
			resources: []fleet.BundleResource{{Name: "bin", Encoding: "base64+gz", Content: "H4sIAAAAAAAA/8rPBgQAAP//0pLiMgIAAAA="}},
			raw:       "{\"resources\":[{\"name\":\"bin\",\"content\":\"H4sIAAAAAAAA/8rPBgQAAP//0pLiMgIAAAA=\",\"encoding\":\"base64+gz\"}]}\n",
			content:   "s-a8d4cdb5b30535bc713c8d7125a3057aebd5a5c98d92304053ac4e55fcc9c",
			sha256:    "a8d4cdb5b30535bc713c8d7125a3057aebd5a5c98d92304053ac4e55fcc9c3f4",
		},
		{
			name:    "no files",
			raw:     "{}\n",
			content: "s-ca3d163bab055381827226140568f3bef7eaac187cebd76878e0b63e9e442",
			sha256:  "ca3d163bab055381827226140568f3bef7eaac187cebd76878e0b63e9e442356",
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got, err := bundle.Encode(tt.resources)
			if err != nil {
				t.Fatal(err)
			}
			if got.Name != tt.content || got.SHA256 != tt.sha256 {
				t.Errorf("Encode() = %s, %s; want %s, %s", got.Name, got.SHA256, tt.content, tt.sha256)
			}
			if raw := gunzip(t, got.Data); raw != tt.raw {
				t.Errorf("JSON = %q, want %q", raw, tt.raw)
			}
			back, err := bundle.Decode(got.Data, mebibyte)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(tt.resources, back); diff != "" {
				t.Errorf("Decode() differs (-want +got):\n%s", diff)
			}
		})
	}
}

func TestEncodeIsDeterministic(t *testing.T) {
	resources := []fleet.BundleResource{{Name: "a", Content: strings.Repeat("text ", 1000)}, {Name: "b"}}
	first, err := bundle.Encode(resources)
	if err != nil {
		t.Fatal(err)
	}
	second, err := bundle.Encode(resources)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(first, second); diff != "" {
		t.Errorf("two encodings differ:\n%s", diff)
	}
}

func TestDecodeStopsAtItsLimit(t *testing.T) {
	bomb, err := bundle.Encode([]fleet.BundleResource{{Name: "zeros", Content: strings.Repeat("0", 8*mebibyte)}})
	if err != nil {
		t.Fatal(err)
	}
	if len(bomb.Data) > mebibyte/32 {
		t.Fatalf("the bomb has %d bytes: it does not test much", len(bomb.Data))
	}
	if _, err := bundle.Decode(bomb.Data, mebibyte); !errors.Is(err, bundle.ErrTooLarge) {
		t.Errorf("Decode() error = %v, want ErrTooLarge", err)
	}

	small, err := bundle.Encode([]fleet.BundleResource{{Name: "a", Content: "b"}})
	if err != nil {
		t.Fatal(err)
	}
	exact := int64(len(gunzip(t, small.Data)))
	if _, err := bundle.Decode(small.Data, exact); err != nil {
		t.Errorf("Decode() of exactly as much as is allowed: %v", err)
	}
	if _, err := bundle.Decode(small.Data, exact-1); !errors.Is(err, bundle.ErrTooLarge) {
		t.Errorf("Decode() of one byte too many: %v, want ErrTooLarge", err)
	}
}

func TestDecodeOfRubbish(t *testing.T) {
	whole, err := bundle.Encode([]fleet.BundleResource{{Name: "a", Content: strings.Repeat("b", 100)}})
	if err != nil {
		t.Fatal(err)
	}
	for name, data := range map[string][]byte{
		"nothing":        nil,
		"not gzip":       []byte("{}"),
		"cut off":        whole.Data[:len(whole.Data)-9],
		"not JSON":       zipped(t, "s3cret"),
		"of other shape": zipped(t, `{"resources":"s3cret"}`),
	} {
		_, err := bundle.Decode(data, mebibyte)
		if err == nil {
			t.Errorf("%s: no error", name)
			continue
		}
		if strings.Contains(err.Error(), "s3cret") {
			t.Errorf("%s: the error quotes the content: %v", name, err)
		}
	}
}

func TestOpenChecksWhatItReads(t *testing.T) {
	resources := []fleet.BundleResource{{Name: "a.yaml", Content: "x: 1\n"}}
	encoded, err := bundle.Encode(resources)
	if err != nil {
		t.Fatal(err)
	}
	other, err := bundle.Encode([]fleet.BundleResource{{Name: "a.yaml", Content: "x: 2\n"}})
	if err != nil {
		t.Fatal(err)
	}
	object := func(name, sum string, data []byte) *fleet.Content {
		return &fleet.Content{ObjectMeta: metav1.ObjectMeta{Name: name}, SHA256Sum: sum, Content: data}
	}
	got, err := bundle.Open(object(encoded.Name, encoded.SHA256, encoded.Data), mebibyte)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(resources, got); diff != "" {
		t.Errorf("Open() differs (-want +got):\n%s", diff)
	}
	for name, content := range map[string]*fleet.Content{
		"other data":            object(encoded.Name, encoded.SHA256, other.Data),
		"other data and digest": object(encoded.Name, other.SHA256, other.Data),
		"other name":            object(other.Name, encoded.SHA256, encoded.Data),
		"no digest":             object(encoded.Name, "", encoded.Data),
	} {
		if _, err := bundle.Open(content, mebibyte); !errors.Is(err, bundle.ErrDigest) {
			t.Errorf("%s: Open() error = %v, want ErrDigest", name, err)
		}
	}
	if _, err := bundle.Open(object(encoded.Name, encoded.SHA256, encoded.Data), 3); !errors.Is(err, bundle.ErrTooLarge) {
		t.Errorf("Open() beyond its limit: %v, want ErrTooLarge", err)
	}
}

func FuzzDecode(f *testing.F) {
	for _, raw := range []string{"{}\n", `{"resources":[{"name":"a","content":"b"}]}`, "[", `{"resources":null}`} {
		f.Add(zipped(f, raw))
	}
	f.Add([]byte("no gzip"))
	f.Fuzz(func(t *testing.T, data []byte) {
		resources, err := bundle.Decode(data, 1<<16)
		if err != nil {
			return
		}
		again, err := bundle.Encode(resources)
		if err != nil {
			t.Fatalf("what was decoded cannot be encoded: %v", err)
		}
		back, err := bundle.Decode(again.Data, 1<<20)
		if err != nil {
			t.Fatalf("what was encoded cannot be decoded: %v", err)
		}
		if len(back) != len(resources) {
			t.Fatalf("%d resources became %d", len(resources), len(back))
		}
	})
}

func gunzip(t testing.TB, data []byte) string {
	t.Helper()
	zip, err := gzip.NewReader(bytes.NewReader(data))
	if err != nil {
		t.Fatal(err)
	}
	raw, err := io.ReadAll(zip)
	if err != nil {
		t.Fatal(err)
	}
	return string(raw)
}

func zipped(t testing.TB, raw string) []byte {
	t.Helper()
	var buf bytes.Buffer
	zip := gzip.NewWriter(&buf)
	if _, err := zip.Write([]byte(raw)); err != nil {
		t.Fatal(err)
	}
	if err := zip.Close(); err != nil {
		t.Fatal(err)
	}
	return buf.Bytes()
}
