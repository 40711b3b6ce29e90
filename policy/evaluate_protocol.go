package policy

import "sigs.k8s.io/network-policy-api/apis/v1alpha2"

// anyClusterProtocol says whether the packet is of one of the protocols, and to its port. None are all.
func (q question) anyClusterProtocol(protocols []v1alpha2.ClusterNetworkPolicyProtocol) answer {
	if len(protocols) == 0 {
		return isSo
	}
	found := isNot
	for _, p := range protocols {
		found = max(found, q.clusterProtocol(p))
	}
	return found
}

func (q question) clusterProtocol(p v1alpha2.ClusterNetworkPolicyProtocol) answer {
	fields := 0
	for _, set := range []bool{p.TCP != nil, p.UDP != nil, p.SCTP != nil, p.DestinationNamedPort != ""} {
		if set {
			fields++
		}
	}
	switch {
	case fields != 1:
		return mayBe
	case p.TCP != nil:
		return min(answerOf(q.packet.Protocol == TCP), q.clusterPort(p.TCP.DestinationPort))
	case p.UDP != nil:
		return min(answerOf(q.packet.Protocol == UDP), q.clusterPort(p.UDP.DestinationPort))
	case p.SCTP != nil:
		return min(answerOf(q.packet.Protocol == SCTP), q.clusterPort(p.SCTP.DestinationPort))
	}
	return q.namedPort(p.DestinationNamedPort)
}

// clusterPort says whether the packet goes to the port. Something is always said of it: where nothing is, it was said in words that this
// version of the API does not have.
func (q question) clusterPort(p *v1alpha2.Port) answer {
	switch {
	case p == nil || (p.Number == 0) == (p.Range == nil):
		return mayBe
	case p.Range != nil:
		return q.between(p.Range.Start, p.Range.End)
	}
	return q.between(p.Number, p.Number)
}
