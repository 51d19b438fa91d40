package harness

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"maps"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"
)

// quietFor is how long nobody may write until the hub counts as quiet. It is longer than what the manager waits to collect
// changes into one status, and longer than a first retry.
const quietFor = 2 * time.Second

// Writes is how often each kind, those of Kubernetes included, was written since the API server started, by verb and plural such as
// "PATCH bundles/status". Refused writes count, too. Leases, Events and reviews do not.
type Writes map[string]int

// Since returns what came on top of an earlier count.
func (w Writes) Since(before Writes) Writes {
	more := Writes{}
	for what, n := range w {
		if n > before[what] {
			more[what] = n - before[what]
		}
	}
	return more
}

// Writes counts the writes of everybody, by the API server's own account.
func (e *Environment) Writes(t testing.TB) Writes {
	t.Helper()
	writes, err := e.writes(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return writes
}

// AwaitQuiet returns when nothing has been written for a while and no namespace of an earlier test is still being emptied, with
// the count at that point: then everything has settled. It is about the whole hub, so a test that needs it does not run
// in parallel with others.
func (e *Environment) AwaitQuiet(t testing.TB) Writes {
	t.Helper()
	var last Writes
	var since time.Time
	Eventually(t, "nothing is written any more", func(ctx context.Context) error {
		if err := e.noNamespaceEnds(ctx); err != nil {
			return err
		}
		now, err := e.writes(ctx)
		if err != nil {
			return err
		}
		if !maps.Equal(now, last) {
			more := now.Since(last)
			last, since = now, time.Now()
			return fmt.Errorf("still writing: %v", more)
		}
		if time.Since(since) < quietFor {
			return errors.New("not quiet for long enough")
		}
		return nil
	})
	return last
}

func (e *Environment) writes(ctx context.Context) (Writes, error) {
	data, err := e.Kubernetes.CoreV1().RESTClient().Get().AbsPath("/metrics").DoRaw(ctx)
	if err != nil {
		return nil, fmt.Errorf("reading the API server's metrics: %w", err)
	}
	return parseWrites(data)
}

func (e *Environment) noNamespaceEnds(ctx context.Context) error {
	namespaces, err := e.Namespaces.List(ctx, "", nil)
	if err != nil {
		return fmt.Errorf("listing namespaces: %w", err)
	}
	for _, ns := range namespaces.Items {
		if ns.DeletionTimestamp != nil {
			return fmt.Errorf("namespace %s is still being emptied", ns.Name)
		}
	}
	return nil
}

func parseWrites(metrics []byte) (Writes, error) {
	label := regexp.MustCompile(`(\w+)="([^"]*)"`)
	writes := Writes{}
	lines := bufio.NewScanner(bytes.NewReader(metrics))
	for lines.Scan() {
		labels, ok := strings.CutPrefix(lines.Text(), "apiserver_request_total{")
		if !ok {
			continue
		}
		of := map[string]string{}
		for _, match := range label.FindAllStringSubmatch(labels, -1) {
			of[match[1]] = match[2]
		}
		if !isWrite(of["verb"]) || of["dry_run"] != "" || isNoise(of["resource"]) {
			continue
		}
		what := of["verb"] + " " + of["resource"]
		if of["subresource"] != "" {
			what += "/" + of["subresource"]
		}
		count, err := strconv.ParseFloat(labels[strings.LastIndexByte(labels, ' ')+1:], 64)
		if err != nil {
			return nil, fmt.Errorf("reading the count of %s: %w", what, err)
		}
		writes[what] += int(count)
	}
	return writes, lines.Err()
}

// isNoise tells of kinds that are written while a hub rests, and of reviews, which write nothing.
func isNoise(resource string) bool {
	return resource == "leases" || resource == "events" || strings.HasSuffix(resource, "reviews")
}

func isWrite(verb string) bool {
	switch verb {
	case "POST", "PUT", "PATCH", "APPLY", "DELETE", "DELETECOLLECTION":
		return true
	}
	return false
}
