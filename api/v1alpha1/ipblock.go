package v1alpha1

import (
	"net/netip"
	"strings"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// ResourceIPBlocks is the plural by which the API serves IPBlock.
const ResourceIPBlocks = "ipblocks"

// FinalizerBlock keeps the name of a block that is being deleted, and so the block, from being claimed. Its node takes it away when it
// returns the block or takes it back; any other may once BlockRest has passed.
const FinalizerBlock = "warren.dev/block"

// IPBlock says that a Node holds a part of an IPPool. It is named after its CIDR (IPBlockName), so the API server lets a block be
// claimed once: who creates the object first holds it. It is owned by its Node and goes with it.
//
// +kubebuilder:object:root=true
// +kubebuilder:resource:scope=Cluster,path=ipblocks,singular=ipblock
// +kubebuilder:printcolumn:name="CIDR",type=string,JSONPath=`.spec.cidr`
// +kubebuilder:printcolumn:name="Pool",type=string,JSONPath=`.spec.pool`
// +kubebuilder:printcolumn:name="Node",type=string,JSONPath=`.spec.nodeName`
// +kubebuilder:printcolumn:name="Mesh address",type=boolean,JSONPath=`.spec.meshAddress`
// +kubebuilder:printcolumn:name="Age",type=date,JSONPath=`.metadata.creationTimestamp`
// +kubebuilder:validation:XValidation:rule="self.metadata.name == self.spec.cidr.replace(':', '-').replace('/', '-')",messageExpression="'the name is the cidr with - for each : and /: ' + self.spec.cidr.replace(':', '-').replace('/', '-')",message="the name is the cidr with - for each : and /"
type IPBlock struct {
	metav1.TypeMeta   `json:",inline"`
	metav1.ObjectMeta `json:"metadata,omitempty"`

	// +required
	Spec IPBlockSpec `json:"spec"`
}

// IPBlockSpec cannot be changed: a block does not move, it is returned and claimed.
//
// +kubebuilder:validation:XValidation:rule="self == oldSelf",message="an IPBlock cannot be changed"
type IPBlockSpec struct {
	// CIDR is the block's addresses, in canonical form.
	//
	// +required
	// +kubebuilder:validation:MaxLength=43
	// +kubebuilder:validation:XValidation:rule="isCIDR(self) && string(cidr(self).masked()) == self",message="cidr is a network in its canonical form, like 10.64.3.64/26 or fd00:64::40/122"
	CIDR string `json:"cidr"`

	// Pool is the name of the IPPool that the block is part of.
	//
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=253
	Pool string `json:"pool"`

	// NodeName is the name of the Node that holds the block.
	//
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=253
	NodeName string `json:"nodeName"`

	// MeshAddress says that the Node's mesh address of this family is the block's second address: the block comes first among the
	// Node's, and is never returned.
	//
	// +optional
	MeshAddress bool `json:"meshAddress,omitempty"`
}

// IPBlockList is a list of IPBlocks.
//
// +kubebuilder:object:root=true
type IPBlockList struct {
	metav1.TypeMeta `json:",inline"`
	metav1.ListMeta `json:"metadata,omitempty"`

	Items []IPBlock `json:"items"`
}

// IPBlockName is the name of a block's IPBlock: its CIDR with - for each : and /. No two CIDRs have one name.
func IPBlockName(cidr netip.Prefix) string {
	return strings.NewReplacer(":", "-", "/", "-").Replace(cidr.Masked().String())
}
