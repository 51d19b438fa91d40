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
			got, err := selected(test.wanted, nil)
			if err != nil || !slices.Equal(got, test.want) {
				t.Errorf("got %v, %v; want %v", got, err, test.want)
			}
		})
	}
	if got, err := selected([]Component{"kubelet"}, nil); err == nil {
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

func TestRealNodeTakesThePlaceOfKwok(t *testing.T) {
	c := &Cluster{dir: "/cluster", state: state{
		Name: "hub", Node: &Node{Name: "hub", Address: "198.18.1.2", Host: "198.18.1.1"}, Ports: map[string]int{"apiserver": 20001},
	}}
	var err error
	if c.state.Components, err = selected(nil, c.state.Node); err != nil || slices.Contains(c.state.Components, Kwok) {
		t.Errorf("runs %v, %v", c.state.Components, err)
	}
	if c.URL() != "https://198.18.1.1:20001" {
		t.Errorf("the API server is at %s", c.URL())
	}
	args := strings.Join(append(c.apiserverArgs(), c.controllerManagerArgs()...), " ")
	for _, wanted := range []string{"--bind-address=198.18.1.1 ", "--advertise-address=198.18.1.1 ", "NodeRestriction", "--kubelet-client-key="} {
		if !strings.Contains(args, wanted) {
			t.Errorf("no %q in %s", wanted, args)
		}
	}
	for _, unwanted := range []string{"ServiceAccount,", "-nodelifecycle", "reconciler-type"} {
		if strings.Contains(args, unwanted) {
			t.Errorf("%q in %s", unwanted, args)
		}
	}
}
