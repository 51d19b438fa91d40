// The command flotilla shows people what Flotilla does and why. See the package
// cli.
package main

import (
	"context"
	"os"
	"os/signal"
	"syscall"

	"github.com/flotilla-gitops/flotilla/cmd/flotilla/cli"
)

// version is set when a release is built: -ldflags "-X main.version=v1.2.3".
var version string

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	code := cli.Run(ctx, cli.Options{Args: os.Args[1:], In: os.Stdin, Out: os.Stdout, Err: os.Stderr, Version: version})
	stop()
	os.Exit(code)
}
