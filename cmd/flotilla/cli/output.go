package cli

import (
	"encoding/json"
	"fmt"
	"io"

	"github.com/spf13/cobra"
	"k8s.io/cli-runtime/pkg/printers"
)

// Forms of output.
const (
	formText = ""
	formJSON = "json"
)

// outputFlag is the form of a report: text for people or JSON for programs.
type outputFlag string

func addOutputFlag(cmd *cobra.Command) *outputFlag {
	f := new(outputFlag)
	cmd.Flags().VarP(f, "output", "o", `"json" for programs (default: text for people)`)
	return f
}

// String, Set and Type make it a flag that refuses other forms.
func (f *outputFlag) String() string { return string(*f) }

// Set takes the form from the command line.
func (f *outputFlag) Set(form string) error {
	if form != formText && form != formJSON {
		return fmt.Errorf(`the only form is %q`, formJSON)
	}
	*f = outputFlag(form)
	return nil
}

// Type is what help calls the value.
func (f *outputFlag) Type() string { return "form" }

// print writes the report in the form that was asked for.
func (f *outputFlag) print(cmd *cobra.Command, report any, text func(out io.Writer, colour bool) error) error {
	out := cmd.OutOrStdout()
	if *f == formText {
		return text(out, printers.AllowsColorOutput(out))
	}
	encoder := json.NewEncoder(out)
	encoder.SetIndent("", "  ")
	encoder.SetEscapeHTML(false)
	if err := encoder.Encode(report); err != nil {
		return fmt.Errorf("writing JSON: %w", err)
	}
	return nil
}
