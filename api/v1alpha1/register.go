package v1alpha1

import (
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
)

// GroupVersion is the group and version of all types here.
var GroupVersion = schema.GroupVersion{Group: "warren.dev", Version: "v1alpha1"}

// AddToScheme teaches a scheme the types of this package.
func AddToScheme(scheme *runtime.Scheme) error {
	scheme.AddKnownTypes(GroupVersion,
		&NodeKey{}, &NodeKeyList{},
		&IPPool{}, &IPPoolList{},
		&IPBlock{}, &IPBlockList{},
		&IPReservation{}, &IPReservationList{},
	)
	metav1.AddToGroupVersion(scheme, GroupVersion)
	return nil
}
