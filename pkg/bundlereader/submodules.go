package bundlereader

import (
	"context"
	"errors"
	"io/fs"
	"path"
	"strings"
)

// modular is a tree whose submodules can be brought in. Until then they are
// irregular files, afterwards folders.
type modular interface {
	// Enter brings in the submodule at a path.
	Enter(ctx context.Context, name string) error
}

// isSubmodule says whether something is a submodule that is not a folder yet.
func isSubmodule(mode fs.FileMode) bool { return mode&fs.ModeIrregular != 0 }

// enter brings in a submodule. Its error is one of the folders that need it,
// and of no other, unless the context ended.
func enter(ctx context.Context, tree fs.FS, name string) error {
	err := errors.New("only the repository itself can be read here")
	if with, ok := tree.(modular); ok {
		err = with.Enter(ctx, name)
	}
	if err == nil || ctx.Err() != nil {
		return ctx.Err()
	}
	return &problem{Finding{Severity: Error, File: name, Message: "the submodule cannot be read: " + err.Error()}}
}

// enterAll brings in the submodules on the way to a path, itself included. What
// else there is on the way is not its business.
func enterAll(ctx context.Context, tree fs.FS, name string) error {
	parts := strings.Split(name, "/")
	for i := range parts {
		at := path.Join(parts[:i+1]...)
		// Whoever looks for a path that is not there finds out.
		if info, err := fs.Lstat(tree, at); err != nil || !isSubmodule(info.Mode()) {
			continue
		}
		if err := enter(ctx, tree, at); err != nil {
			return err
		}
	}
	return nil
}
