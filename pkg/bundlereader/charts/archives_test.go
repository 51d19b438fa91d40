package charts

import (
	"archive/tar"
	"archive/zip"
	"bytes"
	"compress/gzip"
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"encoding/hex"
	"hash/crc32"
	"io"
	"maps"
	"runtime"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/klauspost/compress/zstd"
	"github.com/ulikunitz/xz"
)

func tarOf(t testing.TB, headers []tar.Header, content func(string) []byte) []byte {
	t.Helper()
	var out bytes.Buffer
	w := tar.NewWriter(&out)
	for _, h := range headers {
		data := []byte(nil)
		if h.Typeflag == 0 || h.Typeflag == tar.TypeReg {
			data = content(h.Name)
		}
		h.Mode, h.Size = 0o644, int64(len(data))
		if err := w.WriteHeader(&h); err != nil {
			t.Fatal(err)
		}
		if _, err := w.Write(data); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

func zipOf(t testing.TB, files map[string]string) []byte {
	t.Helper()
	var out bytes.Buffer
	w := zip.NewWriter(&out)
	for _, name := range slices.Sorted(maps.Keys(files)) {
		f, err := w.Create(name)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := io.WriteString(f, files[name]); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

// repacked packs a tar in another way.
func repacked(t testing.TB, data []byte, writer func(io.Writer) (io.WriteCloser, error)) []byte {
	t.Helper()
	var out bytes.Buffer
	w, err := writer(&out)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := w.Write(data); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

func xzOf(w io.Writer) (io.WriteCloser, error)   { return xz.NewWriter(w) }
func zstdOf(w io.Writer) (io.WriteCloser, error) { return zstd.NewWriter(w) }
func gzipOf(w io.Writer) (io.WriteCloser, error) { return gzip.NewWriter(w), nil }

// source is a repository as hosts pack it: below a folder of its own, with a
// chart somewhere.
func source() map[string]string {
	return map[string]string{
		"r-1.0/README.md": "x", "r-1.0/charts/web/Chart.yaml": "apiVersion: v2\nname: web\nversion: 1.0.0\n",
		"r-1.0/charts/web/values.yaml": "version: 1.0.0\n", "r-1.0/charts/web/templates/a.yaml": "a: 1\n",
		"r-1.0/charts/db/Chart.yaml": "apiVersion: v2\nname: db\nversion: 1.0.0\n",
	}
}

// bzip2Source is a tar of the same, which Go can read, but not write, in the form of bzip2.
const bzip2Source = "QlpoOTFBWSZTWQiNVGsAATTfgsuQQAP/kK8CMQB+Z9/gAwAISDABGFA1NKaGE0YAjEYAaACYYDQGgAA00GgGgDQJIkaTKek2SYnim0mTIAZPU9TamXoHHOiAyGJ0wIbB4oSRJor0w+kO" +
	"jsES7JW11IgicRQyQDiGYFFtZyJEWAUolUQL+X3zJyMGBnGViIIr0DoFckZ0OIFv4U8d8UI72CYvpDciAbvw1XMcLXbuRATxoi8tNKHzTdlX8DIIEm1OD0VHrKAut4OYH/urDYDoJDDE" +
	"GR6QREJw6Xu5iGalczGHQwDE90Tg93swu3FH6WIkJmRhb165UIiJioMEaUMVI2RgFuSLSWs2wgn1BUkB/i7kinChIBEaqNY="

func fromBase64(t testing.TB, text string) []byte {
	t.Helper()
	data, err := base64.StdEncoding.DecodeString(text)
	if err != nil {
		t.Fatal(err)
	}
	return data
}

func TestArchives(t *testing.T) {
	files := source()
	var headers []tar.Header
	for _, name := range slices.Sorted(maps.Keys(files)) {
		headers = append(headers, tar.Header{Name: name})
	}
	headers = append(headers, tar.Header{Name: "r-1.0/link", Typeflag: tar.TypeSymlink, Linkname: "/etc/passwd"})
	plain := tarOf(t, headers, func(name string) []byte { return []byte(files[name]) })
	s := newServer(t)
	s.serve("/a.tar", plain)
	s.serve("/a.tar.gz", repacked(t, plain, gzipOf))
	s.serve("/a.tar.bz2", fromBase64(t, bzip2Source))
	s.serve("/a.tar.xz", repacked(t, plain, xzOf))
	s.serve("/a.tar.zst", repacked(t, plain, zstdOf))
	s.serve("/a.zip", zipOf(t, files))
	s.serve("/download", repacked(t, plain, zstdOf))
	want := []string{"web/Chart.yaml", "web/templates/a.yaml", "web/values.yaml"}
	for _, name := range []string{"/a.tar", "/a.tar.gz", "/a.tar.bz2", "/a.tar.xz", "/a.tar.zst", "/a.zip", "/download"} {
		for _, folder := range []string{"//r-1.0/charts/web", "//*/charts/web", "//*/*/w*"} {
			got, err := newSource(t).Fetch(context.Background(), ref{Chart: s.URL + name + folder})
			if err != nil {
				t.Errorf("%s%s: %v", name, folder, err)
				continue
			}
			if diff := cmp.Diff(want, slices.Sorted(maps.Keys(got))); diff != "" {
				t.Errorf("%s%s (-want +got)\n%s", name, folder, diff)
			}
		}
	}
	zipped := sha256.Sum256(zipOf(t, files))
	sum := hex.EncodeToString(zipped[:])
	checked := newSource(t)
	for range 2 {
		version(t, checked, ref{Chart: s.URL + "/a.zip//r-1.0/charts/web?checksum=sha256:" + sum})
	}
	for address, says := range map[string]string{
		"/a.zip//*/charts/web?checksum=sha256:" + strings.Repeat("0", 64): "its sha256 is " + sum,
		"/a.zip":                  "holds no Chart.yaml at its top",
		"/a.zip//r-1.0":           "its folder r-1.0 holds no Chart.yaml",
		"/a.zip//r-1.0/charts":    "holds several charts, such as r-1.0/charts/db and r-1.0/charts/web",
		"/a.zip//*/charts/*":      "holds several charts",
		"/a.zip//*/charts/nobody": "holds no Chart.yaml",
	} {
		wantError(t, newSource(t), ref{Chart: s.URL + address}, says)
	}
}

func TestHostileArchivesOfOtherForms(t *testing.T) {
	chart := "apiVersion: v2\nname: web\nversion: 1.0.0\n"
	of := func(headers ...tar.Header) []byte {
		return tarOf(t, append([]tar.Header{{Name: "web/Chart.yaml"}}, headers...), func(name string) []byte {
			if strings.HasSuffix(name, "Chart.yaml") {
				return []byte(chart)
			}
			return []byte("x")
		})
	}
	const limit = 1 << 20
	bomb := func(writer func(io.Writer) (io.WriteCloser, error)) []byte {
		return repacked(t, tarOf(t, []tar.Header{{Name: "web/Chart.yaml"}, {Name: "web/x"}}, func(name string) []byte {
			if name == "web/x" {
				return make([]byte, limit+1)
			}
			return []byte(chart)
		}), writer)
	}
	for name, tc := range map[string]struct {
		data []byte
		says string
	}{
		"no archive":         {[]byte("hello"), "not an archive"},
		"nothing":            {nil, "not an archive"},
		"cut off":            {repacked(t, of(), zstdOf)[:40], "damaged"},
		"half a zip":         {zipOf(t, map[string]string{"web/Chart.yaml": chart})[:60], "damaged"},
		"a path that climbs": {of(tar.Header{Name: "web/../../x"}), "leads out"},
		"an absolute path":   {of(tar.Header{Name: "/etc/x"}), "leads out"},
		"a Windows path":     {of(tar.Header{Name: `web\..\..\x`}), "leads out"},
		"a path in a zip":    {zipOf(t, map[string]string{"web/Chart.yaml": chart, "../x": "x"}), "leads out"},
		"a symbolic link":    {of(tar.Header{Name: "web/x", Typeflag: tar.TypeSymlink, Linkname: "/etc/passwd"}), "its file x is a link"},
		"a hard link":        {of(tar.Header{Name: "web/x", Typeflag: tar.TypeLink, Linkname: "/etc/passwd"}), "its file x is a link"},
		"a device":           {of(tar.Header{Name: "web/x", Typeflag: tar.TypeBlock}), "its file x is a link"},
		"a file twice":       {of(tar.Header{Name: "web/x"}, tar.Header{Name: "web/./x"}), `two files "web/x"`},
		"a name that climbs": {tarOf(t, []tar.Header{{Name: "web/Chart.yaml"}}, func(string) []byte { return []byte("name: ../x\nversion: 1.0.0\n") }), "no valid name"},
		"a bomb in zstd":     {bomb(zstdOf), "unpacks to more than"},
		"a bomb in xz":       {bomb(xzOf), "unpacks to more than"},
		"a bomb in a zip":    {zipOf(t, map[string]string{"web/Chart.yaml": chart, "web/x": string(make([]byte, limit+1))}), "unpacks to more than"},
	} {
		t.Run(name, func(t *testing.T) {
			u, err := unpackAny(tc.data, limit)
			if err == nil {
				_, err = u.chartIn(".")
			}
			if err == nil || !strings.Contains(err.Error(), tc.says) {
				t.Errorf("got %v, want an error that says %q", err, tc.says)
			}
		})
	}
	// Through the front door the limit is higher, and the error names the address.
	s := newServer(t)
	s.serve("/a", zipOf(t, map[string]string{"web/Chart.yaml": chart, "web/x": string(make([]byte, maxUnpackedBytes+1))}))
	wantError(t, newSource(t), ref{Chart: s.URL + "/a"}, s.URL+"/a", "unpacks to more than 67108864 bytes")
}

func TestManyFilesInAnArchive(t *testing.T) {
	headers := make([]tar.Header, maxUnpackedFiles+1)
	for i := range headers {
		headers[i].Name = "web/" + strings.Repeat("x", i%50+1) + "/" + hexDigest([]byte{byte(i), byte(i >> 8), byte(i >> 16)})
	}
	data := tarOf(t, headers, func(string) []byte { return nil })
	if _, err := unpackAny(data, maxUnpackedBytes); err == nil || !strings.Contains(err.Error(), "more than 20000 files") {
		t.Errorf("got %v", err)
	}
}

// wanting has an xz stream ask for a dictionary of almost 4 GiB.
func wanting(stream []byte) []byte {
	const header, dictionary = 12, 16 // of the first block: where it begins, and where it says how much memory it wants
	stream = bytes.Clone(stream)
	end := header + (int(stream[header])+1)*4 - crc32.Size
	stream[dictionary] = 40
	binary.LittleEndian.PutUint32(stream[end:], crc32.ChecksumIEEE(stream[header:end]))
	return stream
}

// What is small on the wire gets no memory for asking.
func TestArchivesThatWantMuchMemory(t *testing.T) {
	plain := tarOf(t, []tar.Header{{Name: "web/Chart.yaml"}}, func(string) []byte { return []byte("name: web\n") })
	packed := repacked(t, plain, xzOf)
	list := &bytes.Buffer{}
	names := zip.NewWriter(list)
	for i := range maxUnpackedFiles + 1 {
		if _, err := names.Create(hexDigest(binary.BigEndian.AppendUint32(nil, uint32(i)))); err != nil {
			t.Fatal(err)
		}
	}
	if err := names.Close(); err != nil {
		t.Fatal(err)
	}
	for name, data := range map[string][]byte{
		"xz": wanting(packed), "a second stream of xz": append(bytes.Clone(packed), wanting(packed)...), "a list of files": list.Bytes(),
	} {
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		if u, err := unpackAny(data, maxUnpackedBytes); err == nil && !strings.Contains(name, "second") {
			t.Errorf("%s: it is unpacked: %d files", name, len(u.files))
		}
		runtime.ReadMemStats(&after)
		if took := after.TotalAlloc - before.TotalAlloc; took > 2*maxDictionary {
			t.Errorf("%s: it takes %d MiB", name, took>>20)
		}
	}
}

// bzip2Bomb is an archive of 117 bytes with one file of 8 MiB.
const bzip2Bomb = "QlpoOTFBWSZTWfo9Ka4BAWZfoMiAQAHlAAgAEAByRh6gEAAACCAAdQlNIgaNNA0NAVKiYTBAYTynvGskkIAs7EEQBlvpjO+GCCDAACBd8ZxGihjZ8U0EpQdJUeNEWlWtuuup" +
	"TelK18AiAP4u5IpwoSH0elNc"

// The fuzzed bytes are an archive: it unpacks to files inside, or is refused.
func FuzzUnpack(f *testing.F) {
	chart := map[string]string{"web/Chart.yaml": "apiVersion: v2\nname: web\nversion: 1.0.0\n"}
	plain := tarOf(f, []tar.Header{{Name: "web/Chart.yaml"}}, func(name string) []byte { return []byte(chart[name]) })
	f.Add(plain)
	f.Add(zipOf(f, chart))
	f.Add(repacked(f, plain, xzOf))
	f.Add(repacked(f, plain, zstdOf))
	f.Add(repacked(f, plain, gzipOf))
	f.Add(wanting(repacked(f, plain, xzOf)))
	f.Add(fromBase64(f, bzip2Bomb))
	f.Add([]byte("BZh9"))
	f.Fuzz(func(t *testing.T, data []byte) {
		u, err := unpackAny(data, 1<<20)
		if err != nil {
			return
		}
		for name := range u.files {
			if strings.HasPrefix(name, "/") || slices.Contains(strings.Split(name, "/"), "..") {
				t.Errorf("a file is called %q", name)
			}
		}
		if _, err := u.chartIn("."); err != nil && err.Error() == "" {
			t.Error("an error says nothing")
		}
	})
}

// The fuzzed bytes are the index of a repository.
func FuzzParseIndex(f *testing.F) {
	for _, seed := range []string{"apiVersion: v1\nentries: {web: [{version: 1.0.0, urls: [a.tgz]}]}", `{"entries":{"web":[null]}}`, "entries: {web: [{version: x, urls: ['']}]}", "a: &a [*a]", "\xff"} {
		f.Add([]byte(seed), "web", "1.x")
	}
	f.Fuzz(func(t *testing.T, data []byte, name, constraint string) {
		parsed, err := parseIndex(data)
		if err != nil {
			return
		}
		found, err := parsed.find("https://h/charts", name, constraint)
		if err == nil && !strings.HasPrefix(found.address, "http") {
			t.Errorf("an archive is at %q", found.address)
		}
	})
}
