package policy

import (
	"slices"
	"strings"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"

	fleet "github.com/flotilla-gitops/flotilla/pkg/apis/fleet.cattle.io/v1alpha1"
)

type (
	restriction = fleet.GitRepoRestriction
	policy      = fleet.Policy
)

func meta(name string) metav1.ObjectMeta { return metav1.ObjectMeta{Name: name} }

func TestGitRepo(t *testing.T) {
	const url = "https://git.example/team/web"
	tests := []struct {
		name         string
		restrictions []*restriction
		policies     []*policy
		spec         fleet.GitRepoSpec
		want         []string // parts of the refusals, one for each
		account      string
		secret       string
	}{
		{name: "no rules"},
		{name: "empty rules", restrictions: []*restriction{{}}, policies: []*policy{{}}},
		{name: "defaults are filled in, the first by name", restrictions: []*restriction{
			{ObjectMeta: meta("b"), DefaultServiceAccount: "b", DefaultClientSecretName: "b"}, {ObjectMeta: meta("a"), DefaultServiceAccount: "a"},
		}, account: "a", secret: "b"},
		{name: "defaults leave alone what is named", policies: []*policy{{GitRepo: &fleet.GitRepoPolicy{DefaultServiceAccount: "a", DefaultClientSecretName: "a"}}},
			spec: fleet.GitRepoSpec{ServiceAccount: "mine", ClientSecretName: "mine"}, account: "mine", secret: "mine"},
		{name: "defaults are checked, too", policies: []*policy{{AllowedServiceAccounts: []string{"b"}, GitRepo: &fleet.GitRepoPolicy{DefaultServiceAccount: "a"}}},
			want: []string{`spec.serviceAccount: "a" is not among`}, account: "a"},
		{name: "a service account that is not allowed", restrictions: []*restriction{{ObjectMeta: meta("x"), AllowedServiceAccounts: []string{"b", "a"}}},
			spec: fleet.GitRepoSpec{ServiceAccount: "c"}, want: []string{`"c" is not among the names that GitRepoRestriction x allows (a, b)`}, account: "c"},
		{name: "none passes the list", restrictions: []*restriction{{AllowedServiceAccounts: []string{"b"}}}},
		{name: "none, where one is required", policies: []*policy{{RequireServiceAccount: true, AllowedServiceAccounts: []string{"b"}}},
			want: []string{"requires a service account: name one of b"}},
		{name: "lists of both kinds are joined", restrictions: []*restriction{{AllowedServiceAccounts: []string{"a"}, AllowedClientSecretNames: []string{"a"}}},
			policies: []*policy{{AllowedServiceAccounts: []string{"b"}, GitRepo: &fleet.GitRepoPolicy{AllowedClientSecretNames: []string{"b"}}}},
			spec:     fleet.GitRepoSpec{ServiceAccount: "b", ClientSecretName: "a"}, account: "b", secret: "a"},
		{name: "a client secret that is not allowed", policies: []*policy{{GitRepo: &fleet.GitRepoPolicy{AllowedClientSecretNames: []string{"b"}}}},
			spec: fleet.GitRepoSpec{ClientSecretName: "a"}, want: []string{`spec.clientSecretName: "a"`}, secret: "a"},
		{name: "a pattern that matches", restrictions: []*restriction{{AllowedRepoPatterns: []string{`https://git\.example/team/.*`}}}},
		{name: "of several", restrictions: []*restriction{{AllowedRepoPatterns: []string{"x"}}}, policies: []*policy{{GitRepo: &fleet.GitRepoPolicy{AllowedRepoPatterns: []string{"y", ".*/web"}}}}},
		{name: "a pattern that matches a part", restrictions: []*restriction{{ObjectMeta: meta("x"), AllowedRepoPatterns: []string{"https://git.example/"}}},
			want: []string{`"https://git.example/" of GitRepoRestriction x matches only a part of the address, and patterns must match all of it: write "https://git.example/.*"`}},
		{name: "alternatives are matched as a whole, too", policies: []*policy{{GitRepo: &fleet.GitRepoPolicy{AllowedRepoPatterns: []string{"https://git|web"}}}}, want: []string{"only a part"}},
		{name: "lines are not matched one by one", policies: []*policy{{GitRepo: &fleet.GitRepoPolicy{AllowedRepoPatterns: []string{"(?m)^web$"}}}},
			spec: fleet.GitRepoSpec{Repo: "https://evil.example/x\nweb"}, want: []string{"only a part"}},
		{name: "no regular expression allows nothing", policies: []*policy{{ObjectMeta: meta("p"), GitRepo: &fleet.GitRepoPolicy{AllowedRepoPatterns: []string{"a)|(.*"}}}},
			want: []string{`"a)|(.*" of Policy p is no regular expression`}},
		{name: "a namespace that is not allowed", restrictions: []*restriction{{AllowedTargetNamespaces: []string{"a"}}},
			spec: fleet.GitRepoSpec{TargetNamespace: "b"}, want: []string{`spec.targetNamespace: "b"`}},
		{name: "no namespace", restrictions: []*restriction{{AllowedTargetNamespaces: []string{"a"}}}, want: []string{"one must be named of a"}},
		{name: "no namespace, with a selector", restrictions: []*restriction{{AllowedTargetNamespaceSelector: &metav1.LabelSelector{}}}, want: []string{"one must be named"}},
		{name: "everything at once", restrictions: []*restriction{{AllowedTargetNamespaces: []string{"a"}, AllowedRepoPatterns: []string{"x"}, AllowedServiceAccounts: []string{"a"}}},
			spec: fleet.GitRepoSpec{ServiceAccount: "c"}, want: []string{"spec.serviceAccount", "spec.repo", "spec.targetNamespace"}, account: "c"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if tt.spec.Repo == "" {
				tt.spec.Repo = url
			}
			got := Of(tt.restrictions, tt.policies).GitRepo(tt.spec)
			if got.Spec.ServiceAccount != tt.account || got.Spec.ClientSecretName != tt.secret {
				t.Errorf("service account %q, client secret %q", got.Spec.ServiceAccount, got.Spec.ClientSecretName)
			}
			if len(got.Refusals) != len(tt.want) {
				t.Fatalf("refusals are %q", got.Refusals)
			}
			for i, part := range tt.want {
				if !strings.Contains(got.Refusals[i], part) {
					t.Errorf("%q does not say %q", got.Refusals[i], part)
				}
			}
		})
	}
}

