package charts

import (
	"archive/tar"
	"archive/zip"
	"bytes"
	"compress/bzip2"
	"compress/gzip"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path"
	"slices"
	"strings"

	"github.com/klauspost/compress/zstd"
	"github.com/mikelolasagasti/xz"
	"helm.sh/helm/v3/pkg/chart"
	"sigs.k8s.io/yaml"
)

const (
	// maxUnpackedBytes and maxUnpackedFiles bound what an archive grows to.
	maxUnpackedBytes = 64 << 20
	maxUnpackedFiles = 20_000
	// maxDictionary bounds what a decompressor may take, in bytes.
	maxDictionary = 64 << 20
)

var errTooManyFiles = fmt.Errorf("it holds more than %d files", maxUnpackedFiles)

// unpacked is the content of an archive.
type unpacked struct {
	files map[string][]byte
	// links are paths that cannot be had: they may lead anywhere.
	links []string
	// limit is how many bytes the files may have together.
	limit, bytes int64
}

// unpackAny unpacks an archive of any form. The form is what the content says,
// whatever the address is called.
func unpackAny(data []byte, limit int64) (*unpacked, error) {
	u := &unpacked{files: map[string][]byte{}, limit: limit}
	if bytes.HasPrefix(data, []byte("PK\x03\x04")) {
		return u, u.zip(data)
	}
	stream, err := decompress(data)
	if err != nil {
		return nil, err
	}
	defer stream.Close()
	return u, u.tar(stream)
}

// decompress returns the tar inside.
func decompress(data []byte) (io.ReadCloser, error) {
	source := bytes.NewReader(data)
	starts := func(magic string) bool { return bytes.HasPrefix(data, []byte(magic)) }
	switch {
	case starts("\x1f\x8b"):
		return gzip.NewReader(source)
	case starts("BZh"):
		return io.NopCloser(bzip2.NewReader(source)), nil
	case starts("\xfd7zXZ\x00"):
		r, err := xz.NewReader(source, maxDictionary)
		if err != nil {
			return nil, err
		}
		return io.NopCloser(r), nil
	case starts("\x28\xb5\x2f\xfd"):
		r, err := zstd.NewReader(source, zstd.WithDecoderMaxWindow(maxDictionary), zstd.WithDecoderMaxMemory(maxDictionary), zstd.WithDecoderConcurrency(1))
		if err != nil {
			return nil, err
		}
		return r.IOReadCloser(), nil
	case len(data) > 262 && string(data[257:262]) == "ustar":
		return io.NopCloser(source), nil
	default:
		return nil, errors.New("it is not an archive: neither zip nor tar, plain or packed by gzip, bzip2, xz or zstd")
	}
}

func (u *unpacked) tar(stream io.Reader) error {
	r := tar.NewReader(io.LimitReader(stream, 2*u.limit+maxUnpackedFiles*1024))
	for {
		header, err := r.Next()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return errors.New("the archive is damaged, or unpacks to more than it may")
		}
		switch header.Typeflag {
		case tar.TypeReg:
			err = u.add(header.Name, r)
		case tar.TypeSymlink, tar.TypeLink, tar.TypeChar, tar.TypeBlock, tar.TypeFifo:
			err = u.refuse(header.Name)
		default: // folders, and notes of programs that pack
		}
		if err != nil {
			return err
		}
	}
}

func (u *unpacked) zip(data []byte) error {
	// The list of files is read as a whole, before there is anything to count.
	if bytes.Count(data, []byte("PK\x01\x02")) > maxUnpackedFiles {
		return errTooManyFiles
	}
	r, err := zip.NewReader(bytes.NewReader(data), int64(len(data)))
	if err != nil {
		return errors.New("the archive is damaged")
	}
	for _, file := range r.File {
		switch mode := file.Mode(); {
		case mode.IsDir():
		case !mode.IsRegular():
			err = u.refuse(file.Name)
		default:
			err = u.addZipped(file)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func (u *unpacked) addZipped(file *zip.File) error {
	content, err := file.Open()
	if err != nil {
		return errors.New("the archive is damaged")
	}
	defer content.Close()
	return u.add(file.Name, content)
}

// add reads a file of the archive.
func (u *unpacked) add(name string, content io.Reader) error {
	clean, err := u.place(name)
	if err != nil {
		return err
	}
	data, err := io.ReadAll(io.LimitReader(content, u.limit-u.bytes+1))
	if err != nil {
		return errors.New("the archive is damaged")
	}
	if u.bytes += int64(len(data)); u.bytes > u.limit {
		return fmt.Errorf("it unpacks to more than %d bytes", u.limit)
	}
	u.files[clean] = data
	return nil
}

func (u *unpacked) refuse(name string) error {
	clean, err := u.place(name)
	u.links = append(u.links, clean)
	return err
}

// place returns the path that a name stands for, if it is inside, and new.
func (u *unpacked) place(name string) (string, error) {
	clean := path.Clean(strings.ReplaceAll(name, `\`, "/"))
	if path.IsAbs(clean) || !fs.ValidPath(clean) || clean == "." {
		return "", errors.New("it holds a file with a path that leads out of it")
	}
	if _, twice := u.files[clean]; twice {
		return "", fmt.Errorf("it holds two files %q", clean)
	}
	if len(u.files)+len(u.links) >= maxUnpackedFiles {
		return "", errTooManyFiles
	}
	return clean, nil
}

// chartIn returns the chart in a folder of unpacked files, or one folder below,
// with paths that begin with its name. The folder may be a pattern, as long as
// it matches one folder.
func (u *unpacked) chartIn(folder string) (map[string][]byte, error) {
	root, err := findRoot(u.files, folder)
	if err != nil {
		return nil, err
	}
	for _, link := range u.links {
		if rest, ok := below(root, link); ok {
			return nil, fmt.Errorf("its file %s is a link, which is not followed", rest)
		}
	}
	return chartAt(u.files, root)
}

// findRoot finds the one folder with a Chart.yaml.
func findRoot(files map[string][]byte, folder string) (string, error) {
	var roots []string
	for _, pattern := range []string{folder, path.Join(folder, "*")} {
		for name := range files {
			if ok, _ := path.Match(pattern, path.Dir(name)); ok && path.Base(name) == chartFile {
				roots = append(roots, path.Dir(name))
			}
		}
		if len(roots) > 0 {
			break
		}
	}
	slices.Sort(roots)
	switch {
	case len(roots) == 0 && folder == ".":
		return "", errors.New("it holds no " + chartFile + " at its top; if the chart is further down, name its folder behind two slashes")
	case len(roots) == 0:
		return "", fmt.Errorf("its folder %s holds no %s", folder, chartFile)
	case len(roots) > 1:
		return "", fmt.Errorf("it holds several charts, such as %s and %s; name the folder of one of them behind two slashes", roots[0], roots[1])
	}
	return roots[0], nil
}

func below(dir, name string) (string, bool) {
	if dir == "." {
		return name, true
	}
	return strings.CutPrefix(name, dir+"/")
}

// chartAt returns the files of the chart in a folder.
func chartAt(files map[string][]byte, root string) (map[string][]byte, error) {
	metadata := &chart.Metadata{}
	if err := yaml.Unmarshal(files[path.Join(root, chartFile)], metadata); err != nil {
		return nil, errors.New("its " + chartFile + " cannot be parsed")
	}
	if err := checkName(metadata); err != nil {
		return nil, err
	}
	found := map[string][]byte{}
	for name, content := range files {
		if rest, ok := below(root, name); ok {
			found[path.Join(metadata.Name, rest)] = content
		}
	}
	return found, nil
}
