package v1alpha1

import (
	"crypto/sha256"
	"encoding/hex"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// ResourceNodeKeys is the plural by which the API serves NodeKey.
const ResourceNodeKeys = "nodekeys"

// NodeKey says which Node a WireGuard public key belongs to. It is named after the key (NodeKeyName), so the API server
// lets a key be claimed once: who creates the object first holds the key. It is owned by its Node and goes with it.
//
// +kubebuilder:object:root=true
// +kubebuilder:resource:scope=Cluster,path=nodekeys,singular=nodekey,shortName=nk
// +kubebuilder:printcolumn:name="Node",type=string,JSONPath=`.spec.nodeName`
// +kubebuilder:printcolumn:name="Public key",type=string,JSONPath=`.spec.publicKey`
// +kubebuilder:printcolumn:name="Age",type=date,JSONPath=`.metadata.creationTimestamp`
// +kubebuilder:validation:XValidation:rule="self.metadata.name.matches('^[0-9a-f]{64}$')",message="the name is the SHA-256 of the key's 32 bytes, in lower-case hex"
type NodeKey struct {
	metav1.TypeMeta   `json:",inline"`
	metav1.ObjectMeta `json:"metadata,omitempty"`

	// +required
	Spec NodeKeySpec `json:"spec"`
}

// NodeKeySpec cannot be changed: another key is another NodeKey, and a key does not move to another Node.
type NodeKeySpec struct {
	// PublicKey is the WireGuard public key in base64, as `wg` prints it.
	//
	// +required
	// +kubebuilder:validation:MinLength=44
	// +kubebuilder:validation:MaxLength=44
	// +kubebuilder:validation:Pattern=`^[A-Za-z0-9+/]{42}[AEIMQUYcgkosw048]=$`
	// +kubebuilder:validation:XValidation:rule="self == oldSelf",message="a NodeKey's publicKey cannot be changed"
	PublicKey string `json:"publicKey"`

	// NodeName is the name of the Node whose key it is.
	//
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=253
	// +kubebuilder:validation:XValidation:rule="self == oldSelf",message="a NodeKey's nodeName cannot be changed"
	NodeName string `json:"nodeName"`
}

// NodeKeyList is a list of NodeKeys.
//
// +kubebuilder:object:root=true
type NodeKeyList struct {
	metav1.TypeMeta `json:",inline"`
	metav1.ListMeta `json:"metadata,omitempty"`

	Items []NodeKey `json:"items"`
}

// NodeKeyName is the name of a key's NodeKey: the SHA-256 of its raw bytes in lower-case hex. (Base64 is no object name.)
func NodeKeyName(publicKey [32]byte) string {
	sum := sha256.Sum256(publicKey[:])
	return hex.EncodeToString(sum[:])
}
