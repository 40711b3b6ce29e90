package e2e

// probings are the kinds of packets, in both families, each of a flow of its own: WireGuard may join two of one.
func (h *hostilePackets) probings() []probing {
	var all []probing
	for _, f := range []struct {
		family string
		v4     bool
		// Where n1's pods may not go.
		lan, router, metadata, internet, node, local, service, loopback, multicast string
		// Whose nobody's packets are.
		unspecified, linkLocal, friend string
	}{
		{
			"IPv4", true,
			"192.168.50.2", "192.168.50.1", "169.254.169.254", "198.51.100.9", "172.30.0.12", "169.254.169.123", "10.96.0.10",
			"127.0.0.1", "224.0.0.1", "0.0.0.0", "169.254.1.1", "172.30.0.13",
		},
		{
			"IPv6", false,
			"fd77::2", "fd77::1", "fd00:ec2::254", "2001:db8::9", "fd77::3", "fd00:ec2::123", "fd00:10:96::a",
			"::1", "ff02::1", "::", "fe80::99", "2001:db8::13",
		},
	} {
		own, pod := h.of("n1", f.v4, 2), h.pod("n2").Address(f.v4).String()
		to := func(name, to, at string) probing {
			return probing{f.family + " to " + name, own, to, at, theGuard, false}
		}
		from := func(name, from, at string, by shield) probing {
			return probing{f.family + " from " + name, from, pod, at, by, false}
		}
		early := func(p probing) probing {
			p.early = !f.v4
			return p
		}
		all = append(all,
			probing{f.family + " of a pod to a pod", own, pod, "pod", none, false},
			probing{f.family + " to the victim's mesh address", own, h.of("n2", f.v4, 1), "node", none, false},
			to("the victim's LAN", f.lan, "LAN"), to("its metadata service", f.metadata, "LAN"), to("the Internet", f.internet, "LAN"),
			to("the victim's own address", f.node, "node"), to("its address on the LAN", f.router, "node"),
			to("a metadata service on the victim itself", f.local, "node"), to("a service with a pod on the victim", f.service, "pod"),
			to("a third node's pod, by the victim", h.pod("n3").Address(f.v4).String(), "third"),
			to("a multicast group", f.multicast, "lane"), early(to("the victim's loopback", f.loopback, "lane")),
			from("the victim's own pods", h.of("n2", f.v4, 77), "pod", both),
			from("the very pod", pod, "lane", both), // its own kernel takes no packet of its own from elsewhere
			from("the victim's mesh address", h.of("n2", f.v4, 1), "lane", both),
			from("a third node's pod", h.of("n3", f.v4, 77), "pod", wireguard),
			from("a service", f.service, "pod", both), from("the victim's LAN", f.lan, "pod", both),
			from("the Internet", f.internet, "pod", both), from("another node", f.friend, "pod", both),
			from("the victim's own address", f.node, "lane", both), early(from("multicast", f.multicast, "lane", both)),
			early(from("loopback", f.loopback, "lane", both)), from("the unspecified address", f.unspecified, "lane", both),
			from("a link-local address", f.linkLocal, "lane", both),
		)
	}
	return all
}
