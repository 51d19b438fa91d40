package source

import (
	"bufio"
	"bytes"
	"compress/zlib"
	"context"
	"crypto/sha1"
	"encoding/binary"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// wantError checks reason, address and that the text says what it must.
func wantError(t testing.TB, err error, reason Reason, parts ...string) *Error {
	t.Helper()
	var known *Error
	if !errors.As(err, &known) {
		t.Fatalf("got %v, want an *Error with reason %s", err, reason)
	}
	if known.Reason != reason {
		t.Errorf("reason %s, want %s: %v", known.Reason, reason, err)
	}
	for _, part := range parts {
		if !strings.Contains(err.Error(), part) {
			t.Errorf("the error %q does not say %q", err, part)
		}
	}
	return known
}

func TestWhatCannotBeFetched(t *testing.T) {
	s := newServer(t)
	r := s.repository(t, "demo")
	r.commit(map[string]string{"a": "1"})
	s.repository(t, "empty")
	git(t, r.work, "tag", "tree", "HEAD^{tree}")
	git(t, r.work, "push", "--quiet", "origin", "refs/tags/tree")
	gone := httptest.NewServer(nil)
	gone.Close()
	website := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, "<html>hello</html>") }))
	t.Cleanup(website.Close)

	for _, tc := range []struct {
		name   string
		req    Request
		reason Reason
		says   []string
	}{
		{"no such branch", Request{URL: r.url, Branch: "main"}, RefNotFound, []string{`no branch "main"`, `it has a branch "master"`, r.url}},
		{"no such tag", Request{URL: r.url, Revision: "v9"}, RefNotFound, []string{`no tag or commit "v9"`}},
		{"no such commit", Request{URL: r.url, Revision: strings.Repeat("12", 20)}, RefNotFound, []string{"no commit 1212"}},
		{"no such abbreviated commit", Request{URL: r.url, Revision: "deadbeef"}, RefNotFound, []string{"no commit deadbeef"}},
		{"a tag of a tree", Request{URL: r.url, Revision: "tree"}, RefNotFound, []string{"points to a tree"}},
		{"an empty repository", Request{URL: s.URL + "/empty.git"}, RefNotFound, []string{"is empty", "push a commit"}},
		{"no such repository", Request{URL: s.URL + "/nothing.git"}, NotFound, []string{"404", "private repository"}},
		{"not a git server", Request{URL: website.URL}, NotFound, []string{"no git repository"}},
		{"nobody listens", Request{URL: gone.URL + "/demo.git"}, Unreachable, []string{"connection refused", gone.URL}},
		{"no such host", Request{URL: "http://no-such-host.invalid/demo.git"}, Unreachable, []string{"no-such-host.invalid"}},
		{"an empty address", Request{}, Invalid, []string{"is empty"}},
		{"a local path", Request{URL: r.bare}, Invalid, []string{"local path"}},
		{"a file address", Request{URL: "file://" + r.bare}, Invalid, []string{"protocol file is not supported"}},
		{"the git protocol", Request{URL: "git://example.test/demo.git"}, Invalid, []string{"protocol git is not supported"}},
		{"a helper protocol", Request{URL: "ext::sh -c id"}, Invalid, nil},
		{"an option as address", Request{URL: "--upload-pack=id"}, Invalid, nil},
		{"an option as branch", Request{URL: r.url, Branch: "--upload-pack=id"}, Invalid, []string{"not a valid branch"}},
		{"a branch that climbs", Request{URL: r.url, Branch: "../../etc"}, Invalid, []string{"not a valid branch"}},
		{"a revision with control characters", Request{URL: r.url, Revision: "v1\n"}, Invalid, []string{"not a valid revision"}},
		{"a revision that is an expression", Request{URL: r.url, Revision: "HEAD^{tree}"}, Invalid, []string{"not a valid revision"}},
		{"a metadata service", Request{URL: "http://169.254.169.254/latest"}, Invalid, []string{"link-local"}},
		{"SSH without a key", Request{URL: "git@example.test:demo.git"}, AuthenticationFailed, []string{"kubernetes.io/ssh-auth"}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			m := newTestMirrors(t, Limits{})
			_, err := m.Fetch(context.Background(), tc.req)
			wantError(t, err, tc.reason, tc.says...)
			if tc.reason != RefNotFound && tc.req.URL != "" {
				_, err = m.Head(context.Background(), tc.req)
				wantError(t, err, tc.reason, tc.says...)
			}
		})
	}
}

