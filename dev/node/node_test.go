package node

import (
	"net/netip"
	"os"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/yaml"

	"github.com/flotilla-gitops/flotilla/dev/controlplane"
)

func TestNamesOfInterfacesAreNotTooLong(t *testing.T) {
	const longest = 15 // IFNAMSIZ without its end
	c := &Cluster{options: Options{Name: "sixsix", Number: 250}}
	for _, name := range []string{c.bridge(), c.cable()} {
		if len(name) > longest {
			t.Errorf("the kernel refuses the name %s", name)
		}
	}
	network := netip.MustParsePrefix(c.network())
	for _, address := range []string{c.Address(), c.Host()} {
		if !network.Contains(netip.MustParseAddr(address)) {
			t.Errorf("%s is not in %s", address, network)
		}
	}
}

func TestConfigurationIsWholeAndReadable(t *testing.T) {
	c := &Cluster{Cluster: &controlplane.Cluster{}, options: Options{Name: "hub", Number: 1, Dir: t.TempDir()}}
	c.options.Programs.CNIDir = "/usr/lib/cni"
	if err := c.writeConfig(); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"kubelet.yaml", "kube-proxy.yaml", "cni-config/10-pods.conflist", "containerd.toml", "node.json"} {
		data, err := os.ReadFile(c.dir(name))
		if err != nil {
			t.Fatal(err)
		}
		if strings.Contains(string(data), "<no value>") || strings.Contains(string(data), "{{") {
			t.Errorf("%s has holes:\n%s", name, data)
		}
		var content map[string]any
		if err := yaml.Unmarshal(data, &content); !strings.HasSuffix(name, ".toml") && (err != nil || len(content) == 0) {
			t.Errorf("%s cannot be read: %v", name, err)
		}
	}
}

func TestNodeOfTheTimeBeforeIsNotReady(t *testing.T) {
	now := time.Date(2026, 1, 1, 0, 0, 10, 500, time.UTC)
	for _, test := range []struct {
		name   string
		status corev1.ConditionStatus
		heard  time.Time
		want   bool
	}{
		{"heard of after it was started", corev1.ConditionTrue, now.Add(2 * time.Second), true},
		{"in the same second", corev1.ConditionTrue, now.Truncate(time.Second), true},
		{"before", corev1.ConditionTrue, now.Add(-2 * time.Second), false},
		{"not ready", corev1.ConditionFalse, now.Add(2 * time.Second), false},
	} {
		node := &corev1.Node{Status: corev1.NodeStatus{Conditions: []corev1.NodeCondition{
			{Type: corev1.NodeReady, Status: test.status, LastHeartbeatTime: metav1.NewTime(test.heard)},
		}}}
		if got := readySince(node, now); got != test.want {
			t.Errorf("%s: ready is %t", test.name, got)
		}
	}
	if readySince(&corev1.Node{}, now) {
		t.Error("a node that has said nothing is ready")
	}
}
