package guard

import (
	"errors"
	"fmt"

	"github.com/warren-mesh/warren/internal/nft"
	"github.com/warren-mesh/warren/mesh"
)

// Remove uninstalls: it deletes the table and our accepts in others' chains, and nothing else. It says what it removed, also when
// it could not remove everything.
func Remove() (removed []string, err error) {
	conn, err := nft.Open()
	if err != nil {
		return nil, fmt.Errorf("removing the guard: %w", err)
	}
	defer func() { err = errors.Join(err, conn.Close()) }()

	var errs []error
	chains, err := conn.BaseChains(nft.Forward, mesh.GuardTable)
	if err != nil {
		errs = append(errs, err)
	}
	for _, c := range chains {
		n, _, err := conn.Mark(c, comment, nil)
		if err != nil {
			errs = append(errs, err)
		} else if n > 0 {
			removed = append(removed, fmt.Sprintf("nftables chain %s: %d rules", c, n))
		}
	}
	t, err := conn.Read(nft.INet, mesh.GuardTable)
	if err == nil && t != nil {
		err = conn.Delete(t)
	}
	if err != nil {
		errs = append(errs, err)
	} else if t != nil {
		removed = append(removed, fmt.Sprintf("nftables table %s %s", t.Family, t.Name))
	}
	if len(errs) > 0 {
		return removed, fmt.Errorf("removing the guard: %w", errors.Join(errs...))
	}
	return removed, nil
}