func TestCertificates(t *testing.T) {
	plain := newServer(t)
	r := plain.repository(t, "demo")
	commit := r.commit(map[string]string{"a": "1"})
	secure := httptest.NewUnstartedServer(plain.Config.Handler)
	secure.Config.ErrorLog = log.New(io.Discard, "", 0)
	secure.StartTLS()
	t.Cleanup(secure.Close)
	ca := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: secure.Certificate().Raw})
	url := secure.URL + "/demo.git"

	m := newTestMirrors(t, Limits{})
	_, err := m.Fetch(context.Background(), Request{URL: url})
	wantError(t, err, TLS, "certificate", "spec.caBundle")
	_, err = m.Fetch(context.Background(), Request{URL: url, CABundle: []byte("not PEM")})
	wantError(t, err, TLS, "caBundle")
	fetch(t, m, Request{URL: url, CABundle: ca}, commit)
	// What one request trusts, another does not.
	_, err = m.Head(context.Background(), Request{URL: url})
	wantError(t, err, TLS, "certificate")
	fetch(t, newTestMirrors(t, Limits{}), Request{URL: url, InsecureSkipTLSVerify: true}, commit)
}

func TestBasicAuth(t *testing.T) {
	s := newServer(t)
	r := s.repository(t, "demo")
	commit := r.commit(map[string]string{"a": "1"})
	s.intercept(func(w http.ResponseWriter, req *http.Request, git http.Handler) {
		if user, pass, _ := req.BasicAuth(); user != "ada" || pass != "s3cret" {
			w.Header().Set("WWW-Authenticate", "Basic")
			w.WriteHeader(http.StatusUnauthorized)
			return
		}
		git.ServeHTTP(w, req)
	})
	m := newTestMirrors(t, Limits{})
	_, err := m.Fetch(context.Background(), Request{URL: r.url})
	wantError(t, err, AuthenticationFailed, "401", "clientSecretName")
	_, err = m.Fetch(context.Background(), Request{URL: r.url, Auth: &Auth{Username: "ada", Password: "wrong"}})
	wantError(t, err, AuthenticationFailed, "401", "user name and password")
	fetch(t, m, Request{URL: r.url, Auth: &Auth{Username: "ada", Password: "s3cret"}}, commit)
	fetch(t, m, Request{URL: strings.Replace(r.url, "://", "://ada:s3cret@", 1)}, commit)
}

// A server that says nothing is given up, and so is one that stops half-way;
// a caller that goes away is not made to wait.
func TestTimeouts(t *testing.T) {
	s := newServer(t)
	r := s.repository(t, "demo")
	r.commit(map[string]string{"a": noise(1, 50_000)})
	release := make(chan struct{})
	defer close(release)
	hang := func(req *http.Request) {
		select {
		case <-release:
		case <-req.Context().Done():
		}
	}
	for _, tc := range []struct {
		name   string
		before middleware
	}{
		{"before the refs", func(_ http.ResponseWriter, req *http.Request, _ http.Handler) { hang(req) }},
		{"within the pack", func(w http.ResponseWriter, req *http.Request, git http.Handler) {
			if !strings.HasSuffix(req.URL.Path, uploadPack) {
				git.ServeHTTP(w, req)
				return
			}
			recorded := httptest.NewRecorder()
			git.ServeHTTP(recorded, req)
			_, _ = w.Write(recorded.Body.Bytes()[:2000])
			w.(*counter).ResponseWriter.(http.Flusher).Flush()
			hang(req)
		}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			s.intercept(tc.before)
			m := newTestMirrors(t, Limits{Timeout: 300 * time.Millisecond})
			_, err := m.Fetch(context.Background(), Request{URL: r.url})
			wantError(t, err, Timeout, "no result within 300ms")
			if !errors.Is(err, context.DeadlineExceeded) {
				t.Errorf("%v is not a deadline", err)
			}

			m = newTestMirrors(t, Limits{})
			ctx, cancel := context.WithCancel(context.Background())
			time.AfterFunc(100*time.Millisecond, cancel)
			if _, err = m.Fetch(ctx, Request{URL: r.url}); !errors.Is(err, context.Canceled) {
				t.Errorf("got %v, want the caller's own end", err)
			}
			s.intercept(nil)
			if _, err = m.Fetch(context.Background(), Request{URL: r.url}); err != nil {
				t.Errorf("the next fetch fails, too: %v", err)
			}
			fsck(t, m)
		})
	}
}

