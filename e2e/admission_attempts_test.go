package e2e

import (
	"fmt"
	"strings"

	"github.com/warren-mesh/warren/api/v1alpha1"
	"github.com/warren-mesh/warren/crypto/identity"
)

// The one who asks.
const (
	admin     = "admin"
	agent1    = "agent of n1"
	agent2    = "agent of n2"
	agentPod1 = "agent of n1 by its Pod's token"
	agentFree = "agent of no node"
	kubelet1  = "kubelet of n1"
	kubelet3  = "kubelet of n3" // of a Node that is made in the test, and finds no pod CIDR left
)

// What the API server answers. Nothing is changed by a request that is refused.
const (
	allowed = ""
	ignored = "(allowed, and nothing changes)"

	// by the admission policies
	notItsNode        = "an agent may change only the Node that its token is bound to"
	notSpec           = "an agent may change only its Node's annotations and conditions, not its spec"
	onlyAnnotations   = "of its Node's metadata an agent may change only the annotations"
	onlyOurs          = "of its Node's annotations an agent may change only those under warren.dev/"
	onlyOurLabel      = "of its Node's labels an agent may change only warren.dev/changed"
	onlyConditions    = "of its Node's status an agent may change only conditions"
	onlyOurConditions = "of its Node's conditions an agent may change only NetworkUnavailable"
	notItsKey         = "an agent may write only NodeKeys of the Node that its token is bound to"
	oneOwner          = "a NodeKey has one owner, its Node"
	noFinalizers      = "an agent may set no finalizers"
	onlyOwner         = "of a NodeKey an agent may change only the owner"
	kubeletNotOurs    = "a kubelet may not change annotations under warren.dev/"
	kubeletNotLabels  = "a kubelet may not change labels under warren.dev/"
	kubeletNotCIDRs   = "a kubelet may not set the pod CIDRs"

	// by RBAC, NodeRestriction and validation
	forbidden = "is forbidden: User"
)

// attempt is one request. A path that ends in /* is tried twice, through the Node and through its status.
type attempt struct {
	who, verb, path string
	body            string // VALUE is another word each time
	want            string // part of the message, or allowed or ignored
}

