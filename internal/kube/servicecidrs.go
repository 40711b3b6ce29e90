package kube

import (
	"net/netip"
	"slices"
	"sync"

	networkingv1 "k8s.io/api/networking/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/client-go/tools/cache"
)

// serviceSet is all ServiceCIDRs.
type serviceSet struct {
	mu     sync.Mutex // guards byName
	byName map[string][]netip.Prefix
}

// listServices lists and watches ServiceCIDRs.
func (c *Client) listServices() *steady {
	resource := networkingv1.SchemeGroupVersion.WithResource("servicecidrs")
	lists := cache.NewListWatchFromClient(c.reads.NetworkingV1().RESTClient(), resource.Resource, metav1.NamespaceAll, fields.Everything())
	return c.steady(lists, resource)
}

// set says whether the CIDRs are different now. One that is being deleted, or not ready, counts like the others: Services
// may still have addresses of it.
func (s *serviceSet) set(c *networkingv1.ServiceCIDR) bool {
	var cidrs []netip.Prefix
	for _, text := range c.Spec.CIDRs {
		// The API server validates them as netip does; one that it let through all the same can hold no Service.
		if p, err := netip.ParsePrefix(text); err == nil {
			cidrs = append(cidrs, p.Masked())
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if old, ok := s.byName[c.Name]; ok && slices.Equal(old, cidrs) {
		return false
	}
	if s.byName == nil {
		s.byName = map[string][]netip.Prefix{}
	}
	s.byName[c.Name] = cidrs
	return true
}

func (s *serviceSet) remove(name string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	_, ok := s.byName[name]
	delete(s.byName, name)
	return ok
}

// snapshot is all CIDRs, sorted, each once.
func (s *serviceSet) snapshot() []netip.Prefix {
	s.mu.Lock()
	defer s.mu.Unlock()
	var cidrs []netip.Prefix
	for _, c := range s.byName {
		cidrs = append(cidrs, c...)
	}
	slices.SortFunc(cidrs, netip.Prefix.Compare)
	return slices.Compact(cidrs)
}
