package cli

import (
	"fmt"
	"runtime"
	"runtime/debug"

	"github.com/spf13/cobra"
)

func versionCommand(version string) *cobra.Command {
	return &cobra.Command{
		Use:     "version",
		Short:   "Print the version, the commit it was built from, and the version of Go",
		Example: "  flotilla version",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			info, _ := debug.ReadBuildInfo()
			_, err := fmt.Fprintln(cmd.OutOrStdout(), describeBuild(version, info))
			return err
		},
	}
}

// describeBuild says in one line what was built. info may be nil.
func describeBuild(release string, info *debug.BuildInfo) string {
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
	text := "flotilla " + release
	if commit := settings["vcs.revision"]; commit != "" {
		text += " commit " + commit
		if settings["vcs.modified"] == "true" {
			text += " (modified)"
		}
	}
	return text + " " + runtime.Version() + " " + runtime.GOOS + "/" + runtime.GOARCH
}
