//go:build linux

// The node-init is the first process of a real node that dev/node starts: see the package boot.
package main

import (
	"fmt"
	"os"

	"github.com/flotilla-gitops/flotilla/dev/node/boot"
)

func main() {
	if len(os.Args) != 2 {
		fmt.Fprintln(os.Stderr, "usage: node-init CONFIG")
		os.Exit(2)
	}
	config, err := boot.Load(os.Args[1])
	if err == nil {
		err = boot.Run(config)
	}
	fmt.Fprintln(os.Stderr, "node-init:", err)
	os.Exit(1)
}
