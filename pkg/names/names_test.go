package names

import (
	"strings"
	"testing"
)

func TestHelmRelease(t *testing.T) {
	for in, want := range map[string]string{
		"simple":                             "simple",
		"repo/path/to/app":                   "repo-path-to-app",
		"a//b":                               "a-b",
		"-a-":                                "a",
		"My_Repo/Path":                       "my-repo-path-0820c0ee",
		"assets/driven2/kustomize/fleetDev":  "assets-driven2-kustomize-fleetdev-2946f474",
		"assets/driven2/kustomize/fleetProd": "assets-driven2-kustomize-fleetprod-99f597b0",
		"assets/driven_fleet_yaml_subfolder/helm":                          "assets-driven-fleet-yaml-subfolder-helm-f49dc35c",
		"assets/driven_fleet_yaml_subfolder/helm/test/fleet":               "assets-driven-fleet-yaml-subfolder-helm-test-fl-b676f",
		"opni/fleet-examples/fleets/opni/ui-plugin-operator-crd":           "opni-fleet-examples-fleets-opni-ui-plugin-opera-021f7",
		"long-name-test-shortpath-with@char":                               "long-name-test-shortpath-with-char-031bab5e",
		"long-name-test-shortpath-with+char":                               "long-name-test-shortpath-with-char-21c88393",
		"long-name-test-0.App_\u0020":                                      "long-name-test-0-app-5bf6b3fb",
		"long-name-test--App_-_12.factor":                                  "long-name-test-app-12-factor-0efbac37",
		"bundle.name.example.com":                                          "bundle-name-example-com-645ef821",
		"123456789012345678901234567890123456789012345678901234567890123a": "12345678901234567890123456789012345678901234567-eb12d",
		// Nothing is left of a name without a single letter or digit but its digest.
		"":    md5Hex("")[:24],
		"---": md5Hex("---")[:24],
		"@":   md5Hex("@")[:8],
	} {
		if got := HelmRelease(in); got != want {
			t.Errorf("HelmRelease(%q) = %q, want %q", in, got, want)
		}
	}
}

func TestBundle(t *testing.T) {
	tests := []struct{ repo, folder, want string }{
		{"repo", "", "repo"},
		{"repo", ".", "repo"},
		{"repo", "/", "repo"},
		{"repo", "apps/web", "repo-apps-web"},
		{"repo", "/apps/web/", "repo-apps-web"},
		{"My_Repo", "Path", "my-repo-path-0820c0ee"},
	}
	for _, tt := range tests {
		if got := Bundle(tt.repo, tt.folder); got != tt.want {
			t.Errorf("Bundle(%q, %q) = %q, want %q", tt.repo, tt.folder, got, tt.want)
		}
	}
}

func TestClusterNamespace(t *testing.T) {
	long := strings.Repeat("n", 63)
	tests := []struct{ namespace, name, want string }{
		{"fleet-local", "local", "cluster-fleet-local-local-1a3d67d0a899"},
		{"fleet-default", "c-m-12345", "cluster-fleet-default-c-m-12345-7d157565d313"},
		// A namespace cannot have dots; the digest keeps a.b and a-b apart.
		{"ws", "a.b", "cluster-ws-a-b-" + KeyHash("ws::a.b")},
		{"ws", "a-b", "cluster-ws-a-b-" + KeyHash("ws::a-b")},
		{"ws", long, "cluster-ws-" + strings.Repeat("n", 46) + "-" +
			sha256Hex("cluster-ws-" + long + "-" + KeyHash("ws::"+long))[:5]},
	}
	for _, tt := range tests {
		got := ClusterNamespace(tt.namespace, tt.name)
		if got != tt.want {
			t.Errorf("ClusterNamespace(%q, %q) = %q, want %q", tt.namespace, tt.name, got, tt.want)
		}
		if !IsLabel(got) {
			t.Errorf("ClusterNamespace(%q, %q) = %q is no name for a namespace", tt.namespace, tt.name, got)
		}
	}
}

func TestLimit(t *testing.T) {
	tests := []struct {
		in   string
		n    int
		want string
	}{
		{"1234567", 5, "12345"},
		{"1234567", 6, "123456"},
		{"1234567", 7, "1234567"},
		{"12345678", 7, "1-25d55"},
		{"12345678", 8, "12345678"},
		// The cut is at a "-" already: there is no second one.
		{"1-345678", 8, "1-345678"},
		{"1-3456789", 8, "1-" + md5Hex("1-3456789")[:5]},
		{"", 0, ""},
		{"a", 0, ""},
	}
	for _, tt := range tests {
		if got := Limit(tt.in, tt.n); got != tt.want {
			t.Errorf("Limit(%q, %d) = %q, want %q", tt.in, tt.n, got, tt.want)
		}
	}
}

func TestSafeConcat(t *testing.T) {
	full := strings.Repeat("a", 57) + strings.Repeat("b", 7)
	dash := strings.Repeat("a", 56) + "-" + strings.Repeat("b", 7)
	tests := []struct {
		name  string
		parts []string
		want  string
	}{
		{"nothing", nil, ""},
		{"one part", []string{"a"}, "a"},
		{"several", []string{"a", "b", "c"}, "a-b-c"},
		{"63 bytes stay", []string{strings.Repeat("a", 63)}, strings.Repeat("a", 63)},
		{"64 bytes are cut at 57", []string{full}, strings.Repeat("a", 57) + "-" + sha256Hex(full)[:5]},
		{"or at 56 where the 57th is no letter", []string{dash}, strings.Repeat("a", 56) + "-" + sha256Hex(dash)[:6]},
		{"the digest is that of the whole", []string{full, "x"}, strings.Repeat("a", 57) + "-" + sha256Hex(full + "-x")[:5]},
	}
	for _, tt := range tests {
		if got := SafeConcat(tt.parts...); got != tt.want {
			t.Errorf("%s: SafeConcat = %q, want %q", tt.name, got, tt.want)
		}
	}
}

