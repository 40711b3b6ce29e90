package main

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	corev1ac "k8s.io/client-go/applyconfigurations/core/v1"

	"github.com/warren-mesh/warren/crypto/identity"
	"github.com/warren-mesh/warren/mesh"
)

const (
	// maxFleet is how many Nodes there is room for in clusterCIDRs, less what the lab's own take.
	maxFleet = 20000
	// firstSubnet keeps out of the way of the lab's own Nodes' pod CIDRs.
	firstSubnet = 1000
	// images is how many images a kubelet lists at most; they make a Node of 12 KiB.
	images = 50
)

// clusterCIDRs has room for more Nodes than a lab's.
var clusterCIDRs = []netip.Prefix{netip.MustParsePrefix("10.128.0.0/9"), netip.MustParsePrefix("fd00:10:244::/48")}

// member is one Node of the fleet. Everything but its UID follows from its number.
type member struct {
	name  string
	index int
	// uid is the Node's once it was made.
	uid   string
	claim mesh.Claim
}

// newMember is the same for the same number.
func newMember(index int) *member {
	m := &member{name: fmt.Sprintf("m%05d.example.internal", index), index: index}
	random := rand.New(rand.NewPCG(uint64(index), 51820)) //nolint:gosec // nobody has to fail to guess these
	var key identity.PublicKey
	for i := range key {
		key[i] = byte(random.IntN(256)) //nolint:gosec // bounded
	}
	cidrs := m.podCIDRs()
	m.claim = mesh.Claim{
		PublicKey: key, Endpoints: []netip.AddrPort{netip.AddrPortFrom(m.address(0), 51820)}, PodCIDRs: cidrs,
		MeshAddresses: mesh.Addresses(cidrs), Version: "v0.3.0",
	}
	return m
}

// address is on no link: no packet is ever sent there. Another turn is another address.
func (m *member) address(turn int) netip.Addr {
	return netip.AddrFrom4([4]byte{198, byte(18 + turn%2), byte(m.index >> 8), byte(m.index)}) //nolint:gosec // bounded
}

func (m *member) podCIDRs() []netip.Prefix {
	n := firstSubnet + m.index
	v6 := netip.MustParsePrefix("fd00:10:244::/48").Addr().As16()
	v6[6], v6[7] = byte(n>>8), byte(n) //nolint:gosec // bounded
	return []netip.Prefix{
		netip.PrefixFrom(netip.AddrFrom4([4]byte{10, byte(128 + n>>8), byte(n), 0}), 24), //nolint:gosec // bounded
		netip.PrefixFrom(netip.AddrFrom16(v6), 64),
	}
}

// registered is the Node as it is once the controller-manager has given it pod CIDRs.
func (m *member) registered() *corev1.Node {
	node := &corev1.Node{ObjectMeta: metav1.ObjectMeta{
		Name: m.name, Annotations: map[string]string{"node.alpha.kubernetes.io/ttl": "0"},
	}}
	for _, p := range m.podCIDRs() {
		node.Spec.PodCIDRs = append(node.Spec.PodCIDRs, p.String())
	}
	node.Spec.PodCIDR = node.Spec.PodCIDRs[0]
	return node
}

// applied is what the member's agent says of it.
func (m *member) applied() *corev1ac.NodeApplyConfiguration {
	return corev1ac.Node(m.name).WithUID(types.UID(m.uid)).WithAnnotations(m.claim.Annotations())
}

// kubeletMetadata is the patch of labels and annotations as kubelets and cloud providers set them.
func (m *member) kubeletMetadata() ([]byte, error) {
	return json.Marshal(map[string]any{"metadata": map[string]any{
		"labels": map[string]string{
			"beta.kubernetes.io/arch": "amd64", "beta.kubernetes.io/os": "linux", "kubernetes.io/arch": "amd64",
			"kubernetes.io/os": "linux", corev1.LabelHostname: m.name, corev1.LabelInstanceTypeStable: "m6i.4xlarge",
			corev1.LabelTopologyRegion: "eu-central-1", corev1.LabelTopologyZone: fmt.Sprintf("eu-central-1%c", 'a'+m.index%3),
		},
		"annotations": map[string]string{"volumes.kubernetes.io/controller-managed-attach-detach": "true"},
	}})
}

