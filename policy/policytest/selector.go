package policytest

import (
	"fmt"
	"net/netip"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"pgregory.net/rapid"
)

func (d drawer) selector() *metav1.LabelSelector {
	s := &metav1.LabelSelector{}
	if d.unsound("selector") {
		s.MatchExpressions = []metav1.LabelSelectorRequirement{rapid.SampledFrom([]metav1.LabelSelectorRequirement{
			{Key: "app", Operator: "Like", Values: []string{"x"}}, {Key: "app", Operator: metav1.LabelSelectorOpIn},
			{Key: "app", Operator: metav1.LabelSelectorOpExists, Values: []string{"x"}}, {Key: "no key", Operator: metav1.LabelSelectorOpExists},
		}).Draw(d.T, "requirement")}
	}
	for _, k := range keys {
		if d.oneIn(4, "match "+k) {
			if s.MatchLabels == nil {
				s.MatchLabels = map[string]string{}
			}
			s.MatchLabels[k] = rapid.SampledFrom(values).Draw(d.T, "value")
		}
	}
	for range rapid.SampledFrom([]int{0, 0, 0, 1, 2}).Draw(d.T, "expressions") {
		s.MatchExpressions = append(s.MatchExpressions, d.requirement())
	}
	return s
}

func (d drawer) requirement() metav1.LabelSelectorRequirement {
	r := metav1.LabelSelectorRequirement{
		Key: rapid.SampledFrom(keys).Draw(d.T, "key"),
		Operator: rapid.SampledFrom([]metav1.LabelSelectorOperator{
			metav1.LabelSelectorOpIn, metav1.LabelSelectorOpNotIn, metav1.LabelSelectorOpExists, metav1.LabelSelectorOpDoesNotExist,
		}).Draw(d.T, "operator"),
	}
	if r.Operator == metav1.LabelSelectorOpIn || r.Operator == metav1.LabelSelectorOpNotIn {
		r.Values = rapid.SliceOfNDistinct(rapid.SampledFrom(values), 1, len(values), rapid.ID[string]).Draw(d.T, "values")
	}
	return r
}

// cidr draws a network around an address that there may be.
func (d drawer) cidr() string {
	if d.unsound("CIDR") {
		return rapid.SampledFrom([]string{"", "10.0.0.0", "10.0.0.0/33", "::ffff:10.0.0.0/104", "10.00.0.0/8", "fd00::/a"}).Draw(d.T, "CIDR")
	}
	if d.oneIn(6, "all") {
		return rapid.SampledFrom([]string{"0.0.0.0/0", "::/0"}).Draw(d.T, "CIDR")
	}
	a := netip.MustParseAddr(fmt.Sprintf(rapid.SampledFrom([]string{"10.0.0.%d", "fd00::%d", "192.0.2.%d", "198.51.100.%d", "2001:db8::%d"}).Draw(d.T, "address"),
		rapid.IntRange(1, 8).Draw(d.T, "host")))
	return netip.PrefixFrom(a, a.BitLen()-rapid.IntRange(0, 4).Draw(d.T, "host bits")).Masked().String()
}

// exceptions are within the CIDR, as the API server has them.
func (d drawer) exceptions(cidr string) []string {
	block, err := netip.ParsePrefix(cidr)
	if err != nil {
		return nil
	}
	var found []string
	for range rapid.SampledFrom([]int{0, 1, 1, 2}).Draw(d.T, "exceptions") {
		switch {
		case d.unsound("exception"):
			found = append(found, d.cidr(), "10.0.0/8")
		case block.Bits() == 0:
			if inner, err := netip.ParsePrefix(d.cidr()); err == nil && inner.Bits() > 0 && inner.Overlaps(block) {
				found = append(found, inner.String())
			}
		case !block.IsSingleIP():
			found = append(found, d.within(block))
		}
	}
	return found
}

// within draws a smaller network in a block, of which cidr leaves the last few bits open.
func (d drawer) within(block netip.Prefix) string {
	open := block.Addr().BitLen() - block.Bits()
	a := block.Addr().AsSlice()
	a[len(a)-1] |= rapid.Byte().Draw(d.T, "address within") & (1<<open - 1)
	inner, _ := netip.AddrFromSlice(a)
	return netip.PrefixFrom(inner, inner.BitLen()-rapid.IntRange(0, open-1).Draw(d.T, "host bits within")).Masked().String()
}
