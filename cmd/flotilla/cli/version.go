package cli

import (
	"fmt"

	"github.com/spf13/cobra"

	build "github.com/flotilla-gitops/flotilla/pkg/version"
)

func versionCommand(version string) *cobra.Command {
	return &cobra.Command{
		Use:     "version",
		Short:   "Print the version, the commit it was built from, and the version of Go",
		Example: "  flotilla version",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			_, err := fmt.Fprintln(cmd.OutOrStdout(), build.Describe("flotilla", version))
			return err
		},
	}
}
