package policy

import (
	"cmp"
	"fmt"
)

func (m Member) compare(n Member) int {
	return cmp.Or(m.Address.Compare(n.Address), cmp.Compare(m.Protocol, n.Protocol), cmp.Compare(m.Port, n.Port))
}

// String is the member as `nft` prints it.
func (m Member) String() string {
	if m.Port == 0 {
		return m.Address.String()
	}
	return fmt.Sprintf("%s . %s . %d", m.Address, m.Protocol, m.Port)
}
