package source

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"github.com/go-git/go-git/v5/plumbing"
	"github.com/go-git/go-git/v5/plumbing/format/idxfile"
	"github.com/go-git/go-git/v5/plumbing/format/packfile"
	"github.com/go-git/go-git/v5/plumbing/object"
	"github.com/go-git/go-git/v5/plumbing/storer"
)

// expansion is how many times its own size a pack may unpack to. Sources
// compress to a fifth; only an attack compresses to a thousandth.
const expansion = 16

// spooled is a pack that has arrived, has been measured and is known to be
// whole, but is not yet part of the mirror.
type spooled struct {
	file    *os.File
	bytes   int64
	objects int
	// thin says that objects in it may build on others that are not in it.
	thin bool
}

func (s *spooled) discard() {
	s.file.Close()
	os.Remove(s.file.Name())
}

// spool writes a pack to a file in dir while it measures it. It gives up at
// the first object that exceeds a limit, before that object takes any memory.
func spool(ctx context.Context, pack io.Reader, dir string, limits Limits) (*spooled, error) {
	file, err := os.CreateTemp(dir, tempPrefix+"pack-*")
	if err != nil {
		return nil, fmt.Errorf("writing the pack: %w", err)
	}
	s := &spooled{file: file}
	limited := &limitedReader{r: &contextReader{ctx: ctx, r: pack}, left: limits.MaxBytes, what: "pack"}
	err = s.measure(io.TeeReader(limited, file), limits)
	if limited.err != nil {
		err = limited.err
	}
	if err != nil {
		s.discard()
		return nil, err
	}
	return s, nil
}

// measure walks the pack once, holding none of it.
func (s *spooled) measure(pack io.Reader, limits Limits) error {
	scanner := packfile.NewScanner(pack)
	_, count, err := scanner.Header()
	if err != nil {
		return fmt.Errorf("reading the pack: %w", err)
	}
	if int64(count) > int64(limits.MaxObjects) {
		return fmt.Errorf("%w: %d objects, the limit is %d", errTooLarge, count, limits.MaxObjects)
	}
	s.objects = int(count)
	left := limits.MaxBytes * expansion
	for range count {
		kind, size, err := measureObject(scanner, limits.MaxObjectBytes)
		if err != nil {
			return err
		}
		s.thin = s.thin || kind == plumbing.REFDeltaObject
		if left -= size; left < 0 {
			return fmt.Errorf("%w: the pack unpacks to more than %d bytes", errTooLarge, limits.MaxBytes*expansion)
		}
	}
	checksum, err := scanner.Checksum()
	if err != nil {
		return fmt.Errorf("reading the pack: %w", err)
	}
	if _, err := io.Copy(io.Discard, pack); err != nil {
		return fmt.Errorf("reading the pack: %w", err)
	}
	return s.endsWith(checksum)
}

// endsWith checks that nothing came after the pack's own end.
func (s *spooled) endsWith(checksum plumbing.Hash) error {
	size, err := s.file.Seek(0, io.SeekEnd)
	if err != nil {
		return fmt.Errorf("reading the pack: %w", err)
	}
	var last plumbing.Hash
	if _, err := s.file.ReadAt(last[:], size-int64(len(last))); err != nil {
		return fmt.Errorf("reading the pack: %w", err)
	}
	if last != checksum {
		return errors.New("reading the pack: there is more after its end")
	}
	s.bytes = size
	return nil
}

// measureObject reads one object and returns its kind and how many bytes it
// stands for.
func measureObject(scanner *packfile.Scanner, limit int64) (plumbing.ObjectType, int64, error) {
	header, err := scanner.NextObjectHeader()
	if err != nil {
		return 0, 0, fmt.Errorf("reading the pack: %w", err)
	}
	if header.Length > limit {
		return 0, 0, fmt.Errorf("%w: an object of %d bytes, the limit is %d", errTooLarge, header.Length, limit)
	}
	var start prefix
	if _, _, err := scanner.NextObject(&start); err != nil {
		return 0, 0, fmt.Errorf("reading the pack: %w", err)
	}
	if !header.Type.IsDelta() {
		return header.Type, header.Length, nil
	}
	result, err := start.deltaResult()
	if err != nil {
		return 0, 0, err
	}
	if result > uint64(limit) {
		return 0, 0, fmt.Errorf("%w: an object of %d bytes, the limit is %d", errTooLarge, result, limit)
	}
	return header.Type, header.Length + int64(result), nil
}

// deltaResult returns the size of what a delta makes, which it announces: a few
// bytes may make gigabytes.
func (p *prefix) deltaResult() (uint64, error) {
	_, n := binary.Uvarint(p.buf[:p.n])
	if n > 0 {
		if result, m := binary.Uvarint(p.buf[n:p.n]); m > 0 {
			return result, nil
		}
	}
	return 0, errors.New("reading the pack: a delta without sizes")
}

