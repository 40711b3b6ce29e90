package kube

import (
	"maps"
	"net/netip"
	"slices"
	"unique"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/tools/cache"

	"github.com/warren-mesh/warren/policy"
)

// seenPod is what is kept of one Pod.
type seenPod struct {
	metav1.TypeMeta
	// ObjectMeta has the name, the namespace, the resource version and, of a pod on the own node, the UID.
	metav1.ObjectMeta
	pod policy.Pod
	// ended says that it will not run any more.
	ended bool
}

// DeepCopyObject implements runtime.Object. What a seenPod refers to is never changed.
func (p *seenPod) DeepCopyObject() runtime.Object {
	again := *p
	return &again
}

// listPods lists and watches all Pods that have not ended: to the API server one that ends is deleted from among them.
func (c *Client) listPods() *steady {
	running := fields.AndSelectors(
		fields.OneTermNotEqualSelector("status.phase", string(corev1.PodSucceeded)),
		fields.OneTermNotEqualSelector("status.phase", string(corev1.PodFailed)),
	)
	lists := cache.NewListWatchFromClient(c.reads.CoreV1().RESTClient(), podsResource.Resource, metav1.NamespaceAll, running)
	return c.steady(strain(lists, func(o runtime.Object) runtime.Object { return c.seePod(o) }), podsResource)
}

// seePod is one that knows which pods are on the own node.
func (c *Client) seePod(o runtime.Object) *seenPod {
	seen := seePod(o)
	if p, ok := o.(*corev1.Pod); ok && p.Spec.NodeName == c.node {
		seen.pod.Here, seen.UID = true, p.UID
	}
	return seen
}

// seePod never fails: an address that cannot be read is none.
func seePod(o runtime.Object) *seenPod {
	p, ok := o.(*corev1.Pod)
	if !ok {
		return &seenPod{}
	}
	return &seenPod{
		ObjectMeta: metav1.ObjectMeta{Name: p.Name, Namespace: p.Namespace, ResourceVersion: p.ResourceVersion},
		pod: policy.Pod{
			PodKey: policy.PodKey{Namespace: unique.Make(p.Namespace).Value(), Name: p.Name}, Labels: intern(p.Labels),
			Addresses: podAddresses(&p.Status), Ports: namedPorts(&p.Spec), HostNetwork: p.Spec.HostNetwork,
		},
		ended: p.Status.Phase == corev1.PodSucceeded || p.Status.Phase == corev1.PodFailed,
	}
}

// intern makes one text of what thousands of objects have alike.
func intern(given map[string]string) map[string]string {
	kept := make(map[string]string, len(given))
	for name, value := range given {
		kept[unique.Make(name).Value()] = unique.Make(value).Value()
	}
	return kept
}

func podAddresses(status *corev1.PodStatus) []netip.Addr {
	given := status.PodIPs
	if len(given) == 0 && status.PodIP != "" {
		given = []corev1.PodIP{{IP: status.PodIP}}
	}
	var addrs []netip.Addr
	for _, ip := range given {
		a, err := netip.ParseAddr(ip.IP)
		if a = a.Unmap(); err == nil && a.Zone() == "" && !slices.Contains(addrs, a) {
			addrs = append(addrs, a)
		}
	}
	return addrs
}

// namedPorts are those of the containers that run along with each other.
func namedPorts(spec *corev1.PodSpec) []policy.NamedPort {
	var ports []policy.NamedPort
	add := func(c *corev1.Container) {
		for _, p := range c.Ports {
			protocol, known := protocols[p.Protocol]
			if p.Name == "" || !known || p.ContainerPort < 1 || p.ContainerPort > 65535 {
				continue
			}
			port := policy.NamedPort{Name: unique.Make(p.Name).Value(), Protocol: protocol, Port: uint16(p.ContainerPort)}
			if !slices.Contains(ports, port) {
				ports = append(ports, port)
			}
		}
	}
	for i := range spec.Containers {
		add(&spec.Containers[i])
	}
	for i := range spec.InitContainers {
		if c := &spec.InitContainers[i]; c.RestartPolicy != nil && *c.RestartPolicy == corev1.ContainerRestartPolicyAlways {
			add(c)
		}
	}
	return ports
}

// protocols are by their names in Kubernetes, of which none is TCP.
var protocols = map[corev1.Protocol]policy.Protocol{
	"": policy.TCP, corev1.ProtocolTCP: policy.TCP, corev1.ProtocolUDP: policy.UDP, corev1.ProtocolSCTP: policy.SCTP,
}

func equalPods(a, b policy.Pod) bool {
	return a.PodKey == b.PodKey && a.HostNetwork == b.HostNetwork && a.Here == b.Here && slices.Equal(a.Addresses, b.Addresses) && slices.Equal(a.Ports, b.Ports) &&
		maps.Equal(a.Labels, b.Labels)
}
