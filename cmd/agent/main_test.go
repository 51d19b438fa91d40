package main

import (
	"strings"
	"testing"
	"time"
)

func TestFlagsComeFromTheEnvironmentUnlessGiven(t *testing.T) {
	cmd := command()
	if err := cmd.Flags().Parse([]string{"--retry-max", "2m"}); err != nil {
		t.Fatal(err)
	}
	environment := map[string]string{
		"FLOTILLA_RETRY_MAX": "1m", "FLOTILLA_CONCURRENCY": "4", "FLOTILLA_REQUIRE_SERVICE_ACCOUNT": "true",
	}
	lookup := func(name string) (string, bool) { value, ok := environment[name]; return value, ok }
	if err := fromEnvironment(cmd.Flags(), lookup); err != nil {
		t.Fatal(err)
	}
	retry, _ := cmd.Flags().GetDuration("retry-max")
	concurrency, _ := cmd.Flags().GetInt("concurrency")
	require, _ := cmd.Flags().GetBool("require-service-account")
	if retry != 2*time.Minute || concurrency != 4 || !require {
		t.Errorf("retry-max is %s, concurrency %d, require-service-account %t", retry, concurrency, require)
	}
	environment["FLOTILLA_REQUIRE_SERVICE_ACCOUNT"] = "perhaps"
	if err := fromEnvironment(command().Flags(), lookup); err == nil || !strings.Contains(err.Error(), "FLOTILLA_REQUIRE_SERVICE_ACCOUNT") {
		t.Errorf("a value that is none: %v", err)
	}
}
