package ipam

import (
	"net/netip"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"k8s.io/apimachinery/pkg/labels"
)

func selector(tb testing.TB, text string) labels.Selector {
	tb.Helper()
	s, err := labels.Parse(text)
	if err != nil {
		tb.Fatal(err)
	}
	return s
}

// pool is one for pods and mesh addresses; namespaces is a selector, "-" for none.
func pool(tb testing.TB, name, cidr string, blockSize int, namespaces string) Pool {
	tb.Helper()
	p := Pool{
		Name: name, CIDR: netip.MustParsePrefix(cidr), BlockSize: blockSize, Nodes: labels.Everything(), Pods: true, MeshAddresses: true,
	}
	if namespaces != "-" {
		p.Namespaces = selector(tb, namespaces)
	}
	return p
}

// lands is a node with blocks of four pools, two of them bound to the namespaces of a team.
func lands(t *testing.T) Supply {
	t.Helper()
	s := Supply{Pools: []Pool{
		pool(t, "main", "10.64.0.0/24", 28, "-"), pool(t, "main6", "fd00:64::/112", 124, "-"),
		pool(t, "blue", "10.65.0.0/24", 28, "team=blue"), pool(t, "spare", "10.66.0.0/24", 28, "-"), pool(t, "old", "10.67.0.0/24", 28, "team=old"),
	}}
	s.Pools[4].Disabled = true
	for _, b := range []struct{ pool, cidr string }{
		{"main", "10.64.0.16/28"}, {"main", "10.64.0.32/28"}, {"main6", "fd00:64::10/124"}, {"blue", "10.65.0.0/28"},
	} {
		s.Blocks = append(s.Blocks, Block{CIDR: netip.MustParsePrefix(b.cidr), Pool: b.pool, Node: "n1"})
	}
	return s
}

func TestWhatAPodMayHave(t *testing.T) {
	for name, c := range map[string]struct {
		pod, namespace, labels map[string]string
		want                   []string
		err                    string
	}{
		"nothing asked": {want: []string{"main 10.64.0.16/28 10.64.0.32/28, spare", "main6 fd00:64::10/124"}},
		"a bound namespace": {
			labels: map[string]string{"team": "blue"}, want: []string{"blue 10.65.0.0/28"},
		},
		"the pod's pool": {
			pod: map[string]string{AnnotationPools: "spare"}, want: []string{"spare"},
		},
		"the pod's pools, the best first": {
			pod: map[string]string{AnnotationPools: "spare, main6,main"}, want: []string{"spare, main 10.64.0.16/28 10.64.0.32/28", "main6 fd00:64::10/124"},
		},
		"the namespace's pool": {
			namespace: map[string]string{AnnotationPools: "spare"}, want: []string{"spare"},
		},
		"the pod's before the namespace's": {
			pod: map[string]string{AnnotationPools: "main6"}, namespace: map[string]string{AnnotationPools: "spare"}, want: []string{"main6 fd00:64::10/124"},
		},
		"another's pool": {
			pod: map[string]string{AnnotationPools: "blue"},
			err: `no address for this pod: annotation warren.dev/pools: "blue" is no pool that it may have addresses from; those are: main, main6, spare`,
		},
		"out of a bound namespace": {
			labels: map[string]string{"team": "blue"}, pod: map[string]string{AnnotationPools: "main"},
			err: `no address for this pod: annotation warren.dev/pools: "main" is no pool that it may have addresses from; those are: blue`,
		},
		"a disabled pool": {
			labels: map[string]string{"team": "old"}, err: "no address for this pod: pool old, which it has its IPv4 address from, is disabled",
		},
		"twice": {
			pod: map[string]string{AnnotationPools: "main,main"}, err: `no address for this pod: annotation warren.dev/pools of the pod: "main" is there twice, want each pool once`,
		},
		"an address": {
			pod:  map[string]string{AnnotationIP: "10.64.0.40"},
			want: []string{"main 10.64.0.16/28 10.64.0.32/28, spare = 10.64.0.40", "main6 fd00:64::10/124"},
		},
		"an address of each family": {
			pod:  map[string]string{AnnotationIP: "fd00:64::17, 10.66.0.7"},
			want: []string{"main 10.64.0.16/28 10.64.0.32/28, spare = 10.66.0.7", "main6 fd00:64::10/124 = fd00:64::17"},
		},
		"two of a family": {
			pod: map[string]string{AnnotationIP: "10.64.0.40,10.64.0.41"},
			err: `no address for this pod: annotation warren.dev/ip of the pod: "10.64.0.41" is the second of its family, want one at most`,
		},
		"no address": {
			pod: map[string]string{AnnotationIP: "10.64.0.300"},
			err: `no address for this pod: annotation warren.dev/ip of the pod: "10.64.0.300" is not an IPv4 or IPv6 address, like 10.64.0.7 or fd00:64::7`,
		},
		"an address of a pool that it may not have": {
			pod: map[string]string{AnnotationIP: "10.65.0.3"},
			err: "no address for this pod: annotation warren.dev/ip: 10.65.0.3 is in no pool that it may have addresses from; those are: " +
				"main (10.64.0.0/24), main6 (fd00:64::/112), spare (10.66.0.0/24)",
		},
		"the mesh's": {
			pod: map[string]string{AnnotationIP: "10.64.0.33"},
			err: "no address for this pod: annotation warren.dev/ip: no pod may have 10.64.0.33: of its block 10.64.0.32/28 pods may have 10.64.0.34 to 10.64.0.46",
		},
	} {
		t.Run(name, func(t *testing.T) {
			supply := lands(t)
			got, err := offered(supply, Metadata{Pod: c.pod, Namespace: c.namespace, Labels: c.labels})
			if text := errorText(err); text != c.err {
				t.Fatalf("error %q, want %q", text, c.err)
			}
			if diff := cmp.Diff(c.want, got); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

func TestNoPoolForAPod(t *testing.T) {
	supply := lands(t)
	supply.Pools = supply.Pools[2:3]
	if _, err := offered(supply, Metadata{}); err == nil || !strings.Contains(err.Error(), "no pool is for it") {
		t.Errorf("error %v", err)
	}
	if !supply.Binds() || (Supply{}).Binds() {
		t.Error("whether a pool selects namespaces is wrong")
	}
}

// offered is one text for each family: pools with their blocks, and the address that it must be.
func offered(s Supply, m Metadata) ([]string, error) {
	wish, err := ParseWish(m)
	if err != nil {
		return nil, err
	}
	offers, err := Pools{Wish: wish, Supply: func() Supply { return s }}.Offers(Request{Key: Key{ContainerID: "c", Interface: "eth0"}})
	if err != nil {
		return nil, err
	}
	var texts []string
	for _, o := range offers {
		var pools []string
		for _, name := range o.Pools {
			text := name
			for _, b := range o.Blocks {
				if b.Pool == name {
					text += " " + b.Prefix.String()
				}
			}
			pools = append(pools, text)
		}
		text := strings.Join(pools, ", ")
		if o.Fixed.IsValid() {
			text += " = " + o.Fixed.String()
		}
		texts = append(texts, text)
	}
	return texts, nil
}

func errorText(err error) string {
	if err == nil {
		return ""
	}
	return err.Error()
}