// status is what a kubelet reports whole when it has started.
func (m *member) status() ([]byte, error) {
	quantities := func(reserved string) corev1.ResourceList {
		return corev1.ResourceList{
			corev1.ResourceCPU: resource.MustParse(reserved), corev1.ResourceMemory: resource.MustParse("64389128Ki"),
			corev1.ResourcePods: resource.MustParse("110"), corev1.ResourceEphemeralStorage: resource.MustParse("104779756Ki"),
			"hugepages-1Gi": resource.MustParse("0"), "hugepages-2Mi": resource.MustParse("0"),
		}
	}
	id := fmt.Sprintf("%08x-0000-4000-8000-%012x", m.index, m.index)
	return json.Marshal(map[string]any{"status": corev1.NodeStatus{
		Capacity: quantities("16"), Allocatable: quantities("15890m"), Conditions: conditions(time.Now()), Images: imageList(),
		Addresses: []corev1.NodeAddress{
			{Type: corev1.NodeInternalIP, Address: m.address(0).String()}, {Type: corev1.NodeHostName, Address: m.name},
		},
		DaemonEndpoints: corev1.NodeDaemonEndpoints{KubeletEndpoint: corev1.DaemonEndpoint{Port: 10250}},
		NodeInfo: corev1.NodeSystemInfo{
			MachineID: id, SystemUUID: id, BootID: id, KernelVersion: "6.12.117-cloud-amd64", OSImage: "Debian GNU/Linux 12 (bookworm)",
			ContainerRuntimeVersion: "containerd://2.1.4", KubeletVersion: "v1.34.4", OperatingSystem: "linux", Architecture: "amd64",
		},
	}})
}

// heartbeat is what a kubelet reports when nothing has changed.
func heartbeat(now time.Time) ([]byte, error) {
	type beat struct {
		Type              corev1.NodeConditionType `json:"type"`
		LastHeartbeatTime metav1.Time              `json:"lastHeartbeatTime"`
	}
	var beats []beat
	for _, c := range conditions(now) {
		beats = append(beats, beat{c.Type, c.LastHeartbeatTime})
	}
	return json.Marshal(map[string]any{"status": map[string]any{"conditions": beats}})
}

func conditions(now time.Time) []corev1.NodeCondition {
	at := metav1.NewTime(now)
	condition := func(kind corev1.NodeConditionType, status corev1.ConditionStatus, reason, message string) corev1.NodeCondition {
		return corev1.NodeCondition{
			Type: kind, Status: status, Reason: reason, Message: message, LastHeartbeatTime: at, LastTransitionTime: at,
		}
	}
	return []corev1.NodeCondition{
		condition(corev1.NodeMemoryPressure, corev1.ConditionFalse, "KubeletHasSufficientMemory", "kubelet has sufficient memory available"),
		condition(corev1.NodeDiskPressure, corev1.ConditionFalse, "KubeletHasNoDiskPressure", "kubelet has no disk pressure"),
		condition(corev1.NodePIDPressure, corev1.ConditionFalse, "KubeletHasSufficientPID", "kubelet has sufficient PID available"),
		condition(corev1.NodeReady, corev1.ConditionTrue, "KubeletReady", "kubelet is posting ready status"),
	}
}

// imageList is what makes a Node large.
func imageList() []corev1.ContainerImage {
	list := make([]corev1.ContainerImage, images)
	random := rand.New(rand.NewPCG(1, 2)) //nolint:gosec // the same on every Node, as where a DaemonSet's images are
	for i := range list {
		name := fmt.Sprintf("registry.internal/apps/service-%02d", i)
		var digest [32]byte
		for j := range digest {
			digest[j] = byte(random.IntN(256)) //nolint:gosec // bounded
		}
		list[i] = corev1.ContainerImage{
			Names: []string{fmt.Sprintf("%s@sha256:%x", name, digest), name + ":v1.2.3"}, SizeBytes: random.Int64N(1 << 30),
		}
	}
	return list
}
