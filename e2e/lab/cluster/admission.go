package cluster

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	admissionv1 "k8s.io/api/admissionregistration/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/wait"
)

// kindPolicyBinding is what puts a ValidatingAdmissionPolicy in force.
const kindPolicyBinding = "ValidatingAdmissionPolicyBinding"

const (
	canaryName    = "warren-lab-canary"
	canaryMessage = "the policies before this one are in force"
)

// policiesInForce waits until the API server has taken up every admission policy and binding that it has stored. It does
// so about once a second, all of them together and in the order of their creation, and says nothing of it. So a last one is
// made, asked for, and removed.
func (c *Cluster) policiesInForce(ctx context.Context) (err error) {
	policies := c.client.AdmissionregistrationV1().ValidatingAdmissionPolicies()
	bindings := c.client.AdmissionregistrationV1().ValidatingAdmissionPolicyBindings()
	policy, binding := canary()
	if _, err := policies.Create(ctx, policy, metav1.CreateOptions{}); err != nil {
		return fmt.Errorf("waiting for admission policies: %w", err)
	}
	defer func() { err = errors.Join(err, policies.Delete(ctx, canaryName, metav1.DeleteOptions{})) }()
	if _, err := bindings.Create(ctx, binding, metav1.CreateOptions{}); err != nil {
		return fmt.Errorf("waiting for admission policies: %w", err)
	}
	defer func() { err = errors.Join(err, bindings.Delete(ctx, canaryName, metav1.DeleteOptions{})) }()
	asked := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: canaryName}}
	dryRun := metav1.CreateOptions{DryRun: []string{metav1.DryRunAll}}
	var answer error
	err = wait.PollUntilContextTimeout(ctx, 50*time.Millisecond, 30*time.Second, true, func(ctx context.Context) (bool, error) {
		_, answer = c.client.CoreV1().Namespaces().Create(ctx, asked, dryRun)
		return answer != nil && strings.Contains(answer.Error(), canaryMessage), nil
	})
	if err != nil {
		return errors.Join(fmt.Errorf("waiting for admission policies to be in force: %w", err), answer)
	}
	return nil
}

// canary refuses the Namespace of its own name.
func canary() (*admissionv1.ValidatingAdmissionPolicy, *admissionv1.ValidatingAdmissionPolicyBinding) {
	ignore := admissionv1.Ignore
	name := metav1.ObjectMeta{Name: canaryName}
	return &admissionv1.ValidatingAdmissionPolicy{ObjectMeta: name, Spec: admissionv1.ValidatingAdmissionPolicySpec{
			FailurePolicy: &ignore,
			MatchConstraints: &admissionv1.MatchResources{ResourceRules: []admissionv1.NamedRuleWithOperations{{
				RuleWithOperations: admissionv1.RuleWithOperations{
					Operations: []admissionv1.OperationType{admissionv1.Create},
					Rule:       admissionv1.Rule{APIGroups: []string{""}, APIVersions: []string{"v1"}, Resources: []string{"namespaces"}},
				},
			}}},
			Validations: []admissionv1.Validation{{
				Expression: fmt.Sprintf("object.metadata.name != '%s'", canaryName), Message: canaryMessage,
			}},
		}}, &admissionv1.ValidatingAdmissionPolicyBinding{ObjectMeta: name, Spec: admissionv1.ValidatingAdmissionPolicyBindingSpec{
			PolicyName: canaryName, ValidationActions: []admissionv1.ValidationAction{admissionv1.Deny},
		}}
}
