// Package version says what a program was built from.
package version

import (
	"runtime"
	"runtime/debug"
)

// Describe says in one line what this program is. The release is what was stamped into it (-ldflags "-X main.version=v1.2.3");
// without one the version of the module counts, if there is any.
func Describe(program, release string) string {
	info, _ := debug.ReadBuildInfo()
	return program + " " + describe(release, info)
}

// describe is Describe with what Go says of the build; info may be nil.
func describe(release string, info *debug.BuildInfo) string {
	settings := map[string]string{}
	if info != nil {
		for _, s := range info.Settings {
			settings[s.Key] = s.Value
		}
		if release == "" {
			release = info.Main.Version
		}
	}
	if release == "" {
		release = "(devel)"
	}
	text := release
	if commit := settings["vcs.revision"]; commit != "" {
		text += " commit " + commit
		if settings["vcs.modified"] == "true" {
			text += " (modified)"
		}
	}
	return text + " " + runtime.Version() + " " + runtime.GOOS + "/" + runtime.GOARCH
}
