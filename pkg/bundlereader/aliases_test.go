package bundlereader

import (
	"errors"
	"strings"
	"testing"
)

// bomb is a small document that aliases make large.
func bomb() string {
	return "x: &x " + strings.Repeat("a", 100_000) + "\ny:\n" + strings.Repeat("- *x\n", 2_000)
}

func TestAliasesThatGrowBeyondMemoryAreRefused(t *testing.T) {
	if _, err := toJSON([]byte(bomb())); !errors.Is(err, errAliases) {
		t.Errorf("toJSON() error = %v, want %v", err, errAliases)
	}
	if _, err := toJSON([]byte("a: &a [*a]\n")); err == nil {
		t.Error("a document that contains itself was written out")
	}
	data, err := toJSON([]byte("x: &x 1\nz: [*x, *x]\n"))
	if err != nil || string(data) != `{"x":1,"z":[1,1]}` {
		t.Errorf("toJSON() = %s, %v", data, err)
	}
}

func TestAliasBombInAManifestIsAFinding(t *testing.T) {
	if line, message := parseManifest([]byte(bomb())); line == 0 || !strings.Contains(message, "aliases") {
		t.Errorf("parseManifest() = %d, %q", line, message)
	}
}
