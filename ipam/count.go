package ipam

// Count is how much of a pool is claimed.
type Count struct {
	// Blocks are claimed, and Capacity are there, up to 2^62. Nodes hold them.
	Blocks, Capacity, Nodes int64
}

// maxCapacityBits keeps a capacity a number: an IPv6 pool may have more blocks.
const maxCapacityBits = 62

// Counts are the pools' by name. A block that is being deleted is still claimed.
func Counts(pools []Pool, blocks []Block) map[string]Count {
	counts, holders := make(map[string]Count, len(pools)), make(map[string]map[string]struct{}, len(pools))
	for _, p := range pools {
		counts[p.Name] = Count{Capacity: 1 << min(p.BlockSize-p.CIDR.Bits(), maxCapacityBits)}
		holders[p.Name] = map[string]struct{}{}
	}
	for _, b := range blocks {
		if count, ok := counts[b.Pool]; ok {
			holders[b.Pool][b.Node] = struct{}{}
			count.Blocks++
			count.Nodes = int64(len(holders[b.Pool]))
			counts[b.Pool] = count
		}
	}
	return counts
}
