package v1alpha1

import metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

// ResourceIPReservations is the plural by which the API serves IPReservation.
const ResourceIPReservations = "ipreservations"

// IPReservation keeps addresses from being given to pods. Who has one already keeps it, and a pod that asks for one by its annotation
// warren.dev/ip gets it.
//
// +kubebuilder:object:root=true
// +kubebuilder:resource:scope=Cluster,path=ipreservations,singular=ipreservation
// +kubebuilder:printcolumn:name="CIDRs",type=string,JSONPath=`.spec.cidrs`
// +kubebuilder:printcolumn:name="Age",type=date,JSONPath=`.metadata.creationTimestamp`
type IPReservation struct {
	metav1.TypeMeta   `json:",inline"`
	metav1.ObjectMeta `json:"metadata,omitempty"`

	// +required
	Spec IPReservationSpec `json:"spec"`
}

// IPReservationSpec says which addresses.
type IPReservationSpec struct {
	// CIDRs are the addresses kept out, in canonical form; a single one is a /32 or a /128.
	//
	// +required
	// +listType=set
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=256
	// +kubebuilder:validation:items:MaxLength=43
	// +kubebuilder:validation:XValidation:rule="self.all(c, isCIDR(c) && string(cidr(c).masked()) == c)",message="each is a network in its canonical form, like 10.64.0.7/32 or fd00:64::/64"
	CIDRs []string `json:"cidrs"`
}

// IPReservationList is a list of IPReservations.
//
// +kubebuilder:object:root=true
type IPReservationList struct {
	metav1.TypeMeta `json:",inline"`
	metav1.ListMeta `json:"metadata,omitempty"`

	Items []IPReservation `json:"items"`
}