func TestCallersWaitForTheLockOnlyAsLongAsTheyLike(t *testing.T) {
	s := newServer(t)
	r := s.repository(t, "demo")
	commit := r.commit(map[string]string{"a": "1"})
	m := newTestMirrors(t, Limits{Timeout: 200 * time.Millisecond})
	req := Request{URL: r.url}
	busy := m.mirror(mustTarget(t, req).key())
	if !busy.tryLock() {
		t.Fatal("the lock is taken")
	}
	_, err := m.Fetch(context.Background(), req)
	wantError(t, err, Timeout, "waiting for another fetch", "no result within 200ms")
	busy.unlock()
	m.limits.Timeout = defaultTimeout
	fetch(t, m, req, commit)
}

func TestLimits(t *testing.T) {
	s := newServer(t)
	r := s.repository(t, "demo")
	tree := map[string]string{"big": noise(1, 200_000)}
	for i := range 50 {
		tree[fmt.Sprintf("f%d", i)] = fmt.Sprint(i)
	}
	commit := r.commit(tree)
	for _, tc := range []struct {
		name   string
		limits Limits
		says   string
	}{
		{"bytes", Limits{MaxBytes: 50_000}, "pack exceeds its limit"},
		{"objects", Limits{MaxObjects: 20}, "the limit is 20"},
		{"size of an object", Limits{MaxObjectBytes: 100_000}, "an object of 200000 bytes"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			m := newTestMirrors(t, tc.limits)
			_, err := m.Fetch(context.Background(), Request{URL: r.url})
			wantError(t, err, TooLarge, tc.says)
			if size := diskUsage(t, m.dir); size > 60_000 {
				t.Errorf("%d bytes are left on disk", size)
			}
		})
	}
	m := newTestMirrors(t, Limits{MaxFileBytes: 1000})
	snapshot := fetch(t, m, Request{URL: r.url}, commit)
	if _, err := snapshot.tree.ReadFile("big"); !errors.Is(err, errTooLarge) {
		t.Errorf("reading a file above the limit: %v", err)
	}
}

