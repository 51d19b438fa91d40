package policy

import (
	"fmt"
	"slices"
	"strings"

	fleet "github.com/flotilla-gitops/flotilla/pkg/apis/fleet.cattle.io/v1alpha1"
)

// Verdict is what became of the spec of a GitRepo.
type Verdict struct {
	// Spec has the defaults filled in.
	Spec fleet.GitRepoSpec
	// Refusals say which rules it breaks, and what to do; it is not acted on if
	// there are any.
	Refusals []string
}

// GitRepo fills the defaults into the spec of a GitRepo and checks it.
func (r Rules) GitRepo(spec fleet.GitRepoSpec) Verdict {
	v := Verdict{Spec: spec}
	if v.Spec.ServiceAccount == "" {
		v.Spec.ServiceAccount = r.defaultServiceAccount
	}
	if v.Spec.ClientSecretName == "" {
		v.Spec.ClientSecretName = r.defaultClientSecret
	}
	refuse := func(format string, args ...any) { v.Refusals = append(v.Refusals, fmt.Sprintf(format, args...)) }
	if why := r.serviceAccount(v.Spec.ServiceAccount, r.serviceAccounts.join(r.restricted), "spec.serviceAccount"); why != "" {
		refuse("%s", why)
	}
	if name := v.Spec.ClientSecretName; name != "" && !r.clientSecrets.admits(name) {
		refuse("spec.clientSecretName: %q is not among the names that %s allows (%s): name one of these",
			name, r.clientSecrets, list(r.clientSecrets.names))
	}
	if why := r.repository(spec.Repo); why != "" {
		refuse("%s", why)
	}
	if why := r.targetNamespace(spec.TargetNamespace, "spec.targetNamespace"); why != "" {
		refuse("%s", why)
	}
	return v
}

// Options checks the options that a deployment is to run with, wherever they
// come from, and returns them as the rules have them. ofGitRepo says that the
// bundle is a GitRepo's. The second result says which rule they break; it is
// empty if they break none.
func (r Rules) Options(o fleet.BundleDeploymentOptions, ofGitRepo bool) (fleet.BundleDeploymentOptions, string) {
	accounts := r.serviceAccounts
	if ofGitRepo {
		accounts = accounts.join(r.restricted)
	}
	var refusals []string
	if why := r.serviceAccount(o.ServiceAccount, accounts, "serviceAccount"); why != "" {
		refusals = append(refusals, why)
	}
	if ofGitRepo {
		if why := r.targetNamespace(o.TargetNamespace, "namespace"); why != "" {
			refusals = append(refusals, why)
		}
		if r.selector != nil {
			o.AllowedTargetNamespaceSelector = both(o.AllowedTargetNamespaceSelector, r.selector)
		}
	}
	if r.requireServiceAccount && !r.allowNamespaceCreation {
		never := false
		o.CreateNamespace = &never
	}
	return o, strings.Join(refusals, "; ")
}

// serviceAccount says what is wrong with a service account; nothing if empty.
func (r Rules) serviceAccount(name string, accounts allowed, field string) string {
	switch {
	case name == "" && r.requireServiceAccount:
		return field + ": a Policy of the namespace requires a service account: name one" + among(accounts)
	case name != "" && !accounts.admits(name):
		return fmt.Sprintf("%s: %q is not among the names that %s allows (%s): name one of these", field, name, accounts, list(accounts.names))
	}
	return ""
}

func among(a allowed) string {
	if len(a.names) == 0 {
		return ""
	}
	return " of " + list(a.names)
}

func (r Rules) targetNamespace(name, field string) string {
	switch {
	case len(r.namespaces.by) == 0 && r.selector == nil:
		return ""
	case name == "":
		return field + ": a GitRepoRestriction limits the namespaces to deploy to, so that one must be named" + among(r.namespaces)
	case !r.namespaces.admits(name):
		return fmt.Sprintf("%s: %q is not among the namespaces that %s allows (%s): name one of these", field, name, r.namespaces, list(r.namespaces.names))
	}
	return ""
}

// repository says what is wrong with the address of a repository.
func (r Rules) repository(address string) string {
	if len(r.patterns) == 0 {
		return ""
	}
	var notes, by []string
	for _, p := range r.patterns {
		by = append(by, p.by)
		switch {
		case p.whole == nil:
			notes = append(notes, fmt.Sprintf("%q of %s is no regular expression: correct it", p.text, p.by))
		case p.whole.MatchString(address):
			return ""
		case p.part.MatchString(address):
			notes = append(notes, fmt.Sprintf("%q of %s matches only a part of the address, and patterns must match all of it: write %q, if that is meant", p.text, p.by, p.text+".*"))
		}
	}
	slices.Sort(by)
	text := fmt.Sprintf("spec.repo: the address matches none of the patterns that %s allows: use another repository, or have a pattern added",
		strings.Join(slices.Compact(by), " and "))
	if len(notes) > 0 {
		text += " (" + list(notes) + ")"
	}
	return text
}

// list names the first few.
func list(names []string) string {
	const most = 5
	sorted := slices.Clone(names)
	slices.Sort(sorted)
	sorted = slices.Compact(sorted)
	if len(sorted) > most {
		return strings.Join(sorted[:most], ", ") + ", …"
	}
	return strings.Join(sorted, ", ")
}
