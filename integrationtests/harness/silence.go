package harness

import (
	"flag"
	"fmt"
	"io"

	"k8s.io/klog/v2"
)

// Silence stops client libraries from complaining of every fault: in tests that cause them, what counts is what comes of it.
func Silence() error {
	flags := flag.NewFlagSet("klog", flag.ContinueOnError)
	klog.InitFlags(flags)
	for name, value := range map[string]string{"logtostderr": "false", "stderrthreshold": "FATAL"} {
		if err := flags.Set(name, value); err != nil {
			return fmt.Errorf("setting klog's %s: %w", name, err)
		}
	}
	klog.SetOutput(io.Discard)
	return nil
}
