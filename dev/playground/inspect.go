package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/flotilla-gitops/flotilla/dev/process"
)

// followInterval is how often a followed log is looked at.
const followInterval = 200 * time.Millisecond

func (p *playground) statusCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "status",
		Short: "List all parts, and whether they run",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			i, err := p.installation(cmd)
			if err != nil {
				return err
			}
			parts, err := i.Parts()
			if err != nil {
				return err
			}
			table := tabwriter.NewWriter(cmd.OutOrStdout(), 0, 0, 3, ' ', 0)
			fmt.Fprintln(table, "PART\tSTATE\tPID\tLOG")
			for _, part := range parts {
				state, pid := "stopped", "-"
				if part.PID != 0 {
					state, pid = "running", fmt.Sprint(part.PID)
				}
				fmt.Fprintf(table, "%s\t%s\t%s\t%s\n", part.Name, state, pid, shorten(part.LogFile))
			}
			return table.Flush()
		},
	}
}

func (p *playground) logsCommand() *cobra.Command {
	var lines int
	var follow bool
	cmd := &cobra.Command{
		Use:   "logs PART",
		Short: "Show the log of a part",
		Args:  cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			i, err := p.installation(cmd)
			if err != nil {
				return err
			}
			part, err := i.Part(args[0])
			if err != nil {
				return err
			}
			tail, err := process.LogTail(part.LogFile, lines)
			if err != nil {
				return err
			}
			fmt.Fprintln(cmd.OutOrStdout(), tail)
			if !follow {
				return nil
			}
			return followFile(cmd.Context(), cmd.OutOrStdout(), part.LogFile)
		},
	}
	cmd.Flags().IntVarP(&lines, "lines", "n", 40, "how many of the last lines to show")
	cmd.Flags().BoolVarP(&follow, "follow", "f", false, "go on showing what is added, until Ctrl-C")
	return cmd
}

// followFile copies what is added to a file until ctx ends.
func followFile(ctx context.Context, out io.Writer, path string) error {
	file, err := os.Open(path)
	if err != nil {
		return fmt.Errorf("following log: %w", err)
	}
	defer func() { _ = file.Close() }()
	if _, err := file.Seek(0, io.SeekEnd); err != nil {
		return fmt.Errorf("following log: %w", err)
	}
	ticker := time.NewTicker(followInterval)
	defer ticker.Stop()
	for {
		if _, err := io.Copy(out, file); err != nil {
			return fmt.Errorf("following log: %w", err)
		}
		select {
		case <-ctx.Done():
			return nil
		case <-ticker.C:
		}
	}
}
