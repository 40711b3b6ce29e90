package kube

import (
	"cmp"
	"net/netip"
	"unique"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime"

	"github.com/warren-mesh/warren/mesh"
)

// seenNode is what is kept of one Node: parsed once, when it comes.
type seenNode struct {
	metav1.TypeMeta
	// ObjectMeta has the name, the resource version and, but for a row, the UID; and nothing else.
	metav1.ObjectMeta
	// claim is the Node without its grants.
	claim mesh.Node
	// labels are the Node's, where pools are watched.
	labels labels.Set
	// grants are spec.podCIDRs; nil where the Node was not read whole: a list does, a watch brings its row, or its metadata alone.
	grants *grants
}

// grants are the pod CIDRs of a Node as they were read.
type grants struct {
	// none says that there were none yet, and that they are waited for: not where pools are watched. Else they stay what they are, as long as
	// the Node has its UID.
	none     bool
	prefixes []netip.Prefix
	// problem is what cannot be read of them.
	problem string
	// version is the Node's resource version then.
	version string
}

// sight is how much is seen of a Node.
type sight struct{ pools bool }

// metadata sees a Node's metadata.
func (s sight) metadata(meta *metav1.ObjectMeta) *seenNode {
	seen := seenMetadata(meta)
	if s.pools {
		seen.labels = keepLabels(meta.Labels)
	}
	return seen
}

// whole sees a whole Node.
func (s sight) whole(node *corev1.Node) *seenNode {
	seen := seenWhole(node)
	if s.pools {
		seen.labels = keepLabels(node.Labels)
		seen.grants.none = false
	}
	return seen
}

// keepLabels makes one text of what thousands of Nodes have alike.
func keepLabels(given map[string]string) labels.Set {
	kept := make(labels.Set, len(given))
	for name, value := range given {
		if name != mesh.LabelChanged {
			kept[unique.Make(name).Value()] = unique.Make(value).Value()
		}
	}
	return kept
}

func seenMetadata(meta *metav1.ObjectMeta) *seenNode {
	return &seenNode{
		ObjectMeta: metav1.ObjectMeta{Name: meta.Name, UID: meta.UID, ResourceVersion: meta.ResourceVersion},
		claim: mesh.ParseNode(mesh.Fields{
			Name: meta.Name, UID: string(meta.UID), Created: meta.CreationTimestamp.Time, Annotations: keepAnnotations(meta.Annotations),
		}),
	}
}

func seenWhole(node *corev1.Node) *seenNode {
	seen, granted := seenMetadata(&node.ObjectMeta), mesh.ParseNode(mesh.Fields{PodCIDRs: node.Spec.PodCIDRs})
	seen.grants = &grants{
		none: len(node.Spec.PodCIDRs) == 0, prefixes: granted.Grants, problem: granted.Malformed, version: node.ResourceVersion,
	}
	return seen
}

// isRow says that it is known of a Node only that it is there.
func (n *seenNode) isRow() bool { return n.UID == "" }

// held is the Node as it was read whole.
func (n *seenNode) held() *heldNode { return &heldNode{seen: n, grants: n.grants} }

// with is the Node with these grants.
func (n *seenNode) with(g *grants) *mesh.Node {
	node := n.claim
	node.Grants, node.Malformed = g.prefixes, cmp.Or(g.problem, node.Malformed)
	return &node
}

// DeepCopyObject implements runtime.Object. What a seenNode refers to is never changed.
func (n *seenNode) DeepCopyObject() runtime.Object {
	again := *n
	return &again
}

// seenList is a list of what is kept of objects.
type seenList struct {
	metav1.TypeMeta
	metav1.ListMeta
	Items []runtime.Object
}

// DeepCopyObject implements runtime.Object.
func (l *seenList) DeepCopyObject() runtime.Object {
	again := *l
	again.Items = append([]runtime.Object(nil), l.Items...)
	return &again
}
