package clusters

import (
	"fmt"
	"slices"

	admissionregistrationv1 "k8s.io/api/admissionregistration/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"

	fleet "github.com/flotilla-gitops/flotilla/pkg/apis/fleet.cattle.io/v1alpha1"
	"github.com/flotilla-gitops/flotilla/pkg/names"
)

// agentAdmission returns the policies that keep agents to their field of the status of a Cluster, which their role can only
// give them as a whole, and what they report to a size that hurts nobody. They concern nobody but the service accounts of
// agents.
func agentAdmission() []runtime.Object {
	return slices.Concat(
		agentPolicy(names.PolicyAgents, []admissionregistrationv1.NamedRuleWithOperations{
			on(fleet.GroupName, "clusters/status", admissionregistrationv1.Update),
		}, ownField()),
		agentPolicy(names.PolicyReports, []admissionregistrationv1.NamedRuleWithOperations{
			on(fleet.GroupName, "bundledeployments/status", admissionregistrationv1.Update),
			on("coordination.k8s.io", "leases", admissionregistrationv1.Create, admissionregistrationv1.Update),
		}, bounds()),
	)
}

// ownField allows changes of status.agent of a Cluster only.
func ownField() []admissionregistrationv1.Validation {
	return []admissionregistrationv1.Validation{
		{
			Expression: `variables.after.all(f, f == 'agent' || (f in variables.before && variables.before[f] == variables.after[f])) && ` +
				`variables.before.all(f, f == 'agent' || f in variables.after)`,
			Message: "an agent may only change status.agent of its Cluster",
		},
		{
			Expression: `!has(object.status.agent) || object.status.agent.?namespace.orValue('').size() <= 63`,
			Message:    "status.agent.namespace has at most 63 characters",
		},
	}
}

// Bounds of what an agent may report of one deployment. Agents stay far below; what they report is shown in parts only.
const (
	maxReported  = 50
	maxObjects   = 1000
	maxName      = 320
	maxText      = 32 << 10
	maxPatchText = 64 << 10
)

// bounds keeps reports and heartbeats small.
func bounds() []admissionregistrationv1.Validation {
	deployment := func(expression string) string {
		return "request.resource.resource != 'bundledeployments' || !has(object.status) || (" + expression + ")"
	}
	lease := func(expression string) string {
		return "request.resource.resource != 'leases' || (" + expression + ")"
	}
	named := fmt.Sprintf("o.?kind.orValue('').size() <= %[1]d && o.?apiVersion.orValue('').size() <= %[1]d && "+
		"o.?namespace.orValue('').size() <= %[1]d && o.?name.orValue('').size() <= %[1]d", maxName)
	return []admissionregistrationv1.Validation{
		{
			Expression: deployment(fmt.Sprintf("object.status.?conditions.orValue([]).size() <= %d && "+
				"object.status.?conditions.orValue([]).all(c, c.type.size() <= %d && c.?reason.orValue('').size() <= %d && c.?message.orValue('').size() <= %d)",
				maxReported, maxName, maxName, maxText)),
			Message: "there are too many conditions, or one is too long",
		},
		{
			Expression: deployment(fmt.Sprintf("object.status.?resources.orValue([]).size() <= %d && object.status.?resources.orValue([]).all(o, %s)", maxObjects, named)),
			Message:    "there are too many resources, or a name is too long",
		},
		{
			Expression: deployment(fmt.Sprintf("object.status.?nonReadyStatus.orValue([]).size() <= %d && object.status.?nonReadyStatus.orValue([]).all(o, %s && "+
				"o.?summary.?message.orValue([]).size() <= %d && o.?summary.?message.orValue([]).all(m, m.size() <= %d))", maxReported, named, maxReported, maxText)),
			Message: "nonReadyStatus is too long",
		},
		{
			Expression: deployment(fmt.Sprintf("object.status.?modifiedStatus.orValue([]).size() <= %d && object.status.?modifiedStatus.orValue([]).all(o, %s && "+
				"o.?patch.orValue('').size() <= %d)", maxReported, named, maxPatchText)),
			Message: "modifiedStatus is too long",
		},
		{
			Expression: deployment(fmt.Sprintf("object.status.?release.orValue('').size() <= %[1]d && object.status.?appliedDeploymentID.orValue('').size() <= %[1]d && "+
				"object.status.?display.?deployed.orValue('').size() <= %[2]d && object.status.?display.?monitored.orValue('').size() <= %[2]d && "+
				"object.status.?display.?state.orValue('').size() <= %[1]d", maxName, maxText)),
			Message: "a text is too long",
		},
		{
			Expression: lease("object.metadata.name == '" + names.LeaseAgent + "'"),
			Message:    "an agent has one Lease, " + names.LeaseAgent,
		},
		{
			Expression: lease(fmt.Sprintf("object.metadata.?labels.orValue({}).size() == 0 && object.metadata.?annotations.orValue({}).size() == 0 && "+
				"object.spec.?holderIdentity.orValue('').size() <= %d", maxName)),
			Message: "the Lease of an agent has neither labels nor annotations, and a short holder",
		},
	}
}

func on(group, resource string, operations ...admissionregistrationv1.OperationType) admissionregistrationv1.NamedRuleWithOperations {
	return admissionregistrationv1.NamedRuleWithOperations{RuleWithOperations: admissionregistrationv1.RuleWithOperations{
		Operations: operations,
		Rule: admissionregistrationv1.Rule{
			APIGroups: []string{group}, APIVersions: []string{"*"}, Resources: []string{resource},
		},
	}}
}

// agentPolicy returns a policy about what agents write.
func agentPolicy(
	name string, rules []admissionregistrationv1.NamedRuleWithOperations, validations []admissionregistrationv1.Validation,
) []runtime.Object {
	meta := metav1.ObjectMeta{Name: name, Labels: managed()}
	fail := admissionregistrationv1.Fail
	forbidden := metav1.StatusReasonForbidden
	for i := range validations {
		validations[i].Reason = &forbidden
	}
	return []runtime.Object{
		&admissionregistrationv1.ValidatingAdmissionPolicy{
			ObjectMeta: meta,
			Spec: admissionregistrationv1.ValidatingAdmissionPolicySpec{
				FailurePolicy:    &fail,
				MatchConstraints: &admissionregistrationv1.MatchResources{ResourceRules: rules},
				MatchConditions: []admissionregistrationv1.MatchCondition{{
					Name: "by-an-agent",
					Expression: `request.userInfo.username.startsWith('system:serviceaccount:cluster-') && ` +
						`request.userInfo.username.endsWith(':` + names.Agent + `')`,
				}},
				// Computed where they are asked for.
				Variables: []admissionregistrationv1.Variable{
					{Name: "before", Expression: `has(oldObject.status) ? oldObject.status : {}`},
					{Name: "after", Expression: `has(object.status) ? object.status : {}`},
				},
				Validations: validations,
			},
		},
		&admissionregistrationv1.ValidatingAdmissionPolicyBinding{
			ObjectMeta: meta,
			Spec: admissionregistrationv1.ValidatingAdmissionPolicyBindingSpec{
				PolicyName:        name,
				ValidationActions: []admissionregistrationv1.ValidationAction{admissionregistrationv1.Deny},
			},
		},
	}
}
