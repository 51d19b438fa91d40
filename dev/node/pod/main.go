// The pod is the program of pods in tests: it waits until it is told to end, and with --http it answers, too. It is also
// what holds the namespaces of every pod of a real node (the "pause" image).
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"net/http"
	"os"
	"os/signal"
	"syscall"
	"time"
)

func main() {
	address := flag.String("http", "", "address that answers every request with the value of --say")
	say := flag.String("say", "ok", "what to answer")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, *address, *say); err != nil {
		fmt.Fprintln(os.Stderr, "pod:", err)
		os.Exit(1) //nolint:gocritic // nothing is deferred that the end of the process does not do
	}
}

func run(ctx context.Context, address, say string) error {
	fmt.Println("says", say)
	if address == "" {
		<-ctx.Done()
		return nil
	}
	server := &http.Server{
		Addr: address, ReadHeaderTimeout: 5 * time.Second,
		Handler: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { fmt.Fprintln(w, say) }),
	}
	defer context.AfterFunc(ctx, func() { _ = server.Close() })()
	if err := server.ListenAndServe(); !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	return nil
}
