package registrations

import (
	"fmt"

	admissionregistrationv1 "k8s.io/api/admissionregistration/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"

	fleet "github.com/flotilla-gitops/flotilla/pkg/apis/fleet.cattle.io/v1alpha1"
	"github.com/flotilla-gitops/flotilla/pkg/joining"
	"github.com/flotilla-gitops/flotilla/pkg/names"
)

// admission returns the policy about what those who join may ask: a registration tells the truth about the token that it was
// made with, and is small.
func admission() []runtime.Object {
	meta := metav1.ObjectMeta{Name: names.PolicyRegistrations, Labels: managed()}
	fail := admissionregistrationv1.Fail
	forbidden := metav1.StatusReasonForbidden
	// What Kubernetes puts into the extra fields of a user that has a service account's token.
	const credential = "authentication.kubernetes.io/credential-id"
	return []runtime.Object{
		&admissionregistrationv1.ValidatingAdmissionPolicy{
			ObjectMeta: meta,
			Spec: admissionregistrationv1.ValidatingAdmissionPolicySpec{
				FailurePolicy: &fail,
				MatchConstraints: &admissionregistrationv1.MatchResources{
					ResourceRules: []admissionregistrationv1.NamedRuleWithOperations{{
						RuleWithOperations: admissionregistrationv1.RuleWithOperations{
							Operations: []admissionregistrationv1.OperationType{admissionregistrationv1.Create},
							Rule: admissionregistrationv1.Rule{
								APIGroups: []string{fleet.GroupName}, APIVersions: []string{"*"}, Resources: []string{"clusterregistrations"},
							},
						},
					}},
				},
				MatchConditions: []admissionregistrationv1.MatchCondition{{
					Name:       "by-who-joins",
					Expression: `request.userInfo.username == 'system:serviceaccount:' + request.namespace + ':` + names.Join + `'`,
				}},
				Validations: []admissionregistrationv1.Validation{
					{
						Expression: fmt.Sprintf(`object.metadata.?annotations[?'%s'].orValue('') in request.userInfo.?extra[?'%s'].orValue([])`,
							names.AnnotationCredential, credential),
						Message: "the annotation " + names.AnnotationCredential + " must be the id of the token that the request is made with",
						Reason:  &forbidden,
					},
					{
						Expression: fmt.Sprintf(
							`object.spec.?clientID.orValue('').size() <= %d && object.spec.?clientRandom.orValue('').size() <= %d && object.spec.?clusterLabels.orValue({}).size() <= %d`,
							joining.MaxClientID, joining.MaxClientRandom, joining.MaxLabels),
						Message: fmt.Sprintf("spec.clientID has at most %d characters, spec.clientRandom %d, and spec.clusterLabels has at most %d labels",
							joining.MaxClientID, joining.MaxClientRandom, joining.MaxLabels),
						Reason: &forbidden,
					},
					{
						Expression: `object.spec.?clusterLabels.orValue({}).all(k, k.size() <= 320 && object.spec.clusterLabels[k].size() <= 63) && ` +
							`object.metadata.?labels.orValue({}).size() <= 8 && object.metadata.?annotations.orValue({}).size() <= 2 && ` +
							`object.metadata.?annotations.orValue({}).all(k, object.metadata.annotations[k].size() <= 128) && ` +
							`!has(object.metadata.finalizers) && !has(object.metadata.ownerReferences)`,
						Message: "a registration has few and short labels and annotations, and neither finalizers nor owners",
						Reason:  &forbidden,
					},
				},
			},
		},
		&admissionregistrationv1.ValidatingAdmissionPolicyBinding{
			ObjectMeta: meta,
			Spec: admissionregistrationv1.ValidatingAdmissionPolicyBindingSpec{
				PolicyName:        names.PolicyRegistrations,
				ValidationActions: []admissionregistrationv1.ValidationAction{admissionregistrationv1.Deny},
			},
		},
	}
}
