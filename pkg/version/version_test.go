package version

import (
	"runtime/debug"
	"strings"
	"testing"
)

func TestDescribe(t *testing.T) {
	info := &debug.BuildInfo{
		Main:     debug.Module{Version: "v1.0.0"},
		Settings: []debug.BuildSetting{{Key: "vcs.revision", Value: "abc"}, {Key: "vcs.modified", Value: "true"}},
	}
	for _, test := range []struct {
		release string
		info    *debug.BuildInfo
		want    string
	}{
		{"", nil, "(devel) go"},
		{"v2.0.0", info, "v2.0.0 commit abc (modified) go"},
		{"", info, "v1.0.0 commit abc (modified) go"},
	} {
		if got := describe(test.release, test.info); !strings.HasPrefix(got, test.want) {
			t.Errorf("got %s, want %s", got, test.want)
		}
	}
	if got := Describe("agent", "v3.0.0"); !strings.HasPrefix(got, "agent v3.0.0 ") {
		t.Errorf("got %s", got)
	}
}
