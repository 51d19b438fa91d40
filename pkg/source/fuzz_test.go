package source

import (
	"bytes"
	"context"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/flotilla-gitops/flotilla/dev/gitserver"
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

// Whatever stands in a file of known hosts, a key that is not in it is refused.
func FuzzKnownHosts(f *testing.F) {
	const host = "git.example.test:22"
	known, _ := newKey(f)
	stranger, _ := newKey(f)
	line := string(gitserver.KnownHosts(host, known.PublicKey()))
	for _, seed := range []string{
		line, "# nothing\n", "@cert-authority *.example.test " + line, "@revoked " + line, "* " + line, "|1|x|y " + line, "[git.example.test]:22,!x " + line,
		strings.Repeat(line, 3), "git.example.test ssh-rsa\n", "\x00", line + "what is this",
	} {
		f.Add([]byte(seed))
	}
	dir := f.TempDir()
	f.Fuzz(func(t *testing.T, content []byte) {
		hosts, err := readKnownHosts(content, dir)
		if left, _ := os.ReadDir(dir); len(left) > 0 {
			t.Errorf("%d files are left over", len(left))
		}
		if err != nil {
			return
		}
		hosts.HostKeyAlgorithms(host)
		if hosts.HostKeyCallback()(host, &net.TCPAddr{IP: net.IPv4(192, 0, 2, 1), Port: 22}, stranger.PublicKey()) == nil {
			t.Error("a key that is in no line is accepted")
		}
	})
}

// Whatever the API for tokens answers, there is a token or an error.
func FuzzReadToken(f *testing.F) {
	f.Add(201, []byte(`{"token":"t","expires_at":"2026-01-01T00:00:00Z"}`))
	f.Add(201, []byte(`{"token":1}`))
	f.Add(403, []byte(`{"message":"no"}`))
	f.Add(500, []byte(`<html>`))
	f.Fuzz(func(t *testing.T, code int, body []byte) {
		got, err := readToken(&http.Response{StatusCode: code, Status: strconv.Itoa(code), Body: io.NopCloser(bytes.NewReader(body))})
		if (err == nil) != (got.token != "") || err == nil && code != http.StatusCreated {
			t.Errorf("got %q, %v", got.token, err)
		}
	})
}

// Whatever an error says, it says nothing of the credentials.
func FuzzClean(f *testing.F) {
	const password, bearer = "canary-pa ss/word", "canary-bearer"
	secrets := newRedactor(address{}, &Auth{Username: "ada", Password: password, BearerToken: bearer})
	for _, seed := range []string{password, "https://ada:" + password + "@h", "Basic YWRhOmNhbmFyeS1wYSBzcy93b3Jk", "canary-pa+ss%2Fword", bearer + bearer, "\x00\xff" + bearer, "canary-canary-bearerbearer"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		got := secrets.clean(text)
		for _, secret := range []string{password, bearer, "YWRhOmNhbmFyeS1wYSBzcy93b3Jk", "canary-pa%20ss%2Fword"} {
			if strings.Contains(got, secret) {
				t.Errorf("%q shows %q", got, secret)
			}
		}
		if len([]rune(got)) > maxMessage+1 || strings.ContainsAny(got, "\n\r\x1b") {
			t.Errorf("%q is no line of bounded length", got)
		}
	})
}
