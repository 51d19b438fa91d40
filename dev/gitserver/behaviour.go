package gitserver

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
)

// BehaviourFile is the file in a bare repository that holds its Behaviour, as JSON. Without it, the repository
// is served to everybody.
const BehaviourFile = "flotilla-server.json"

// Behaviour says how a repository is served. It is read anew for every request.
type Behaviour struct {
	// Username and Password, if set, are asked for.
	Username string `json:"username,omitempty"`
	Password string `json:"password,omitempty"`
	// Failure happens in place of an answer.
	Failure Failure `json:"failure,omitempty"`
}

// Failure is a way in which a git server fails.
type Failure string

// The ways to fail.
const (
	// FailNot serves.
	FailNot Failure = ""
	// FailRefuse hangs up without an answer.
	FailRefuse Failure = "refuse"
	// FailHang accepts the request and never answers.
	FailHang Failure = "hang"
	// FailError answers with status 500.
	FailError Failure = "error"
)

// Configure sets how the bare repository in a folder is served from now on, by any server.
func Configure(repository string, behaviour Behaviour) error {
	data, err := json.Marshal(behaviour)
	if err != nil {
		return fmt.Errorf("encoding behaviour: %w", err)
	}
	// A request must never read half of it.
	path := filepath.Join(repository, BehaviourFile)
	if err := os.WriteFile(path+".new", data, 0o600); err != nil {
		return fmt.Errorf("writing behaviour: %w", err)
	}
	return os.Rename(path+".new", path)
}

func readBehaviour(repository string) (Behaviour, error) {
	data, err := os.ReadFile(filepath.Join(repository, BehaviourFile))
	if errors.Is(err, fs.ErrNotExist) {
		return Behaviour{}, nil
	}
	if err != nil {
		return Behaviour{}, fmt.Errorf("reading behaviour: %w", err)
	}
	var behaviour Behaviour
	if err := json.Unmarshal(data, &behaviour); err != nil {
		return Behaviour{}, fmt.Errorf("reading %s: %w", BehaviourFile, err)
	}
	switch behaviour.Failure {
	case FailNot, FailRefuse, FailHang, FailError:
		return behaviour, nil
	default:
		return Behaviour{}, fmt.Errorf("reading %s: unknown failure %q", BehaviourFile, behaviour.Failure)
	}
}
