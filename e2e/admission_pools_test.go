package e2e

import (
	"context"
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/rest"

	"github.com/warren-mesh/warren/api/v1alpha1"
)

// What the API server answers about pools and blocks.
const (
	// by the admission policies
	apart         = "pools have to be apart"
	inUse         = "IPPool v4 is in use: Node n"
	badOperator   = "an operator is In or NotIn, with values, or Exists or DoesNotExist, without"
	notItsBlock   = "an agent may write only IPBlocks of the Node that its token is bound to"
	oneBlockOwner = "an IPBlock has one owner, its Node"
	itsFinalizer  = "an agent makes an IPBlock with the finalizer warren.dev/block and no other"
	ownerAndFinal = "of its Node's IPBlock an agent may change only the owner and the finalizer, of another's only the finalizer"
	outsidePool   = "is outside"
	notItsSize    = "is no block of IPPool v4, whose blockSize is 26"
	poolDisabled  = "IPPool off is disabled"
	boundToken    = "an agent's token has to be bound to a Node"

	// by the schema
	unchangeable = "cannot be changed"
	canonical    = "cidr is a network in its canonical form"
	wrongName    = "the name is the cidr with - for each : and /"
)

// pool is an IPPool's body.
func pool(name, spec string) string {
	return fmt.Sprintf(`{"apiVersion":"warren.dev/v1alpha1","kind":"IPPool","metadata":{"name":%q},"spec":{%s}}`, name, spec)
}

// block is an IPBlock's body: a node's of a pool, with more in its metadata.
func block(cidr, pool, node, meta string) string {
	return blockNamed(v1alpha1.IPBlockName(netip.MustParsePrefix(cidr)), cidr, pool, node, meta)
}

func blockNamed(name, cidr, pool, node, meta string) string {
	return fmt.Sprintf(`{"apiVersion":"warren.dev/v1alpha1","kind":"IPBlock","metadata":{"name":%q%s},"spec":{"cidr":%q,"pool":%q,"nodeName":%q}}`,
		name, meta, cidr, pool, node)
}

// poolsAdmission is what operators, agents and kubelets may do to pools and blocks. n1 and n2 have these UIDs.
func poolsAdmission(ctx context.Context, t *testing.T, clients map[string]rest.Interface, uid1, uid2 string) {
	t.Helper()
	for _, a := range []attempt{
		{admin, "create", "ippools", pool("v4", `"cidr":"10.64.0.0/16","blockSize":26`), allowed},
		{admin, "create", "ippools", pool("v6", `"cidr":"fd00:64::/48","blockSize":122`), allowed},
		{admin, "create", "ippools", pool("off", `"cidr":"10.65.0.0/16","blockSize":26,"disabled":true`), allowed},
	} {
		a.check(ctx, t, clients)
	}
	for _, cidr := range []string{"10.64.0.0/16", "10.65.0.0/16"} {
		attempt{admin, "create", "ippools", pool("late", fmt.Sprintf(`"cidr":%q,"blockSize":26`, cidr)), apart}.await(ctx, t, clients)
	}
	attempt{admin, "create", "ippools", pool("late", `"cidr":"fd00:64::/48","blockSize":122`), apart}.await(ctx, t, clients)
	for _, a := range poolAttempts() {
		a.check(ctx, t, clients)
	}
	// It is said in managedFields, and done nowhere.
	meta := attempt{agent1, "merge", "ippools/v4/status", `{"metadata":{"labels":{"a":"b"},"finalizers":["example.dev/a"]}}`, allowed}
	meta.check(ctx, t, clients)
	if v4 := meta.stored(ctx, t, clients[admin]); len(v4.GetLabels())+len(v4.GetFinalizers()) != 0 {
		t.Errorf("through its status, a pool got the labels %q and finalizers %q", v4.GetLabels(), v4.GetFinalizers())
	}
	for _, a := range blockAttempts(uid1, uid2) {
		a.check(ctx, t, clients)
	}
	attempt{admin, "delete", "ippools/v4", "", inUse}.await(ctx, t, clients)
	attempt{admin, "delete", "ippools/v4", "", inUse}.check(ctx, t, clients)
	attempt{admin, "delete", "ippools/off", "", allowed}.check(ctx, t, clients)
}

// await waits until the attempt would be answered as wanted: the API server hears of pools and blocks a little later than it has them.
func (a attempt) await(ctx context.Context, t *testing.T, clients map[string]rest.Interface) {
	t.Helper()
	eventually(ctx, t, 30*time.Second, func() error {
		request, err := a.request(clients[a.who], a.stored(ctx, t, clients[admin]))
		if err == nil {
			err = request.Param("dryRun", metav1.DryRunAll).Do(ctx).Error()
		}
		if answer := fmt.Sprint(err); !strings.Contains(answer, a.want) {
			return fmt.Errorf("%s: %s %s %s: error %s, want %q", a.who, a.verb, a.path, a.body, answer, a.want)
		}
		return nil
	})
}

