package installation

import (
	"context"
	"errors"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/flotilla-gitops/flotilla/dev/process"
)

func newInstallation(t *testing.T) *Installation {
	t.Helper()
	i, err := New(filepath.Join(t.TempDir(), ".dev"), Options{})
	if err != nil {
		t.Fatal(err)
	}
	return i
}

func write(t *testing.T, elements ...string) string {
	t.Helper()
	path := filepath.Join(elements...)
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte("x"), 0o644); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestDownKeepsRepositoriesOfTheUserOnly(t *testing.T) {
	i := newInstallation(t)
	write(t, i.LogDir(), "manager.log")
	write(t, i.ClusterDir("hub"), "state.json")
	write(t, i.GitURLFile())
	write(t, i.Repository(SampleName).Dir(), "HEAD")
	own := write(t, i.Repository("own").Dir(), "HEAD")

	kept, err := i.Down(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if !slices.Equal(kept, []string{filepath.Dir(own)}) {
		t.Errorf("it says that it kept %v", kept)
	}
	var left []string
	if err := filepath.WalkDir(i.Dir, func(path string, entry os.DirEntry, err error) error {
		if err == nil && !entry.IsDir() {
			left = append(left, path)
		}
		return err
	}); err != nil {
		t.Fatal(err)
	}
	if want := []string{own, filepath.Join(i.Dir, lockName)}; !slices.Equal(left, want) {
		t.Errorf("it left %v, want %v", left, want)
	}
}

func TestDownEndsWhatAnEarlierCommandStarted(t *testing.T) {
	i := newInstallation(t)
	started, err := process.Start(process.Spec{
		Name: "manager", RunDir: i.runDir(), LogFile: i.LogFile(managerPart), Path: "sleep", Args: []string{"3600"}, Tied: true,
	})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := newSameFolder(t, i).Down(t.Context()); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	if err := started.Wait(ctx); err != nil {
		t.Errorf("it still runs: %v", err)
	}
}

func newSameFolder(t *testing.T, i *Installation) *Installation {
	t.Helper()
	same, err := New(i.Dir, Options{})
	if err != nil {
		t.Fatal(err)
	}
	return same
}

func TestPortsStayTheSame(t *testing.T) {
	i := newInstallation(t)
	if err := os.MkdirAll(i.Dir, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := i.choosePorts(); err != nil {
		t.Fatal(err)
	}
	i.reserved.Release(portNames()...)
	again := newSameFolder(t, i)
	if err := again.choosePorts(); err != nil {
		t.Fatal(err)
	}
	if !maps.Equal(i.ports, again.ports) || len(i.ports) != len(portNames()) {
		t.Errorf("first %v, then %v", i.ports, again.ports)
	}
	// An agent that was added since has no port there.
	if err := os.WriteFile(i.portsFile(), []byte(`{"manager":20000}`), 0o644); err != nil {
		t.Fatal(err)
	}
	if err := newSameFolder(t, i).choosePorts(); err == nil || !strings.Contains(err.Error(), "a port is missing") {
		t.Errorf("an incomplete file: %v", err)
	}
}

func TestProgramsAreToldApart(t *testing.T) {
	i := newInstallation(t)
	i.ports = map[string]int{}
	for n, part := range portNames() {
		i.ports[part] = 20000 + n
	}
	seen := map[string]string{}
	for _, part := range portNames() {
		spec := i.spec(part)
		for what, value := range map[string]string{
			"log": spec.LogFile, "name": spec.Name, "flags": strings.Join(append(spec.Args, filepath.Base(spec.Path)), " "),
		} {
			if other, taken := seen[what+value]; taken {
				t.Errorf("%s and %s share %s %s", part, other, what, value)
			}
			seen[what+value] = part
		}
		if member, isAgent := strings.CutPrefix(part, agentPrefix); isAgent && !slices.Contains(spec.Args, i.Kubeconfig(member)) {
			t.Errorf("%s is not run with the kubeconfig of its cluster: %v", part, spec.Args)
		}
	}
}

func TestInstalledProgramOutlivesTheNextBuild(t *testing.T) {
	dir := t.TempDir()
	source, target := filepath.Join(dir, "built"), filepath.Join(dir, "installed")
	for _, content := range []string{"first", "second"} {
		// As the Go command does it: another file takes the place.
		fresh := write(t, dir, "fresh")
		if err := os.WriteFile(fresh, []byte(content), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.Rename(fresh, source); err != nil {
			t.Fatal(err)
		}
		if content == "second" {
			if got, err := os.ReadFile(target); err != nil || string(got) != "first" {
				t.Errorf("before it is installed, the second build shows as %q, %v", got, err)
			}
		}
		if err := install(source, target); err != nil {
			t.Fatal(err)
		}
		if got, err := os.ReadFile(target); err != nil || string(got) != content {
			t.Errorf("installed %q, %v; want %q", got, err, content)
		}
	}
	copied := filepath.Join(dir, "copied")
	if err := copyProgram(target, copied); err != nil {
		t.Fatal(err)
	}
	if info, err := os.Stat(copied); err != nil || info.Mode()&0o100 == 0 {
		t.Errorf("the copy is no program: %v, %v", info.Mode(), err)
	}
}

func TestPartsOfAnInstallationThatIsNotThere(t *testing.T) {
	i := newInstallation(t)
	if err := i.Start(t.Context(), "manager"); err == nil || !strings.Contains(err.Error(), "run `up` first") {
		t.Errorf("starting a part of it: %v", err)
	}
	if _, err := i.Cluster("hub"); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("its hub: %v", err)
	}
	if _, err := i.Cluster("downstream-9"); err == nil || !strings.Contains(err.Error(), "there are hub, downstream-1, downstream-2") {
		t.Errorf("a cluster that it never has: %v", err)
	}
}

func TestAwaitSaysWhatWasMissing(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), 3*poll)
	defer cancel()
	err := await(ctx, "the moon", func(context.Context) (string, error) { return "it is behind a cloud", nil })
	if !errors.Is(err, context.DeadlineExceeded) || !strings.Contains(err.Error(), "waiting for the moon") || !strings.Contains(err.Error(), "behind a cloud") {
		t.Errorf("got %v", err)
	}
	tries := 0
	err = await(t.Context(), "luck", func(context.Context) (string, error) {
		if tries++; tries < 3 {
			return "", errors.New("not yet")
		}
		return "", nil
	})
	if err != nil || tries != 3 {
		t.Errorf("an error must not end the wait: %v after %d tries", err, tries)
	}
}
