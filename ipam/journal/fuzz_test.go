package journal

import (
	"net/netip"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/warren-mesh/warren/ipam"
)

// FuzzDecode: whatever the file holds, it is refused or read as leases none of which has an address of another's, and what is written from
// them reads as the same.
func FuzzDecode(f *testing.F) {
	table := ipam.New()
	_ = table.Grant(ipam.Lease{Request: request(1), Addresses: []netip.Addr{netip.MustParseAddr("10.244.3.2")}, Since: now})
	_ = table.Free(ipam.Freed{Address: netip.MustParseAddr("10.244.3.3"), At: now})
	content, _, err := encode(table)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(content)
	f.Add(content[:len(content)-5])
	f.Add([]byte(header))
	f.Add([]byte(header + "00000000 {}\n"))
	f.Fuzz(func(t *testing.T, content []byte) {
		table, whole, _, err := decode(content)
		if err != nil {
			return
		}
		if whole > len(content) {
			t.Fatalf("%d bytes of %d are whole", whole, len(content))
		}
		seen := map[netip.Addr]bool{}
		for _, l := range table.Leases() {
			for _, a := range l.Addresses {
				if seen[a] {
					t.Fatalf("%s is leased twice", a)
				}
				seen[a] = true
			}
		}
		again, _, err := encode(table)
		if err != nil {
			t.Fatal(err)
		}
		same, whole, _, err := decode(again)
		if err != nil || whole != len(again) {
			t.Fatalf("what was written from it: %v", err)
		}
		if diff := cmp.Diff(sorted(table.Leases()), sorted(same.Leases()), equal); diff != "" {
			t.Fatalf("leases (-first +second):\n%s", diff)
		}
	})
}