func TestContent(t *testing.T) {
	for digest, want := range map[string]string{
		"20cc81bbcc13f766848bdc5027b5740c7824ae6051d5295c337e8e6804cf4b91": "s-20cc81bbcc13f766848bdc5027b5740c7824ae6051d5295c337e8e6804cf4",
		"ca3d163bab055381827226140568f3bef7eaac187cebd76878e0b63e9e442356": "s-ca3d163bab055381827226140568f3bef7eaac187cebd76878e0b63e9e442",
	} {
		if got := Content(digest); got != want {
			t.Errorf("Content(%s) = %s, want %s", digest, got, want)
		}
	}
}

func TestOtherNames(t *testing.T) {
	tests := []struct{ what, got, want string }{
		{"RegisteredCluster", RegisteredCluster("id"), "cluster-a56145270ce6"},
		{"RegistrationSecret", RegistrationSecret("i", "d"), "c-a56145270ce6b3bebd1dd012b73948677dd618d496488bc608a3cb43ce354"},
		{"ImportToken", ImportToken("c1"), "import-token-c1"},
		{"AgentBundle", AgentBundle("c1"), "fleet-agent-c1"},
		{"AgentContents", AgentContents("cluster-x"), "fleet-content-cluster-x"},
		{"AgentCluster", AgentCluster("c1"), "fleet-agent-c1"},
		{"AgentRole", AgentRole("cattle-fleet-system"), "cattle-fleet-system-fleet-agent"},
		{"ImageScan", ImageScan("web", 2), "imagescan-web-2"},
		{"Target", Target(0), "target000"},
		{"Target", Target(42), "target042"},
		{"Target", Target(1234), "target1234"},
		{"Release", Release("ns", "web", 3), "ns/web:3"},
		{"ObjectSet", ObjectSet("web", ""), "default-web"},
		{"ObjectSet", ObjectSet("web", "scope"), "default-web-scope"},
		{"ObjectSetHash", ObjectSetHash("abc"), "a9993e364706816aba3e25717850c26c9cd0d89d"},
	}
	for _, tt := range tests {
		if tt.got != tt.want {
			t.Errorf("%s = %q, want %q", tt.what, tt.got, tt.want)
		}
	}
}

func TestKeyHashSeesTheFirst100Bytes(t *testing.T) {
	hundred := strings.Repeat("x", 100)
	if KeyHash(hundred) != KeyHash(hundred+"y") {
		t.Error("the 101st byte counts")
	}
	if KeyHash(hundred) == KeyHash(hundred[:99]+"y") {
		t.Error("the 100th byte does not count")
	}
}

func FuzzHelmRelease(f *testing.F) {
	for _, seed := range []string{"", "a", "My_Repo/Path", "-", "ä", "\x00", strings.Repeat("a-", 60), strings.Repeat("-", 60) + "a"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, s string) {
		got := HelmRelease(s)
		if got != HelmRelease(s) {
			t.Error("not the same name twice")
		}
		if len(got) > maxRelease || !IsLabel(got) {
			t.Errorf("HelmRelease(%q) = %q is no name for a Helm release", s, got)
		}
		if again := HelmRelease(got); again != got {
			t.Errorf("HelmRelease(%q) = %q, which is a name, becomes %q", s, got, again)
		}
	})
}

func FuzzSafeConcat(f *testing.F) {
	f.Add("a", "b")
	f.Add("", "")
	f.Add(strings.Repeat("a", 56)+"-", strings.Repeat("b", 70))
	f.Fuzz(func(t *testing.T, a, b string) {
		got := SafeConcat(a, b)
		if len(got) > maxLabel {
			t.Errorf("SafeConcat(%q, %q) = %q has %d bytes", a, b, got, len(got))
		}
		if IsLabel(a) && IsLabel(b) && !IsLabel(got) {
			t.Errorf("SafeConcat(%q, %q) = %q is no DNS label", a, b, got)
		}
		if whole := a + "-" + b; len(whole) <= maxLabel && got != whole {
			t.Errorf("SafeConcat(%q, %q) = %q", a, b, got)
		}
	})
}

func FuzzLimit(f *testing.F) {
	f.Add("12345678", 7)
	f.Add("a-------b", 8)
	f.Fuzz(func(t *testing.T, s string, n int) {
		if n < 0 {
			t.Skip("a length is not negative")
		}
		got := Limit(s, n)
		if len(got) > n {
			t.Errorf("Limit(%q, %d) = %q has %d bytes", s, n, got, len(got))
		}
		if len(s) <= n && got != s {
			t.Errorf("Limit(%q, %d) = %q, but nothing had to be cut", s, n, got)
		}
	})
}

func FuzzClusterNamespace(f *testing.F) {
	f.Add("fleet-default", "c-m-12345")
	f.Add("fleet-default", "edge.site-1.example.com")
	f.Fuzz(func(t *testing.T, namespace, name string) {
		if !IsLabel(namespace) || !isSubdomain(name) {
			t.Skip("the API server takes no such names")
		}
		if got := ClusterNamespace(namespace, name); !IsLabel(got) {
			t.Errorf("ClusterNamespace(%q, %q) = %q is no name for a namespace", namespace, name, got)
		}
	})
}

// isSubdomain says whether s can be the name of a Cluster.
func isSubdomain(s string) bool {
	if len(s) > 253 {
		return false
	}
	for label := range strings.SplitSeq(s, ".") {
		if !dnsLabel.MatchString(label) {
			return false
		}
	}
	return true
}
