package policy

import metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

// StageAnnotation says of a policy at which stage it is. One at StagePreview is evaluated and not enforced.
const (
	StageAnnotation = "warren.dev/stage"
	StagePreview    = "preview"
)

// Previewed says that a policy is not enforced.
func Previewed(policy metav1.Object) bool {
	return policy.GetAnnotations()[StageAnnotation] == StagePreview
}
