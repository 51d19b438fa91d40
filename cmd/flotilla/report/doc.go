// Package report makes of the objects of a hub what the command flotilla
// prints: who is targeted and why, what the garbage collector holds or waits
// for, and what is not ready.
//
// A World is what was read of the hub. Targets, GarbageCollection and Status
// are computed from it by the code that the manager decides with, and nothing
// else is read. Each is written as text for people or as JSON for programs;
// the JSON is an interface: fields are added, never renamed or dropped, within
// one APIVersion.
package report

// APIVersion is the version of the JSON form of all reports.
const APIVersion = "cli.flotilla-gitops.github.io/v1"

// TypeMeta says what kind of report a JSON document is.
type TypeMeta struct {
	APIVersion string `json:"apiVersion"`
	Kind       string `json:"kind"`
}

func typeOf(kind string) TypeMeta { return TypeMeta{APIVersion: APIVersion, Kind: kind} }