// attempts are made one after the other: what is allowed stays.
func attempts(uid1, key1, key2 string) []attempt {
	const own = "nodes/n1/*"
	meta := func(s string) string { return `{"metadata":{` + s + `}}` }
	note := func(name, value string) string { return meta(fmt.Sprintf(`"annotations":{%q:%s}`, name, value)) }
	condition := func(s string) string { return `{"status":{"conditions":[{` + s + `}]}}` }
	nodeKey := func(name, node, more string) string {
		return fmt.Sprintf(`{"apiVersion":"warren.dev/v1alpha1","kind":"NodeKey","metadata":{"name":%q,%s},"spec":{"nodeName":%q,"publicKey":%q}}`,
			v1alpha1.NodeKeyName(testPublicKey(name)), more, node, testPublicKey(name).String())
	}
	owner := func(node, uid string) string {
		return fmt.Sprintf(`{"apiVersion":"v1","kind":"Node","name":%q,"uid":%q}`, node, uid)
	}
	owners := func(list ...string) string { return `"ownerReferences":[` + strings.Join(list, ",") + `]` }
	some := func(of, prefix string, n int) string {
		names := make([]string, n)
		for i := range names {
			names[i] = fmt.Sprintf(`"%s%x":"1"`, prefix, i)
		}
		return meta(fmt.Sprintf(`%q:{%s}`, of, strings.Join(names, ",")))
	}
	many := func(prefix string, n int) string { return some("annotations", prefix, n) }
	label := func(name, value string) string { return meta(fmt.Sprintf(`"labels":{%q:%s}`, name, value)) }
	conditions := func(n int) string {
		types := make([]string, n)
		for i := range types {
			types[i] = fmt.Sprintf(`{"type":"example.dev/%d","status":"True"}`, i)
		}
		return `{"status":{"conditions":[` + strings.Join(types, ",") + `]}}`
	}
	huge := `"` + strings.Repeat("x", 250<<10) + `"`

	return []attempt{
		// What has to go on working: publish, the condition, the kubelet's heartbeat and labels, the operator's override.
		{agent1, "apply", "nodes/n1", `{"apiVersion":"v1","kind":"Node","metadata":{"name":"n1","annotations":{"warren.dev/version":"VALUE"}}}`, allowed},
		{agent1, "apply", "nodes/n1/status", `{"apiVersion":"v1","kind":"Node","metadata":{"name":"n1"},"status":{"conditions":[{"type":"NetworkUnavailable","status":"False","reason":"VALUE"}]}}`, allowed},
		{agent1, "merge", own, note("warren.dev/version", `"VALUE"`), allowed},
		{agent1, "strategic", "nodes/n1/status", condition(`"type":"warren.dev/MTU","status":"True","reason":"VALUE"`), allowed},
		{agentPod1, "merge", own, note("warren.dev/version", `"VALUE"`), allowed},
		{agent1, "apply", "nodes/n1", `{"apiVersion":"v1","kind":"Node","metadata":{"name":"n1","labels":{"warren.dev/changed":""},"annotations":{"warren.dev/version":"VALUE"}}}`, allowed},
		{agent1, "merge", "nodes/n1", label("warren.dev/changed", "null"), allowed},
		{agentPod1, "merge", own, label("warren.dev/changed", `"VALUE"`), allowed},
		{kubelet1, "strategic", "nodes/n1/status", condition(`"type":"Ready","status":"True","reason":"VALUE"`), allowed},
		{kubelet1, "merge", "nodes/n1/status", `{"status":{"addresses":[{"type":"InternalIP","address":"192.0.2.1"}],"phase":"VALUE"}}`, allowed},
		{kubelet1, "merge", own, meta(`"labels":{"node.kubernetes.io/instance-type":"VALUE"}`), allowed},
		{kubelet1, "merge", own, note("example.dev/kubelet", `"VALUE"`), allowed},
		{admin, "merge", own, note("warren.dev/endpoint-override", `"192.0.2.VALUE"`), allowed},
		{admin, "merge", own, note("warren.dev/public-key", `"VALUE"`), allowed},
		{admin, "merge", own, meta(`"labels":{"example.dev/admin":"VALUE"}`), allowed},
		{admin, "merge", "nodes/n1", `{"spec":{"taints":[{"key":"example.dev/VALUE","effect":"NoSchedule"}]}}`, allowed},

		// An agent, and another's Node, or with a token that names no Node.
		{agent1, "merge", "nodes/n2/*", note("warren.dev/public-key", `"VALUE"`), notItsNode},
		{agent1, "apply", "nodes/n2", `{"apiVersion":"v1","kind":"Node","metadata":{"name":"n2","annotations":{"warren.dev/version":"VALUE"}}}`, notItsNode},
		{agent1, "strategic", "nodes/n2/status", condition(`"type":"NetworkUnavailable","status":"True","reason":"VALUE"`), notItsNode},
		{agentPod1, "merge", "nodes/n2/*", note("warren.dev/version", `"VALUE"`), notItsNode},
		{agent2, "merge", own, note("warren.dev/version", `"VALUE"`), notItsNode},
		{agentFree, "merge", own, note("warren.dev/version", `"VALUE"`), notItsNode},
		{agent1, "put", "nodes/n1", note("warren.dev/version", `"VALUE"`), forbidden},
		{agent1, "apply", "nodes/n9", `{"apiVersion":"v1","kind":"Node","metadata":{"name":"n9"}}`, forbidden},
		{agent1, "create", "nodes", `{"apiVersion":"v1","kind":"Node","metadata":{"name":"n9"}}`, forbidden},
		{agent1, "delete", "nodes/n1", "", forbidden},

		// An agent, and its own Node outside our prefix.
		{agent1, "merge", own, note("warren.dev/endpoint-override", `"VALUE"`), onlyOurs},
		{agent1, "merge", own, note("warren.dev/endpoint-override", `null`), onlyOurs},
		{agent1, "merge", own, note("example.dev/kubelet", `"VALUE"`), onlyOurs},
		{agent1, "merge", own, note("example.dev/kubelet", `null`), onlyOurs},
		{agent1, "merge", own, note("warren.dev", `"VALUE"`), onlyOurs},
		{agent1, "merge", own, note("warren.dev.example/a", `"VALUE"`), onlyOurs},
		{agent1, "merge", own, note("a.warren.dev/a", `"VALUE"`), onlyOurs},
		{agent1, "merge", own, meta(`"annotations":{"warren.dev/version":"VALUE","example.dev/a":"VALUE"}`), onlyOurs},
		{agent1, "merge", own, meta(`"annotations":null`), onlyOurs},
		{agent1, "merge", "nodes/n2/*", label("warren.dev/changed", `"VALUE"`), notItsNode},
		{agentFree, "merge", own, label("warren.dev/changed", `"VALUE"`), notItsNode},
		{agent1, "merge", own, label("warren.dev/a", `"VALUE"`), onlyOurLabel},
		{agent1, "merge", own, label("warren.dev/changed.a", `"VALUE"`), onlyOurLabel},
		{agent1, "merge", own, label("changed", `"VALUE"`), onlyOurLabel},
		{agent1, "merge", own, label("node.kubernetes.io/instance-type", `"VALUE"`), onlyOurLabel},
		{agent1, "merge", own, label("node.kubernetes.io/instance-type", "null"), onlyOurLabel},
		{agent1, "merge", own, meta(`"labels":{"warren.dev/changed":"VALUE","example.dev/a":"VALUE"}`), onlyOurLabel},
		{agent1, "merge", own, meta(`"labels":null`), onlyOurLabel},
		{agent1, "merge", own, meta(`"finalizers":["warren.dev/VALUE"]`), onlyAnnotations},
		{agent1, "merge", own, meta(owners(owner("n1", uid1))), onlyAnnotations},
		{agent1, "merge", own, meta(`"generateName":"VALUE"`), onlyAnnotations},
		{agent1, "merge", "nodes/n1", `{"spec":{"unschedulable":true}}`, notSpec},
		{agent1, "merge", "nodes/n1", `{"spec":{"taints":null}}`, notSpec},
		{agent1, "merge", "nodes/n1", `{"spec":{"providerID":"VALUE"}}`, notSpec},
		{agent1, "merge", "nodes/n1/status", `{"spec":{"unschedulable":true}}`, ignored},
		{agent1, "merge", "nodes/n1", `{"status":{"phase":"VALUE"}}`, ignored},
		{agent1, "merge", "nodes/n1/status", `{"status":{"phase":"VALUE"}}`, onlyConditions},
		{agent1, "merge", "nodes/n1/status", `{"status":{"addresses":[{"type":"InternalIP","address":"192.0.2.2"}]}}`, onlyConditions},
		{agent1, "merge", "nodes/n1/status", `{"status":{"addresses":null}}`, onlyConditions},
		{agent1, "merge", "nodes/n1/status", `{"status":{"capacity":{"example.dev/a":"1"}}}`, onlyConditions},
		{agent1, "merge", "nodes/n1/status", `{"status":{"images":[{"names":["VALUE"],"sizeBytes":1}]}}`, onlyConditions},
		{agent1, "strategic", "nodes/n1/status", condition(`"type":"Ready","status":"False","reason":"VALUE"`), onlyOurConditions},
		{agent1, "strategic", "nodes/n1/status", condition(`"type":"Ready","$patch":"delete"`), onlyOurConditions},
		{agent1, "strategic", "nodes/n1/status", condition(`"type":"example.dev/A","status":"True"`), onlyOurConditions},
		{agent1, "merge", "nodes/n1/status", `{"status":{"conditions":null}}`, onlyOurConditions},
		{agent1, "strategic", "nodes/n1", condition(`"type":"Ready","status":"False","reason":"VALUE"`), ignored},

		// A kubelet speaks neither for the agent nor for the controller-manager.
		{kubelet1, "merge", own, note("warren.dev/public-key", `"VALUE"`), kubeletNotOurs},
		{kubelet1, "merge", own, note("warren.dev/public-key", `null`), kubeletNotOurs},
		{kubelet1, "merge", own, note("warren.dev/endpoint-override", `"VALUE"`), kubeletNotOurs},
		{kubelet1, "merge", own, note("warren.dev/new", `"VALUE"`), kubeletNotOurs},
		{kubelet1, "merge", own, meta(`"annotations":null`), kubeletNotOurs},
		{kubelet1, "merge", own, label("warren.dev/changed", `"VALUE"`), kubeletNotLabels},
		{kubelet1, "merge", own, label("warren.dev/changed", "null"), kubeletNotLabels},
		{kubelet1, "merge", own, label("warren.dev/new", `"VALUE"`), kubeletNotLabels},
		{kubelet1, "merge", "nodes/n2/*", note("warren.dev/public-key", `"VALUE"`), "is not allowed to modify node"},
		{kubelet3, "create", "nodes", `{"metadata":{"name":"n3"},"spec":{"podCIDR":"10.244.1.0/24"}}`, kubeletNotCIDRs},
		{kubelet3, "create", "nodes", `{"metadata":{"name":"n3"},"spec":{"podCIDR":"10.244.1.0/24","podCIDRs":["10.244.1.0/24"]}}`, kubeletNotCIDRs},
		{kubelet3, "create", "nodes", `{"metadata":{"name":"n3","annotations":{"warren.dev/public-key":"VALUE"}}}`, kubeletNotOurs},
		{kubelet3, "create", "nodes", `{"metadata":{"name":"n3","labels":{"warren.dev/changed":""}}}`, kubeletNotLabels},
		{kubelet3, "create", "nodes", `{"metadata":{"name":"n3","labels":{"kubernetes.io/os":"linux"},"annotations":{"example.dev/a":"VALUE"}}}`, allowed},
		{kubelet3, "merge", "nodes/n3", `{"spec":{"podCIDR":"10.244.1.0/24","podCIDRs":["10.244.1.0/24"]}}`, kubeletNotCIDRs},
		{kubelet3, "merge", "nodes/n3/status", `{"spec":{"podCIDR":"10.244.1.0/24","podCIDRs":["10.244.1.0/24"]}}`, ignored},
		{admin, "merge", "nodes/n3", `{"spec":{"podCIDR":"10.245.0.0/24","podCIDRs":["10.245.0.0/24"]}}`, allowed},
		{kubelet3, "merge", "nodes/n3/*", note("example.dev/a", `"VALUE"`), allowed},
		{kubelet3, "delete", "nodes/n3", "", forbidden},

		// NodeKeys. n1's agent has made key1, n2's key2.
		{agent1, "create", "nodekeys", nodeKey("1", "n1", owners(owner("n1", uid1))), allowed},
		{agent2, "create", "nodekeys", nodeKey("2", "n2", owners(owner("n2", "gone"))), allowed},
		{agentPod1, "create", "nodekeys", nodeKey("3", "n1", owners(owner("n1", uid1))), allowed},
		{agent1, "create", "nodekeys", nodeKey("2", "n1", owners(owner("n1", uid1))), "already exists"},
		{agent1, "create", "nodekeys", nodeKey("4", "n2", owners(owner("n2", uid1))), notItsKey},
		{agentFree, "create", "nodekeys", nodeKey("4", "n1", owners(owner("n1", uid1))), notItsKey},
		{agent1, "create", "nodekeys", nodeKey("4", "n1", owners(owner("n2", uid1))), oneOwner},
		{agent1, "create", "nodekeys", nodeKey("4", "n1", owners(owner("n1", uid1), owner("n2", "other"))), oneOwner},
		{agent1, "create", "nodekeys", nodeKey("4", "n1", owners()), oneOwner},
		{agent1, "create", "nodekeys", nodeKey("4", "n1", owners(strings.Replace(owner("n1", uid1), "Node", "Pod", 1))), oneOwner},
		{agent1, "create", "nodekeys", nodeKey("4", "n1", `"finalizers":["example.dev/a"],`+owners(owner("n1", uid1))), noFinalizers},
		{agent1, "put", key1, meta(owners(owner("n1", "VALUE"))), allowed},
		{agent1, "put", key1, meta(`"labels":{"a":"VALUE"}`), onlyOwner},
		{agent1, "put", key1, meta(`"annotations":{"a":"VALUE"}`), onlyOwner},
		{agent1, "put", key1, meta(`"finalizers":["example.dev/a"]`), noFinalizers},
		{agent1, "put", key1, meta(owners(owner("n2", "VALUE"))), oneOwner},
		{agent1, "put", key1, meta(owners()), oneOwner},
		{agent1, "put", key1, `{"spec":{"nodeName":"n2"}}`, "cannot be changed"},
		{agent1, "put", key2, meta(owners(owner("n1", uid1))), notItsKey},
		{agent1, "put", key2, meta(owners(owner("n2", "VALUE"))), notItsKey},
		{agentFree, "put", key1, meta(owners(owner("n1", "VALUE"))), notItsKey},
		{agent1, "delete", key2, "", forbidden},
		{admin, "put", key1, meta(`"labels":{"a":"VALUE"}`), allowed},
		{agent1, "put", key1, meta(owners(owner("n1", "VALUE"))), allowed},
		{agent1, "put", key1, meta(`"labels":null`), onlyOwner},
		{kubelet1, "create", "nodekeys", nodeKey("4", "n1", owners(owner("n1", uid1))), forbidden},
		{kubelet1, "put", key1, meta(owners(owner("n1", "VALUE"))), forbidden},
		{kubelet1, "merge", key1, meta(owners(owner("n1", "VALUE"))), forbidden},
		{kubelet1, "delete", key1, "", forbidden},

		// Names that are none, too much, and as much as there may be: a policy that cost too much would say so.
		{agent1, "merge", own, note("warren.dev/a b", `"VALUE"`), "name part must consist of"},
		{agent1, "merge", own, note("warren.dev/", `"VALUE"`), "name part must be non-empty"},
		{agent1, "merge", own, note("warren.dev/a/b", `"VALUE"`), "a qualified name must consist of"},
		{agent1, "merge", own, meta("\"annotations\":{\"warren.dev/\xff\xfe\":\"VALUE\"}"), "name part must consist of"},
		{agent1, "merge", own, note("warren.dev/huge", `"`+strings.Repeat("x", 257<<10)+`"`), "may not be more than 262144 bytes"},
		{agent1, "merge", own, note("example.dev/huge", huge), onlyOurs},
		{kubelet1, "merge", own, note("warren.dev/huge", huge), kubeletNotOurs},
		{kubelet1, "merge", "nodes/n1", note("example.dev/huge", huge), allowed},
		{agent1, "merge", own, note("warren.dev/version", `"VALUE"`), allowed},
		{agent1, "strategic", "nodes/n1/status", condition(`"type":"NetworkUnavailable","status":"False","reason":"VALUE"`), allowed},
		{kubelet1, "merge", own, note("example.dev/kubelet", `"VALUE"`), allowed},
		{kubelet1, "merge", "nodes/n1", note("example.dev/huge", "null"), allowed},
		{kubelet1, "merge", own, some("labels", "", 40_000), kubeletNotLabels},
		{agent1, "merge", own, some("labels", "example.dev/", 900), onlyOurLabel},
		{admin, "merge", "nodes/n1", some("labels", "example.dev/", 900), allowed},
		{agent1, "merge", own, label("warren.dev/changed", `"VALUE"`), allowed},
		{kubelet1, "merge", own, label("node.kubernetes.io/instance-type", `"VALUE"`), allowed},
		{admin, "merge", "nodes/n1", some("labels", "example.org/", 200), allowed},
		{kubelet1, "strategic", "nodes/n1/status", condition(`"type":"Ready","status":"True","reason":"VALUE"`), allowed},
		{agent1, "merge", own, note("warren.dev/version", `"VALUE"`), allowed},
		{agent1, "merge", own, label("warren.dev/changed", `"VALUE"`), onlyOurLabel},
		{kubelet1, "merge", own, label("node.kubernetes.io/instance-type", `"VALUE"`), kubeletNotLabels},
		{kubelet1, "merge", own, many("", 40_000), kubeletNotOurs},
		{agent1, "merge", own, many("warren.dev/", 1_000), onlyOurs},
		{agent1, "merge", "nodes/n1", many("warren.dev/", 900), allowed},
		{agent1, "merge", own, note("warren.dev/version", `"VALUE"`), allowed},
		{agent1, "merge", own, note("example.dev/kubelet", `"VALUE"`), onlyOurs},
		{kubelet1, "merge", own, note("example.dev/kubelet", `"VALUE"`), allowed},
		{kubelet1, "merge", own, note("warren.dev/1", `"VALUE"`), kubeletNotOurs},
		{admin, "merge", "nodes/n1", many("example.dev/", 200), allowed},
		{kubelet1, "strategic", "nodes/n1/status", condition(`"type":"Ready","status":"True","reason":"VALUE"`), allowed},
		{kubelet1, "merge", own, note("example.dev/kubelet", `"VALUE"`), kubeletNotOurs},
		{agent1, "merge", own, note("warren.dev/version", `"VALUE"`), onlyOurs},
		{kubelet1, "merge", "nodes/n1/status", conditions(1_100), allowed},
		{agent1, "strategic", "nodes/n1/status", condition(`"type":"NetworkUnavailable","status":"True","reason":"VALUE"`), onlyOurConditions},
		{kubelet1, "merge", "nodes/n1/status", conditions(900), allowed},
		{agent1, "strategic", "nodes/n1/status", condition(`"type":"NetworkUnavailable","status":"True","reason":"VALUE"`), allowed},
		{agent1, "strategic", "nodes/n1/status", condition(`"type":"example.dev/7","status":"False"`), onlyOurConditions},
	}
}

// testPublicKey is a key of which nobody has the private one.
func testPublicKey(name string) identity.PublicKey {
	var key identity.PublicKey
	copy(key[:], "admission test "+name)
	return key
}