func diskUsage(t testing.TB, dir string) (total int64) {
	t.Helper()
	err := filepath.Walk(dir, func(_ string, info os.FileInfo, err error) error {
		if err == nil && info.Mode().IsRegular() {
			total += info.Size()
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return total
}

// packOf builds a pack by hand: what git would never send.
type packOf struct{ bytes.Buffer }

func newPack(count uint32) *packOf {
	p := &packOf{}
	p.WriteString("PACK")
	_ = binary.Write(p, binary.BigEndian, []uint32{2, count})
	return p
}

// object appends an object whose content is produced by fill.
func (p *packOf) object(kind byte, size int, base []byte, fill func(io.Writer)) {
	first := kind<<4 | byte(size&15)
	for size >>= 4; size > 0; size >>= 7 {
		p.WriteByte(first | 0x80)
		first = byte(size & 0x7f)
	}
	p.WriteByte(first)
	p.Write(base)
	z := zlib.NewWriter(p)
	fill(z)
	z.Close()
}

func (p *packOf) end() []byte {
	digest := sha1.Sum(p.Bytes())
	return append(p.Bytes(), digest[:]...)
}

// What is small on the wire and enormous in memory is refused before it takes
// the memory.
func TestBombs(t *testing.T) {
	const megabyte = 1 << 20
	zeros := func(n int) func(io.Writer) {
		return func(w io.Writer) {
			for block := make([]byte, 64<<10); n > 0; n -= len(block) {
				_, _ = w.Write(block[:min(n, len(block))])
			}
		}
	}
	limits := Limits{MaxBytes: megabyte, MaxObjectBytes: 8 * megabyte}.withDefaults()

	blob := newPack(1)
	blob.object(3, 900*megabyte, nil, func(io.Writer) {})

	liar := newPack(1)
	liar.object(3, 10, nil, zeros(200*megabyte))

	many := newPack(40)
	for range 40 {
		many.object(3, 7*megabyte, nil, zeros(7*megabyte))
	}

	delta := newPack(2)
	delta.object(3, 64, nil, zeros(64))
	var program []byte
	program = binary.AppendUvarint(program, 64)
	program = binary.AppendUvarint(program, 4<<30)
	delta.object(7, len(program), make([]byte, 20), func(w io.Writer) { _, _ = w.Write(program) })

	claims := newPack(4_000_000_000)
	trailing := newPack(1)
	trailing.object(3, 3, nil, zeros(3))

	for _, tc := range []struct {
		name     string
		pack     []byte
		tooLarge bool
	}{
		{"an enormous object", blob.end(), true},
		{"an object larger than it says", liar.end(), false},
		{"many large objects", many.end(), true},
		{"a delta that makes an enormous object", delta.end(), true},
		{"billions of objects", claims.end(), true},
		{"more after the end", append(trailing.end(), "surplus"...), false},
		{"nothing", nil, false},
		{"not a pack", []byte("<html>"), false},
		{"half a pack", blob.end()[:20], true},
	} {
		t.Run(tc.name, func(t *testing.T) {
			dir := t.TempDir()
			pack, err := spool(context.Background(), bytes.NewReader(tc.pack), dir, limits)
			if err == nil {
				pack.discard()
				t.Fatal("the pack was accepted")
			}
			if errors.Is(err, errTooLarge) != tc.tooLarge {
				t.Errorf("got %v", err)
			}
			if left, _ := os.ReadDir(dir); len(left) > 0 {
				t.Errorf("%d files are left over", len(left))
			}
		})
	}
}

// An answer without end, in every place where one is read whole.
func TestEndlessAnswers(t *testing.T) {
	endless := func(w http.ResponseWriter, line string) {
		for {
			if _, err := io.WriteString(w, line); err != nil {
				return
			}
		}
	}
	for _, tc := range []struct {
		name    string
		handler http.HandlerFunc
		reason  Reason
	}{
		{"refs", func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", "application/x-git-upload-pack-advertisement")
			// A write per line would be slower than the limit that is tested.
			lines := bufio.NewWriterSize(w, 64<<10)
			_, _ = lines.WriteString("001e# service=git-upload-pack\n0000")
			for i := 0; ; i++ {
				line := fmt.Sprintf("%040x refs/heads/b%d\x00ofs-delta\n", i+1, i)
				if i > 0 {
					line = fmt.Sprintf("%040x refs/heads/b%d\n", i+1, i)
				}
				if _, err := fmt.Fprintf(lines, "%04x%s", len(line)+4, line); err != nil {
					return
				}
			}
		}, TooLarge},
		{"an error page", func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", "text/plain")
			w.WriteHeader(http.StatusInternalServerError)
			endless(w, "no no no ")
		}, Unreachable},
	} {
		t.Run(tc.name, func(t *testing.T) {
			server := httptest.NewServer(tc.handler)
			t.Cleanup(server.Close)
			_, err := newTestMirrors(t, Limits{Timeout: 20 * time.Second}).Head(context.Background(), Request{URL: server.URL})
			known := wantError(t, err, tc.reason)
			if len(known.Error()) > 1000 {
				t.Errorf("the error is %d bytes long", len(known.Error()))
			}
		})
	}
}

// The canaries must not turn up in anything a user or an operator may see.
func TestCredentialsStayOutOfErrors(t *testing.T) {
	const password, user = "canary-pa$$/w0rd", "canary-user"
	echo := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		// The rudest of servers: it returns what it was sent.
		w.Header().Set("Content-Type", "text/plain")
		w.WriteHeader(http.StatusInternalServerError)
		u, p, _ := r.BasicAuth()
		fmt.Fprintf(w, "%v %s %s", r.Header, u, p)
	}))
	t.Cleanup(echo.Close)
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	closed := listener.Addr().String()
	listener.Close()
	key := "-----BEGIN OPENSSH PRIVATE KEY-----\nY2FuYXJ5LWtleS1jYW5hcnkta2V5\n-----END OPENSSH PRIVATE KEY-----\n"

	for _, req := range []Request{
		{URL: echo.URL, Auth: &Auth{Username: user, Password: password}},
		{URL: strings.Replace(echo.URL, "://", "://canary-user:canary-pa$$%2Fw0rd@", 1)},
		{URL: "http://canary-user:canary-pa$$%2Fw0rd@" + closed + "/demo.git"},
		{URL: "http://canary-token-canary-token@" + closed + "/demo.git"},
		{URL: "http://canary-user:canary-pa$$%zz@example.test/"},
		{URL: "http://canary-user:canary-pa$$ w0rd@example.test/"},
		{URL: "gopher://canary-user:canary-password@example.test/"},
		{URL: "ssh://git@example.test/demo", Auth: &Auth{SSHPrivateKey: []byte(key), KnownHosts: []byte("x")}},
	} {
		_, err := newTestMirrors(t, Limits{Timeout: 5 * time.Second}).Fetch(context.Background(), req)
		known := wantError(t, err, known(err).Reason)
		text, _ := json.Marshal(known)
		for _, shown := range []string{err.Error(), fmt.Sprintf("%+v", err), fmt.Sprintf("%#v", errors.Unwrap(err)), string(text)} {
			for _, canary := range []string{"canary-pa", "canary-token", "Y2FuYXJ5", "cGEkJC93MHJk"} {
				if strings.Contains(shown, canary) {
					t.Errorf("%s shows %s: %s", req.URL, canary, shown)
				}
			}
		}
	}
}

