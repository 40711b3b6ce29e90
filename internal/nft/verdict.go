package nft

import (
	"encoding/binary"
	"strings"

	"github.com/google/nftables/expr"
	"github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"
)

// returns and goTo are verdicts of elements, as nft writes them.
const (
	returns = "return"
	goTo    = "goto "
)

// InterfaceReturn is an element of a map: the interface's packets go on behind the map's caller.
func InterfaceReturn(i string) Element {
	return Element{First: padded(i, ifNameSize), Verdict: returns}
}

// InterfaceGoto is an element of a map: the interface's packets go on in a chain, at whose end they are behind the map's caller.
func InterfaceGoto(i, chain string) Element {
	return Element{First: padded(i, ifNameSize), Verdict: goTo + chain}
}

// verdict is an element's, nil for one that has none.
func verdict(v string) *expr.Verdict {
	if v == "" {
		return nil
	}
	if chain, ok := strings.CutPrefix(v, goTo); ok {
		return &expr.Verdict{Kind: expr.VerdictGoto, Chain: chain}
	}
	return &expr.Verdict{Kind: expr.VerdictReturn}
}

// verdictOf reads what a map holds under a key. What is none of ours is something that is never wanted.
func verdictOf(k Kind, data []byte) string {
	if k != InterfaceVerdicts {
		return ""
	}
	const other = "other"
	d, err := netlink.NewAttributeDecoder(data)
	if err != nil {
		return other
	}
	d.ByteOrder = binary.BigEndian
	code, chain := expr.VerdictKind(0), ""
	for d.Next() {
		switch d.Type() {
		case unix.NFTA_VERDICT_CODE:
			code = expr.VerdictKind(int32(d.Uint32())) //nolint:gosec // the kernel's verdicts of nftables are negative
		case unix.NFTA_VERDICT_CHAIN:
			chain = d.String()
		}
	}
	switch {
	case d.Err() != nil:
		return other
	case code == expr.VerdictGoto:
		return goTo + chain
	case code == expr.VerdictReturn:
		return returns
	}
	return other
}
