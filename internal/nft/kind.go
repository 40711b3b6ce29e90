package nft

import (
	"github.com/google/nftables"
	"github.com/google/nftables/binaryutil"
)

// keyTypes are the types of the kinds' keys.
var keyTypes = map[Kind]nftables.SetDatatype{
	IPv4Ranges:        nftables.TypeIPAddr,
	IPv6Ranges:        nftables.TypeIP6Addr,
	Interfaces:        nftables.TypeIFName,
	InterfaceMACs:     nftables.MustConcatSetType(nftables.TypeIFName, nftables.TypeEtherAddr),
	IPv4Addresses:     nftables.TypeIPAddr,
	IPv6Addresses:     nftables.TypeIP6Addr,
	IPv4Ports:         nftables.MustConcatSetType(nftables.TypeIPAddr, nftables.TypeInetProto, nftables.TypeInetService),
	IPv6Ports:         nftables.MustConcatSetType(nftables.TypeIP6Addr, nftables.TypeInetProto, nftables.TypeInetService),
	InterfaceIPv4s:    nftables.MustConcatSetType(nftables.TypeIFName, nftables.TypeIPAddr),
	InterfaceIPv6s:    nftables.MustConcatSetType(nftables.TypeIFName, nftables.TypeIP6Addr),
	IPv4Flows:         flowType(nftables.TypeIPAddr),
	IPv6Flows:         flowType(nftables.TypeIP6Addr),
	InterfaceVerdicts: nftables.TypeIFName,
}

func flowType(address nftables.SetDatatype) nftables.SetDatatype {
	return nftables.MustConcatSetType(address, address, nftables.TypeInetProto, nftables.TypeInetService, nftables.TypeInetService)
}

// native says whether the kind's keys begin with a name, which has the host's byte order.
func (k Kind) native() bool {
	switch k {
	case Interfaces, InterfaceMACs, InterfaceIPv4s, InterfaceIPv6s, InterfaceVerdicts:
		return true
	default:
		return false
	}
}

// nft is the set as the library takes it. Concatenations go without their flag, as nft makes them where they are not of ranges.
func (s *Set) nft(t *nftables.Table) *nftables.Set {
	out := &nftables.Set{
		Table: t, Name: s.Name, KeyType: keyTypes[s.Kind], KeyByteOrder: binaryutil.BigEndian,
		Interval: s.Kind.ranges(), HasTimeout: s.Kind.fleeting(),
	}
	if s.Kind.native() {
		out.KeyByteOrder = binaryutil.NativeEndian
	}
	if s.Kind == InterfaceVerdicts {
		out.IsMap, out.DataType = true, nftables.TypeVerdict
	}
	return out
}

// kindOf recognizes the kind of a set that was read.
func kindOf(s *nftables.Set) Kind {
	if s.Constant || s.Dynamic || s.Concatenation {
		return 0
	}
	if s.IsMap {
		// The library loses the key's type where the data is a verdict. Keys of another are none that we want, and do not last.
		if s.KeyType.Name == nftables.TypeVerdict.Name && !s.HasTimeout && !s.Interval {
			return InterfaceVerdicts
		}
		return 0
	}
	for k, t := range keyTypes {
		if k != InterfaceVerdicts && t.Name == s.KeyType.Name && k.ranges() == s.Interval && k.fleeting() == s.HasTimeout {
			return k
		}
	}
	return 0
}
