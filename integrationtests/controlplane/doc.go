// Package controlplane tests the control planes that every other integration test runs on.
package controlplane
