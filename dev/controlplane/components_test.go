package controlplane

import (
	"slices"
	"strconv"
	"strings"
	"testing"
)

func TestSelectedComponents(t *testing.T) {
	for _, test := range []struct {
		name         string
		wanted, want []Component
	}{
		{"none named means all", nil, allComponents()},
		{"etcd and the API server always run", []Component{Kwok}, []Component{Etcd, APIServer, Kwok}},
		{"in the order of their start", []Component{Scheduler, ControllerManager, Etcd}, []Component{Etcd, APIServer, ControllerManager, Scheduler}},
	} {
		t.Run(test.name, func(t *testing.T) {
			got, err := selected(test.wanted)
			if err != nil || !slices.Equal(got, test.want) {
				t.Errorf("got %v, %v; want %v", got, err, test.want)
			}
		})
	}
	if got, err := selected([]Component{"kubelet"}); err == nil {
		t.Errorf("an unknown component gives %v", got)
	}
}

func TestEveryComponentHasItsOwnAddressInItsFlags(t *testing.T) {
	c := &Cluster{dir: "/cluster", state: state{Name: "hub", Components: allComponents(), Ports: map[string]int{}}}
	for i, name := range portsOf(allComponents()...) {
		c.state.Ports[name] = 20001 + i
	}
	for _, component := range allComponents() {
		spec := c.spec(component)
		if spec.Name != string(component) || len(spec.Args) == 0 {
			t.Errorf("%s is run as %+v", component, spec)
		}
		for _, name := range portsOf(component) {
			port := strconv.Itoa(c.state.Ports[name])
			if !slices.ContainsFunc(spec.Args, func(arg string) bool { return strings.Contains(arg, port) }) {
				t.Errorf("no flag of %s names its port %s: %v", component, port, spec.Args)
			}
		}
	}
}