func poolAttempts() []attempt {
	return []attempt{
		// Around, inside and the same as another; beside it. Its own name is no other. Of several pools that one overlaps, any may be named.
		{admin, "create", "ippools", pool("a", `"cidr":"10.64.0.0/15","blockSize":26`), apart},
		{admin, "create", "ippools", pool("a", `"cidr":"10.0.0.0/8","blockSize":26`), apart},
		{admin, "create", "ippools", pool("a", `"cidr":"10.64.128.0/17","blockSize":26`), "10.64.128.0/17 overlaps 10.64.0.0/16 of IPPool v4"},
		{admin, "create", "ippools", pool("a", `"cidr":"10.64.0.0/16","blockSize":28`), apart},
		{admin, "create", "ippools", pool("a", `"cidr":"fd00:64::/64","blockSize":122`), apart},
		{admin, "create", "ippools", pool("v4", `"cidr":"10.64.0.0/16","blockSize":26`), "already exists"},
		{admin, "create", "ippools", pool("beside", `"cidr":"10.66.0.0/16","blockSize":26`), allowed},
		{admin, "apply", "ippools/v4", pool("v4", `"cidr":"10.64.0.0/16","blockSize":26,"natOutgoing":false`), allowed},

		// Bad ones, and what is said of them.
		{admin, "create", "ippools", pool("a", `"cidr":"10.70.0.1/16","blockSize":26`), canonical},
		{admin, "create", "ippools", pool("a", `"cidr":"10.70.0.0","blockSize":26`), canonical},
		{admin, "create", "ippools", pool("a", `"cidr":"FD00:70::/48","blockSize":122`), canonical},
		{admin, "create", "ippools", pool("a", `"cidr":"::ffff:10.70.0.0/112","blockSize":122`), canonical},
		{admin, "create", "ippools", pool("a", `"cidr":"10.70.0.0/16"`), "spec.blockSize: Required value"},
		{admin, "create", "ippools", pool("a", `"cidr":"10.70.0.0/16","blockSize":15`), `spec.blockSize: Invalid value: "object": blockSize is the prefix length of blocks of the cidr: at least the cidr's own`},
		{admin, "create", "ippools", pool("a", `"cidr":"10.70.0.0/16","blockSize":31`), "blockSize is at most 30 for IPv4"},
		{admin, "create", "ippools", pool("a", `"cidr":"fd00:70::/48","blockSize":127`), "spec.blockSize"},
		{admin, "create", "ippools", pool("a", `"cidr":"10.70.0.0/16","blockSize":26,"allowedUses":[]`), "spec.allowedUses"},
		{admin, "create", "ippools", pool("a", `"cidr":"10.70.0.0/16","blockSize":26,"allowedUses":["Services"]`), `supported values: "Pods", "MeshAddresses"`},
		{admin, "create", "ippools", pool("a", `"cidr":"10.70.0.0/16","blockSize":26,"nodeSelector":{"matchExpressions":[{"key":"a","operator":"Equals","values":["b"]}]}`), "spec.nodeSelector.matchExpressions: " + badOperator},
		{admin, "create", "ippools", pool("a", `"cidr":"10.70.0.0/16","blockSize":26,"namespaceSelector":{"matchExpressions":[{"key":"a","operator":"In"}]}`), "spec.namespaceSelector.matchExpressions: " + badOperator},
		{admin, "merge", "ippools/v4", `{"spec":{"nodeSelector":{"matchExpressions":[{"key":"a","operator":"Exists","values":["b"]}]}}}`, badOperator},
		{admin, "merge", "ippools/v4", `{"spec":{"cidr":"10.71.0.0/16"}}`, "a pool's cidr " + unchangeable},
		{admin, "merge", "ippools/v4", `{"spec":{"blockSize":27}}`, "a pool's blockSize " + unchangeable},
		{admin, "create", "ipreservations", `{"apiVersion":"warren.dev/v1alpha1","kind":"IPReservation","metadata":{"name":"a"},"spec":{"cidrs":["10.64.0.7/32","10.64.0.9"]}}`, "each is a network in its canonical form"},
		{admin, "create", "ipreservations", `{"apiVersion":"warren.dev/v1alpha1","kind":"IPReservation","metadata":{"name":"a"},"spec":{"cidrs":["10.64.0.7/32","fd00:64::/64"]}}`, allowed},

		// Agents count; kubelets do not even look.
		{agent1, "merge", "ippools/v4/status", `{"status":{"blocks":3,"capacity":1024,"nodes":2}}`, allowed},
		{agent2, "merge", "ippools/v4/status", `{"status":{"blocks":4}}`, allowed},
		{agent1, "merge", "ippools/v4/status", `{"status":{"blocks":-1}}`, "should be greater than or equal to 0"},
		{agent1, "merge", "ippools/v4/status", `{"spec":{"disabled":true}}`, ignored},
		{agentFree, "merge", "ippools/v4/status", `{"status":{"blocks":5}}`, boundToken},
		{agent1, "put", "ippools/v4/status", `{"status":{"blocks":5}}`, forbidden},
		{agent1, "merge", "ippools/v4", `{"spec":{"disabled":true}}`, forbidden},
		{agent1, "create", "ippools", pool("a", `"cidr":"10.70.0.0/16","blockSize":26`), forbidden},
		{agent1, "delete", "ippools/beside", "", forbidden},
		{agent1, "delete", "ipreservations/a", "", forbidden},
		{kubelet1, "merge", "ippools/v4/status", `{"status":{"blocks":5}}`, forbidden},
		{kubelet1, "create", "ippools", pool("a", `"cidr":"10.70.0.0/16","blockSize":26`), forbidden},
	}
}