func TestOptions(t *testing.T) {
	yes := true
	options := fleet.BundleDeploymentOptions{ServiceAccount: "a", TargetNamespace: "ns", CreateNamespace: &yes}
	tests := []struct {
		name         string
		restrictions []*restriction
		policies     []*policy
		direct       bool
		want         string
		create       bool
	}{
		{name: "no rules", create: true},
		{name: "an account that a Policy forbids", policies: []*policy{{AllowedServiceAccounts: []string{"b"}}}, direct: true, want: `serviceAccount: "a"`, create: true},
		{name: "an account that a restriction forbids", restrictions: []*restriction{{AllowedServiceAccounts: []string{"b"}}}, want: `serviceAccount: "a"`, create: true},
		{name: "a restriction is for GitRepos", restrictions: []*restriction{{AllowedServiceAccounts: []string{"b"}, AllowedTargetNamespaces: []string{"x"}}}, direct: true, create: true},
		{name: "a namespace that a customization names", restrictions: []*restriction{{AllowedTargetNamespaces: []string{"x"}}}, want: `namespace: "ns"`, create: true},
		{name: "an account is required", policies: []*policy{{RequireServiceAccount: true}}, create: false},
		{name: "and may make namespaces", policies: []*policy{{RequireServiceAccount: true}, {AllowNamespaceCreation: true}}, create: true},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got, why := Of(tt.restrictions, tt.policies).Options(options, !tt.direct)
			if (why == "") != (tt.want == "") || !strings.Contains(why, tt.want) {
				t.Errorf("refused because of %q, want %q", why, tt.want)
			}
			if *got.CreateNamespace != tt.create || !*options.CreateNamespace {
				t.Errorf("createNamespace is %t", *got.CreateNamespace)
			}
		})
	}
}

// TestSelectorsHoldTogether also with what contradicts each other.
func TestSelectorsHoldTogether(t *testing.T) {
	team := func(value string) *restriction {
		return &restriction{ObjectMeta: meta(value), AllowedTargetNamespaceSelector: &metav1.LabelSelector{MatchLabels: map[string]string{"team": value}}}
	}
	open := &restriction{ObjectMeta: meta("z"), AllowedTargetNamespaceSelector: &metav1.LabelSelector{MatchExpressions: []metav1.LabelSelectorRequirement{{Key: "open", Operator: metav1.LabelSelectorOpExists}}}}
	matches := func(set labels.Set, restrictions ...*restriction) bool {
		t.Helper()
		o, _ := Of(restrictions, nil).Options(fleet.BundleDeploymentOptions{TargetNamespace: "x"}, true)
		selector, err := metav1.LabelSelectorAsSelector(o.AllowedTargetNamespaceSelector)
		if err != nil {
			t.Fatal(err)
		}
		return selector.Matches(set)
	}
	if !matches(labels.Set{"team": "a"}, team("a")) || matches(labels.Set{"team": "b"}, team("a")) {
		t.Error("one selector")
	}
	if matches(labels.Set{"team": "a"}, team("a"), open) || !matches(labels.Set{"team": "a", "open": ""}, open, team("a")) {
		t.Error("two selectors")
	}
	if matches(labels.Set{"team": "a"}, team("a"), team("b")) || matches(labels.Set{"team": "b"}, team("a"), team("b")) {
		t.Error("selectors that contradict each other")
	}
}

func TestKey(t *testing.T) {
	a, b := &restriction{ObjectMeta: meta("a"), AllowedRepoPatterns: []string{"x"}}, &restriction{ObjectMeta: meta("b")}
	if Of([]*restriction{a, b}, nil).Key() != Of([]*restriction{b, a.DeepCopy()}, nil).Key() {
		t.Error("the order of the same rules counts")
	}
	keys := []string{Of(nil, nil).Key(), Of([]*restriction{a}, nil).Key(), Of([]*restriction{b}, nil).Key(), Of(nil, []*policy{{RequireServiceAccount: true}}).Key()}
	if slices.Sort(keys); len(slices.Compact(keys)) != 4 || Of(nil, nil).Key() != "" {
		t.Errorf("other rules have the same key: %q", keys)
	}
}
