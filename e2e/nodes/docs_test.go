package nodes

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// document is what the commands of a page of the documentation are taken from. They are run as they are written, but for
// placeholders: see story.shell.
type document struct {
	path   string
	blocks []*block
}

// block is a fenced block of the language sh.
type block struct {
	heading, script string
	run             bool
}

func readDocument(t *testing.T, root, name string) *document {
	t.Helper()
	data, err := os.ReadFile(filepath.Join(root, name))
	if err != nil {
		t.Fatal(err)
	}
	return &document{path: name, blocks: blocksOf(string(data))}
}

func blocksOf(text string) []*block {
	var blocks []*block
	var current *block
	heading := ""
	for line := range strings.Lines(text) {
		switch {
		case current == nil && strings.HasPrefix(line, "#"):
			heading = strings.TrimSpace(strings.TrimLeft(line, "#"))
		case current == nil && line == "```sh\n":
			current = &block{heading: heading}
		case current != nil && line == "```\n":
			blocks = append(blocks, current)
			current = nil
		case current != nil:
			current.script += line
		}
	}
	return blocks
}

// script returns the only block under a heading that holds a text.
func (d *document) script(t *testing.T, heading, holds string) string {
	t.Helper()
	var found []*block
	for _, b := range d.blocks {
		if b.heading == heading && strings.Contains(b.script, holds) {
			found = append(found, b)
		}
	}
	if len(found) != 1 {
		t.Fatalf("%s has %d blocks of commands with %q under %q, want one", d.path, len(found), holds, heading)
	}
	found[0].run = true
	return found[0].script
}

// missed lists the commands that nobody has run.
func (d *document) missed() []string {
	var missed []string
	for _, b := range d.blocks {
		if !b.run {
			missed = append(missed, fmt.Sprintf("%s, %s:\n%s", d.path, b.heading, b.script))
		}
	}
	return missed
}

func TestBlocksOf(t *testing.T) {
	blocks := blocksOf("# A\n```sh\nx\n# y\n```\n## B\n```\nno\n```\n```sh\nz\n```\n")
	if len(blocks) != 2 || *blocks[0] != (block{heading: "A", script: "x\n# y\n"}) || *blocks[1] != (block{heading: "B", script: "z\n"}) {
		t.Errorf("got %v", blocks)
	}
}