func blockAttempts(uid1, uid2 string) []attempt {
	owner := func(node, uid, more string) string {
		return fmt.Sprintf(`{"apiVersion":"v1","kind":"Node","name":%q,"uid":%q%s}`, node, uid, more)
	}
	meta := func(finalizers string, owners ...string) string {
		return `,"finalizers":[` + finalizers + `],"ownerReferences":[` + strings.Join(owners, ",") + `]`
	}
	const ours = `"warren.dev/block"`
	own1, own2 := meta(ours, owner("n1", uid1, "")), meta(ours, owner("n2", uid2, ""))
	const path = "ipblocks/10.64.0.0-26"
	freed := `{"metadata":{"finalizers":null}}`
	return []attempt{
		// Of both families, by either token.
		{agent1, "create", "ipblocks", block("10.64.0.0/26", "v4", "n1", own1), allowed},
		{agentPod1, "create", "ipblocks", block("fd00:64::40/122", "v6", "n1", own1), allowed},
		{agent2, "create", "ipblocks", block("10.64.0.64/26", "v4", "n2", own2), allowed},
		{agent2, "create", "ipblocks", block("10.64.0.0/26", "v4", "n2", own2), "already exists"},

		// For another node, or by nobody's token; with another owner, or finalizer.
		{agent1, "create", "ipblocks", block("10.64.1.0/26", "v4", "n2", own2), notItsBlock},
		{agent1, "create", "ipblocks", block("10.64.1.0/26", "v4", "n2", own1), notItsBlock},
		{agentFree, "create", "ipblocks", block("10.64.1.0/26", "v4", "n1", own1), notItsBlock},
		{agent1, "create", "ipblocks", block("10.64.1.0/26", "v4", "n1", own2), oneBlockOwner},
		{agent1, "create", "ipblocks", block("10.64.1.0/26", "v4", "n1", meta(ours)), oneBlockOwner},
		{agent1, "create", "ipblocks", block("10.64.1.0/26", "v4", "n1", meta(ours, owner("n1", uid1, ""), owner("n2", uid2, ""))), oneBlockOwner},
		{agent1, "create", "ipblocks", block("10.64.1.0/26", "v4", "n1", meta(ours, owner("n1", uid1, `,"blockOwnerDeletion":true`))), oneBlockOwner},
		{agent1, "create", "ipblocks", block("10.64.1.0/26", "v4", "n1", meta("", owner("n1", uid1, ""))), itsFinalizer},
		{agent1, "create", "ipblocks", block("10.64.1.0/26", "v4", "n1", meta(`"example.dev/a"`, owner("n1", uid1, ""))), itsFinalizer},
		{agent1, "create", "ipblocks", block("10.64.1.0/26", "v4", "n1", meta(ours+`,"example.dev/a"`, owner("n1", uid1, ""))), itsFinalizer},

		// What is no block of the pool that it names.
		{agent1, "create", "ipblocks", block("10.66.0.0/26", "v4", "n1", own1), "10.66.0.0/26 is outside 10.64.0.0/16 of IPPool v4"},
		{agent1, "create", "ipblocks", block("10.64.0.0/26", "v6", "n1", own1), outsidePool},
		{agent1, "create", "ipblocks", block("fd00:64::40/122", "v4", "n1", own1), outsidePool},
		{agent1, "create", "ipblocks", block("10.0.0.0/8", "v4", "n1", own1), outsidePool},
		{agent1, "create", "ipblocks", block("0.0.0.0/0", "v4", "n1", own1), outsidePool},
		{agent1, "create", "ipblocks", block("10.64.1.0/27", "v4", "n1", own1), notItsSize},
		{agent1, "create", "ipblocks", block("10.64.1.0/24", "v4", "n1", own1), notItsSize},
		{agent1, "create", "ipblocks", block("10.64.0.0/16", "v4", "n1", own1), notItsSize},
		{agent1, "create", "ipblocks", block("10.65.0.0/26", "off", "n1", own1), poolDisabled},
		{agent1, "create", "ipblocks", blockNamed("10.64.1.1-26", "10.64.1.1/26", "v4", "n1", own1), canonical},
		{agent1, "create", "ipblocks", blockNamed("10.64.1.0-26", "010.64.1.0/26", "v4", "n1", own1), canonical},
		{agent1, "create", "ipblocks", blockNamed("fd00-64-0--80-122", "fd00:64:0::80/122", "v6", "n1", own1), canonical},
		{agent1, "create", "ipblocks", blockNamed("mine", "10.64.1.0/26", "v4", "n1", own1), wrongName + ": 10.64.1.0-26"},
		{agent1, "create", "ipblocks", blockNamed("10.64.1.0-26", "10.64.0.0/26", "v4", "n1", own1), wrongName},

		// Another's block, while it is in use.
		{agent2, "put", path, freed, notItsBlock},
		{agent2, "put", path, `{"metadata":{"ownerReferences":[` + owner("n2", uid2, "") + `]}}`, notItsBlock},
		{agent2, "put", path, `{"metadata":{"labels":{"a":"b"}}}`, notItsBlock},
		{agent2, "put", path, `{"spec":{"nodeName":"n2"}}`, unchangeable},
		{agent2, "delete", path, "", notItsBlock},
		{agentFree, "delete", path, "", notItsBlock},

		// Its own, beyond owner and finalizer.
		{agent1, "put", path, `{"spec":{"nodeName":"n2"}}`, unchangeable},
		{agent1, "put", path, `{"spec":{"pool":"v6"}}`, unchangeable},
		{agent1, "put", path, `{"spec":{"meshAddress":true}}`, unchangeable},
		{agent1, "put", path, `{"metadata":{"labels":{"a":"b"}}}`, ownerAndFinal},
		{agent1, "put", path, `{"metadata":{"annotations":{"a":"b"}}}`, ownerAndFinal},
		{agent1, "put", path, `{"metadata":{"finalizers":["warren.dev/block","example.dev/a"]}}`, itsFinalizer},
		{agent1, "put", path, `{"metadata":{"finalizers":["example.dev/a"]}}`, itsFinalizer},
		{agent1, "put", path, `{"metadata":{"ownerReferences":[` + owner("n2", uid2, "") + `]}}`, oneBlockOwner},
		{agent1, "put", path, `{"metadata":{"ownerReferences":null}}`, oneBlockOwner},
		{agent1, "merge", path, freed, forbidden},
		{agent1, "delete", "ipblocks", "", forbidden}, // all of them

		// It is given up, or its Node was deleted: it rests until somebody takes the finalizer away, and that is all that others may.
		{agent1, "delete", path, "", allowed},
		{agent2, "create", "ipblocks", block("10.64.0.0/26", "v4", "n2", own2), "already exists"},
		{agent2, "put", path, `{"metadata":{"finalizers":null,"labels":{"a":"b"}}}`, ownerAndFinal},
		{agent2, "put", path, `{"metadata":{"finalizers":null,"ownerReferences":[` + owner("n2", uid2, "") + `]}}`, ownerAndFinal},
		{agent2, "put", path, `{"metadata":{"ownerReferences":null}}`, ownerAndFinal},
		{agent2, "put", path, `{"metadata":{"finalizers":["example.dev/a"]}}`, "no new finalizers can be added"},
		{agentFree, "put", path, freed, notItsBlock},
		{agent2, "put", path, freed, allowed},
		{agent2, "create", "ipblocks", block("10.64.0.0/26", "v4", "n2", own2), allowed},
		{agent1, "delete", path, "", notItsBlock},

		{kubelet1, "create", "ipblocks", block("10.64.1.0/26", "v4", "n1", own1), forbidden},
		{kubelet1, "put", path, freed, forbidden},
		{kubelet1, "delete", path, "", forbidden},
	}
}
