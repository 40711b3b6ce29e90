package nft

import "fmt"

// chainText is a chain in words.
type chainText struct {
	name  string
	rules []string
}

// baseText are the base chains, as [Options.baseChains] makes them.
func (o Options) baseText() []chainText {
	from, to, notFrom := `iifname "`+podLinks+`"`, `oifname "`+podLinks+`"`, `iifname != "`+podLinks+`"`
	if o.Theirs {
		from, to, notFrom = "iifname @"+theirLinks, "oifname @"+theirLinks, "iifname != @"+theirLinks
	}
	fromUnbound, toUnbound := o.deniedText("", unboundEgress, unboundEgress), o.deniedText("", unboundIngress, unboundIngress)
	flow := func(family, set string) string {
		return fmt.Sprintf("%s saddr . %s daddr . meta l4proto . th sport . th dport @%s goto %s", family, family, set, revokedChain)
	}
	settled := []string{
		flow("ip", revoked4), flow("ip6", revoked6), "ct state established,related accept", flow("ip", insisting4), flow("ip6", insisting6),
	}
	forward := append([]string{"type filter hook forward priority filter; policy accept;"}, settled...)
	input := append([]string{"type filter hook input priority filter; policy accept;", notFrom + " accept"}, settled...)
	chains := []chainText{
		{fromPodChain, append([]string{
			"iifname . ip daddr @" + own4 + " accept", "iifname . ip6 daddr @" + own6 + " accept", "iifname vmap @" + egress,
		}, fromUnbound...)},
		{toPodChain, append([]string{"oifname vmap @" + ingress}, toUnbound...)},
		{revokedChain, append(insistText(), o.deniedText("", revokedFlow, revokedFlow)...)},
		{toNodeChain, append([]string{"iifname vmap @" + toNode}, fromUnbound...)},
		{"forward", append(forward, from+" jump "+fromPodChain, to+" jump "+toPodChain)},
		{"input", append(input, "icmpv6 type 133-137 accept", "jump "+toNodeChain)},
	}
	if o.Theirs {
		chains = append(chains, chainText{spoofingChain, append([]string{
			"iifname . ip saddr @" + own4 + " accept", "iifname . ip6 saddr @" + own6 + " accept",
			"ip6 saddr fe80::/10 meta l4proto ipv6-icmp accept", "ip6 saddr :: meta l4proto ipv6-icmp accept",
		}, o.deniedText("", spoofed, spoofed)...)},
			chainText{"prerouting", []string{"type filter hook prerouting priority raw; policy accept;", from + " goto " + spoofingChain}})
	}
	return chains
}

// insistText is [insist] in words.
func insistText() (rules []string) {
	for _, ends := range [][2]string{{"s", "d"}, {"d", "s"}} {
		for _, family := range []struct{ name, set string }{{"ip", insisting4}, {"ip6", insisting6}} {
			rules = append(rules, fmt.Sprintf("meta l4proto != tcp update @%[2]s { %[1]s %[3]saddr . %[1]s %[4]saddr . meta l4proto . th %[3]sport . th %[4]sport timeout %.0[5]fm }",
				family.name, family.set, ends[0], ends[1], revokedOther.Minutes()))
		}
	}
	return rules
}

func (o Options) deniedText(match, prefix, counter string) []string {
	drop := fmt.Sprintf("%scounter %s name %q drop", match, "counter", counter)
	if o.LogGroup == 0 {
		return []string{drop}
	}
	return []string{fmt.Sprintf("%slimit rate %d/second burst %d packets log prefix %q group %d", match, perSecond, perSecond, prefix, o.LogGroup), drop}
}
