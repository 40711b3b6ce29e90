package nft

import "fmt"

// chainText is a chain in words.
type chainText struct {
	name  string
	rules []string
}

// baseText are the base chains, as [Options.baseChains] makes them.
func (o Options) baseText() []chainText {
	fromUnbound, toUnbound := o.deniedText("", unboundEgress, unboundEgress), o.deniedText("", unboundIngress, unboundIngress)
	flow := func(family, set string) string {
		return fmt.Sprintf("%s saddr . %s daddr . meta l4proto . th sport . th dport @%s goto %s", family, family, set, revokedChain)
	}
	settled := []string{flow("ip", revoked4), flow("ip6", revoked6), "ct state established,related accept"}
	forward := append([]string{"type filter hook forward priority filter; policy accept;"}, settled...)
	input := append([]string{"type filter hook input priority filter; policy accept;", `iifname != "` + podLinks + `" accept`}, settled...)
	return []chainText{
		{fromPodChain, append([]string{
			"iifname . ip daddr @" + own4 + " accept", "iifname . ip6 daddr @" + own6 + " accept", "iifname vmap @" + egress,
		}, fromUnbound...)},
		{toPodChain, append([]string{"oifname vmap @" + ingress}, toUnbound...)},
		{revokedChain, o.deniedText("", revokedFlow, revokedFlow)},
		{toNodeChain, append([]string{"iifname vmap @" + toNode}, fromUnbound...)},
		{"forward", append(forward, `iifname "`+podLinks+`" jump `+fromPodChain, `oifname "`+podLinks+`" jump `+toPodChain)},
		{"input", append(input, "icmpv6 type 133-137 accept", "jump "+toNodeChain)},
	}
}

func (o Options) deniedText(match, prefix, counter string) []string {
	drop := fmt.Sprintf("%scounter %s name %q drop", match, "counter", counter)
	if o.LogGroup == 0 {
		return []string{drop}
	}
	return []string{fmt.Sprintf("%slimit rate %d/second burst %d packets log prefix %q group %d", match, perSecond, perSecond, prefix, o.LogGroup), drop}
}