// prefix keeps the first bytes written to it.
type prefix struct {
	buf [2 * binary.MaxVarintLen64]byte
	n   int
}

func (p *prefix) Write(b []byte) (int, error) {
	p.n += copy(p.buf[p.n:], b)
	return len(b), nil
}

// storeWhole makes the pack part of the repository in dir as it is. The index
// comes first: go-git finds packs by their .pack file and expects its index.
func (s *spooled) storeWhole(dir string) (err error) {
	defer recoverMalformed(&err)
	if _, err := s.file.Seek(0, io.SeekStart); err != nil {
		return fmt.Errorf("indexing the pack: %w", err)
	}
	writer := new(idxfile.Writer)
	parser, err := packfile.NewParser(packfile.NewScanner(s.file), writer)
	if err != nil {
		return fmt.Errorf("indexing the pack: %w", err)
	}
	checksum, err := parser.Parse()
	if err != nil {
		return fmt.Errorf("indexing the pack: %w", err)
	}
	index, err := writer.Index()
	if err != nil {
		return fmt.Errorf("indexing the pack: %w", err)
	}
	name := filepath.Join(dir, "objects", "pack", "pack-"+checksum.String())
	if err := writeIndex(name+".idx", index); err != nil {
		return err
	}
	if err := errors.Join(s.file.Sync(), os.Rename(s.file.Name(), name+".pack")); err != nil {
		return fmt.Errorf("storing the pack: %w", err)
	}
	return nil
}

func writeIndex(name string, index *idxfile.MemoryIndex) error {
	file, err := os.CreateTemp(filepath.Dir(name), tempPrefix+"idx-*")
	if err != nil {
		return fmt.Errorf("writing the index: %w", err)
	}
	defer os.Remove(file.Name())
	_, err = idxfile.NewEncoder(file).Encode(index)
	if err = errors.Join(err, file.Sync(), file.Close()); err != nil {
		return fmt.Errorf("writing the index: %w", err)
	}
	if err := os.Rename(file.Name(), name); err != nil {
		return fmt.Errorf("writing the index: %w", err)
	}
	return nil
}

// storeEach adds the objects of the pack one by one. It understands packs that
// leave out the objects which theirs build on, because the mirror has them.
func (s *spooled) storeEach(objects storer.EncodedObjectStorer) (err error) {
	defer recoverMalformed(&err)
	if _, err := s.file.Seek(0, io.SeekStart); err != nil {
		return fmt.Errorf("unpacking: %w", err)
	}
	parser, err := packfile.NewParserWithStorage(packfile.NewScanner(s.file), plainStorer{objects})
	if err != nil {
		return fmt.Errorf("unpacking: %w", err)
	}
	if _, err := parser.Parse(); err != nil {
		return fmt.Errorf("unpacking: %w", err)
	}
	return nil
}

// plainStorer hides every other method of a storer. With them the parser keeps
// one file open per object until it is done.
type plainStorer struct{ storer.EncodedObjectStorer }

// recoverMalformed turns a panic of the parser into an error: what is parsed
// comes from outside, and one repository must not end the process.
func recoverMalformed(err *error) {
	if cause := recover(); cause != nil {
		*err = fmt.Errorf("%w: %v", packfile.ErrMalformedPackFile, cause)
	}
}

// contextReader ends with its context between two reads.
type contextReader struct {
	ctx context.Context
	r   io.Reader
}

func (c *contextReader) Read(p []byte) (int, error) {
	if c.ctx.Err() != nil {
		return 0, context.Cause(c.ctx)
	}
	return c.r.Read(p)
}

// peel follows annotated tags to the commit they stand for.
func peel(objects storer.EncodedObjectStorer, hash plumbing.Hash) (plumbing.Hash, error) {
	const maxTags = 10
	for range maxTags {
		encoded, err := objects.EncodedObject(plumbing.AnyObject, hash)
		if err != nil {
			return plumbing.ZeroHash, fmt.Errorf("reading object %s: %w", hash, err)
		}
		switch encoded.Type() {
		case plumbing.CommitObject:
			return hash, nil
		case plumbing.TagObject:
			tag, err := object.DecodeTag(objects, encoded)
			if err != nil {
				return plumbing.ZeroHash, fmt.Errorf("reading tag %s: %w", hash, err)
			}
			hash = tag.Target
		default:
			return plumbing.ZeroHash, &refusal{reason: RefNotFound, text: fmt.Sprintf("the tag points to a %s, not to a commit", encoded.Type())}
		}
	}
	return plumbing.ZeroHash, &refusal{reason: RefNotFound, text: "the tag points to too many other tags"}
}
