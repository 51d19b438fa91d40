package harness

import (
	"context"
	"os"
	"path/filepath"
	"testing"

	"github.com/flotilla-gitops/flotilla/dev/controlplane"
)

// Backup is the state of a hub at some time.
type Backup struct{ dir string }

// Backup stops the hub's store for a moment and copies it.
func (e *Environment) Backup(t testing.TB) Backup {
	t.Helper()
	backup := Backup{filepath.Join(t.TempDir(), "etcd")}
	e.whileStopped(t, func() error {
		return os.CopyFS(backup.dir, os.DirFS(e.ControlPlane.EtcdDir()))
	})
	return backup
}

// Restore takes the hub back to the backup. Whoever watches the hub is not told: as with a real one, what has happened since
// never did, and resourceVersions are given a second time.
func (e *Environment) Restore(t testing.TB, backup Backup) {
	t.Helper()
	e.whileStopped(t, func() error {
		if err := os.RemoveAll(e.ControlPlane.EtcdDir()); err != nil {
			return err
		}
		return os.CopyFS(e.ControlPlane.EtcdDir(), os.DirFS(backup.dir))
	})
}

// whileStopped does something to the store while nobody uses it.
func (e *Environment) whileStopped(t testing.TB, do func() error) {
	t.Helper()
	parts := []controlplane.Component{controlplane.ControllerManager, controlplane.APIServer, controlplane.Etcd}
	for _, part := range parts {
		// Killed, as by a machine that stops. What etcd has acknowledged is kept.
		if err := e.ControlPlane.KillComponent(t.Context(), part); err != nil {
			t.Fatal(err)
		}
	}
	if err := do(); err != nil {
		t.Fatal(err)
	}
	if err := e.ControlPlane.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
}

// RestartAPIServer ends the API server, by a signal or in the middle of whatever it is doing, and starts it again on the same
// store and address.
func (e *Environment) RestartAPIServer(t testing.TB, kill bool) {
	t.Helper()
	end := e.ControlPlane.StopComponent
	if kill {
		end = e.ControlPlane.KillComponent
	}
	if err := end(t.Context(), controlplane.APIServer); err != nil {
		t.Fatal(err)
	}
	if err := e.ControlPlane.StartComponent(context.WithoutCancel(t.Context()), controlplane.APIServer); err != nil {
		t.Fatal(err)
	}
}
