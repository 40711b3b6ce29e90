package v1alpha1

import metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

// ResourceIPPools is the plural by which the API serves IPPool.
const ResourceIPPools = "ippools"

// IPPool is addresses that nodes claim in blocks. Pools do not overlap each other.
//
// +kubebuilder:object:root=true
// +kubebuilder:subresource:status
// +kubebuilder:resource:scope=Cluster,path=ippools,singular=ippool
// +kubebuilder:printcolumn:name="CIDR",type=string,JSONPath=`.spec.cidr`
// +kubebuilder:printcolumn:name="Block size",type=integer,JSONPath=`.spec.blockSize`
// +kubebuilder:printcolumn:name="Blocks",type=integer,JSONPath=`.status.blocks`
// +kubebuilder:printcolumn:name="Of",type=integer,JSONPath=`.status.capacity`
// +kubebuilder:printcolumn:name="Disabled",type=boolean,JSONPath=`.spec.disabled`
// +kubebuilder:printcolumn:name="Age",type=date,JSONPath=`.metadata.creationTimestamp`
type IPPool struct {
	metav1.TypeMeta   `json:",inline"`
	metav1.ObjectMeta `json:"metadata,omitempty"`

	// +required
	Spec IPPoolSpec `json:"spec"`
	// +optional
	Status IPPoolStatus `json:"status,omitzero"`
}

// IPPoolUse is what a pool's addresses may be for.
//
// +kubebuilder:validation:Enum=Pods;MeshAddresses
type IPPoolUse string

// What a pool's addresses may be for.
const (
	UsePods IPPoolUse = "Pods"
	// UseMeshAddresses is that a node may have its mesh address, the first of a block, from the pool.
	UseMeshAddresses IPPoolUse = "MeshAddresses"
)

// IPPoolSpec says which addresses, and who may have them.
//
// +kubebuilder:validation:XValidation:rule="!isCIDR(self.cidr) || self.blockSize >= cidr(self.cidr).prefixLength()",fieldPath=".blockSize",message="blockSize is the prefix length of blocks of the cidr: at least the cidr's own"
// +kubebuilder:validation:XValidation:rule="!isCIDR(self.cidr) || self.blockSize <= (cidr(self.cidr).ip().family() == 4 ? 30 : 126)",fieldPath=".blockSize",message="blockSize is at most 30 for IPv4 and 126 for IPv6: a block is four addresses at least; 26 and 122 are usual"
type IPPoolSpec struct {
	// CIDR is the pool's addresses, of one family, like 10.64.0.0/16 or fd00:64::/48.
	//
	// +required
	// +kubebuilder:validation:MaxLength=43
	// +kubebuilder:validation:XValidation:rule="isCIDR(self) && string(cidr(self).masked()) == self",message="cidr is a network in its canonical form, like 10.64.0.0/16 or fd00:64::/48"
	// +kubebuilder:validation:XValidation:rule="self == oldSelf",message="a pool's cidr cannot be changed"
	CIDR string `json:"cidr"`

	// BlockSize is the prefix length of the blocks that nodes claim, like 26 or 122. A node claims another where one is full. It has no
	// default: what would be right depends on the family.
	//
	// +required
	// +kubebuilder:validation:Minimum=8
	// +kubebuilder:validation:Maximum=126
	// +kubebuilder:validation:XValidation:rule="self == oldSelf",message="a pool's blockSize cannot be changed"
	BlockSize int32 `json:"blockSize"`

	// NodeSelector says which Nodes may claim blocks; all where it is not given.
	//
	// +optional
	NodeSelector *metav1.LabelSelector `json:"nodeSelector,omitempty"`

	// NamespaceSelector binds namespaces to the pool: their pods have addresses from pools that select them and from no other, and no
	// other pods have addresses from this one. Where it is not given, the pool is for all namespaces that no pool selects.
	//
	// +optional
	NamespaceSelector *metav1.LabelSelector `json:"namespaceSelector,omitempty"`

	// NATOutgoing says that packets of the pool's pods that leave the cluster have their node's address.
	//
	// +optional
	// +kubebuilder:default=true
	NATOutgoing *bool `json:"natOutgoing,omitempty"`

	// Disabled keeps nodes from claiming blocks, and pods from new addresses. What is in use stays.
	//
	// +optional
	Disabled bool `json:"disabled,omitempty"`

	// AllowedUses is what the addresses may be for.
	//
	// +optional
	// +listType=set
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:default={Pods,MeshAddresses}
	AllowedUses []IPPoolUse `json:"allowedUses,omitempty"`
}

// IPPoolStatus counts, as of the last claim or return of a block. Whoever made it wrote this.
type IPPoolStatus struct {
	// Blocks is how many are claimed, and Capacity how many there are, up to 2^62.
	//
	// +optional
	// +kubebuilder:validation:Minimum=0
	Blocks int64 `json:"blocks"`
	// +optional
	// +kubebuilder:validation:Minimum=0
	Capacity int64 `json:"capacity"`
	// Nodes is how many Nodes hold them.
	//
	// +optional
	// +kubebuilder:validation:Minimum=0
	Nodes int64 `json:"nodes"`
}

// IPPoolList is a list of IPPools.
//
// +kubebuilder:object:root=true
type IPPoolList struct {
	metav1.TypeMeta `json:",inline"`
	metav1.ListMeta `json:"metadata,omitempty"`

	Items []IPPool `json:"items"`
}