func known(err error) *Error {
	var known *Error
	if !errors.As(err, &known) {
		return &Error{}
	}
	return known
}

// Credentials belong to one origin. A redirect may lead elsewhere, and what it
// leads to may be read, but not with them.
func TestRedirects(t *testing.T) {
	s := newServer(t)
	r := s.repository(t, "demo")
	commit := r.commit(map[string]string{"a": "1"})
	var leaked []string
	s.intercept(func(w http.ResponseWriter, req *http.Request, git http.Handler) {
		if req.Header.Get("Authorization") != "" {
			leaked = append(leaked, req.URL.Path)
		}
		git.ServeHTTP(w, req)
	})
	var authorized int
	redirect := func(to string) *httptest.Server {
		front := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
			if req.Header.Get("Authorization") != "" {
				authorized++
			}
			http.Redirect(w, req, to+req.URL.RequestURI(), http.StatusFound)
		}))
		t.Cleanup(front.Close)
		return front
	}
	auth := &Auth{Username: "ada", Password: "s3cret-s3cret"}

	front := redirect(s.URL)
	fetch(t, newTestMirrors(t, Limits{}), Request{URL: front.URL + "/demo.git", Auth: auth}, commit)
	if authorized == 0 {
		t.Error("the origin itself did not get the credentials")
	}
	// Home by a detour: the way led through a stranger.
	twice := redirect(front.URL)
	fetch(t, newTestMirrors(t, Limits{}), Request{URL: twice.URL + "/demo.git", Auth: auth}, commit)
	if len(leaked) > 0 {
		t.Errorf("the credentials were sent to another origin: %v", leaked)
	}

	loop := httptest.NewServer(nil)
	loop.Config.Handler = http.RedirectHandler(loop.URL+"/info/refs", http.StatusFound)
	t.Cleanup(loop.Close)
	_, err := newTestMirrors(t, Limits{}).Head(context.Background(), Request{URL: loop.URL, Auth: auth})
	wantError(t, err, Invalid, "too often")

	secure := httptest.NewTLSServer(http.RedirectHandler(s.URL+"/demo.git/info/refs", http.StatusFound))
	t.Cleanup(secure.Close)
	_, err = newTestMirrors(t, Limits{}).Head(context.Background(), Request{URL: secure.URL, InsecureSkipTLSVerify: true})
	wantError(t, err, Invalid, "from https to http")

	s.intercept(func(w http.ResponseWriter, req *http.Request, git http.Handler) {
		if req.Method == http.MethodPost {
			http.Redirect(w, req, r.url, http.StatusTemporaryRedirect)
			return
		}
		git.ServeHTTP(w, req)
	})
	_, err = newTestMirrors(t, Limits{}).Fetch(context.Background(), Request{URL: r.url})
	wantError(t, err, Invalid, "must not be redirected")
}
