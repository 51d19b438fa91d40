package source

import (
	"bytes"
	"context"
	"io"
	"path/filepath"
	"testing"
)

// recorded is a server that says what it was told to.
type recorded struct{ answer []byte }

func (r recorded) refs(context.Context) (io.ReadCloser, error) {
	return io.NopCloser(bytes.NewReader(r.answer)), nil
}

func (r recorded) pack(context.Context, []byte) (io.ReadCloser, error) {
	return io.NopCloser(bytes.NewReader(r.answer)), nil
}

func (recorded) close() {}

// Whatever a server sends for its refs, there is an answer.
func FuzzListRefs(f *testing.F) {
	const hash = "46306db90d54358e687352fcc19923a1b8821701"
	f.Add([]byte("001e# service=git-upload-pack\n0000004f"+hash+" refs/heads/master\x00ofs-delta shallow\n0000"), "master")
	f.Add([]byte("0000"), "")
	f.Add([]byte("0045ERR access denied or repository not exported: /demo.git\n0000"), "v1")
	f.Add([]byte("ffff"+hash), hash[:8])
	f.Fuzz(func(_ *testing.T, answer []byte, revision string) {
		adv, err := listRefs(context.Background(), recorded{answer})
		if err != nil {
			return
		}
		_, _ = adv.resolve(target{Request: Request{Branch: "master"}})
		_, _ = adv.resolve(target{Request: Request{Revision: revision}})
		_, _ = adv.tips()
		tr := transfer{shallow: adv.servesShallow()}
		for _, hash := range adv.refs {
			tr.wants = append(tr.wants, hash)
		}
		stream, err := tr.open(context.Background(), recorded{answer}, adv.caps)
		if err == nil {
			_, _ = io.Copy(io.Discard, io.LimitReader(stream, 1<<20))
			stream.Close()
		}
	})
}

// Whatever a server sends as a pack, it is stored or refused, and nothing of
// it is left over.
func FuzzPack(f *testing.F) {
	small := newPack(1)
	small.object(3, 5, nil, func(w io.Writer) { _, _ = io.WriteString(w, "hello") })
	f.Add(small.end())
	delta := newPack(2)
	delta.object(3, 5, nil, func(w io.Writer) { _, _ = io.WriteString(w, "hello") })
	delta.object(7, 4, make([]byte, 20), func(w io.Writer) { _, _ = w.Write([]byte{5, 5, 0x90, 5}) })
	f.Add(delta.end())
	f.Add([]byte("PACK"))
	limits := Limits{MaxBytes: 1 << 16, MaxObjectBytes: 1 << 16}.withDefaults()
	f.Fuzz(func(t *testing.T, data []byte) {
		for _, each := range []bool{false, true} {
			g := generation{dir: t.TempDir()}
			if err := g.init(); err != nil {
				t.Fatal(err)
			}
			pack, err := spool(context.Background(), bytes.NewReader(data), g.dir, limits)
			if err == nil && each {
				_ = pack.storeEach(g.storage())
			} else if err == nil {
				_ = pack.storeWhole(g.dir)
			}
			if err == nil {
				pack.discard()
			}
			if left, _ := filepath.Glob(filepath.Join(g.dir, tempPrefix+"*")); len(left) > 0 {
				t.Errorf("left over: %v", left)
			}
		}
	})
}
