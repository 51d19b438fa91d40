package clusters

import (
	admissionregistrationv1 "k8s.io/api/admissionregistration/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"

	fleet "github.com/flotilla-gitops/flotilla/pkg/apis/fleet.cattle.io/v1alpha1"
	"github.com/flotilla-gitops/flotilla/pkg/names"
)

// agentAdmission returns the policy that keeps agents to their field of the status of a Cluster, which their role can
// only give them as a whole. It concerns nobody but the service accounts of agents.
func agentAdmission() []runtime.Object {
	meta := metav1.ObjectMeta{Name: names.PolicyAgents, Labels: managed()}
	fail := admissionregistrationv1.Fail
	forbidden := metav1.StatusReasonForbidden
	return []runtime.Object{
		&admissionregistrationv1.ValidatingAdmissionPolicy{
			ObjectMeta: meta,
			Spec: admissionregistrationv1.ValidatingAdmissionPolicySpec{
				FailurePolicy: &fail,
				MatchConstraints: &admissionregistrationv1.MatchResources{
					ResourceRules: []admissionregistrationv1.NamedRuleWithOperations{{
						RuleWithOperations: admissionregistrationv1.RuleWithOperations{
							Operations: []admissionregistrationv1.OperationType{admissionregistrationv1.Update},
							Rule: admissionregistrationv1.Rule{
								APIGroups: []string{fleet.GroupName}, APIVersions: []string{"*"}, Resources: []string{"clusters/status"},
							},
						},
					}},
				},
				MatchConditions: []admissionregistrationv1.MatchCondition{{
					Name: "by-an-agent",
					Expression: `request.userInfo.username.startsWith('system:serviceaccount:cluster-') && ` +
						`request.userInfo.username.endsWith(':` + names.Agent + `')`,
				}},
				Variables: []admissionregistrationv1.Variable{
					{Name: "before", Expression: `has(oldObject.status) ? oldObject.status : {}`},
					{Name: "after", Expression: `has(object.status) ? object.status : {}`},
				},
				Validations: []admissionregistrationv1.Validation{{
					Expression: `variables.after.all(f, f == 'agent' || (f in variables.before && variables.before[f] == variables.after[f])) && ` +
						`variables.before.all(f, f == 'agent' || f in variables.after)`,
					Message: "an agent may only change status.agent of its Cluster",
					Reason:  &forbidden,
				}},
			},
		},
		&admissionregistrationv1.ValidatingAdmissionPolicyBinding{
			ObjectMeta: meta,
			Spec: admissionregistrationv1.ValidatingAdmissionPolicyBindingSpec{
				PolicyName:        names.PolicyAgents,
				ValidationActions: []admissionregistrationv1.ValidationAction{admissionregistrationv1.Deny},
			},
		},
	}
}
