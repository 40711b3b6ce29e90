package main

import (
	"cmp"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	gocmp "github.com/google/go-cmp/cmp"
	"helm.sh/helm/v3/pkg/chart/loader"
	"helm.sh/helm/v3/pkg/chartutil"
	"helm.sh/helm/v3/pkg/engine"
	"helm.sh/helm/v3/pkg/lint"
	"sigs.k8s.io/yaml"
)

const (
	chartFolder = "../chart/warren"
	namespace   = "kube-system"
)

type values = map[string]any

// charts are the values that make of the chart what kustomize makes of each folder.
var charts = map[string]values{
	"base":                       nil,
	"overlays/dual-stack":        {"clusterCIDR": []any{"10.244.0.0/16", "fd00:10:244::/48"}},
	"overlays/pools":             {"ipam": "pools"},
	"overlays/kernel-only":       {"wireguard": "kernel"},
	"overlays/mesh-only":         {"mode": "mesh"},
	"overlays/policy-only":       {"mode": "policy"},
	"render/testdata/monitoring": {"monitoring": values{"expose": true, "podMonitor": true, "rules": true, "dashboard": true}},
}

// TestTheChartIsTheBase: the chart installs what kustomize does, in each mode that has both.
func TestTheChartIsTheBase(t *testing.T) {
	for folder, with := range charts {
		t.Run(filepath.Base(folder), func(t *testing.T) {
			chart, err := template(with, namespace)
			if err != nil {
				t.Fatal(err)
			}
			want, got := rendered(t, filepath.Join("..", folder)), objects(t, chart)
			if len(want) < 10 {
				t.Fatalf("kustomize renders %d objects only", len(want))
			}
			if diff := gocmp.Diff(want, got); diff != "" {
				t.Errorf("the chart differs; copies of manifests/base are renewed by `make manifests` (-kustomize +chart):\n%s", diff)
			}
		})
	}
}

// rendered are the objects that kustomize makes of a folder.
func rendered(t *testing.T, folder string) map[string]values {
	t.Helper()
	file := filepath.Join(t.TempDir(), "rendered.yaml")
	if err := run(folder, file); err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	return objects(t, string(text))
}

// TestEveryValue: what a value is for reaches the agents.
func TestEveryValue(t *testing.T) {
	text, err := template(values{
		"image": values{"repository": "registry.example:5000/w", "tag": "v1"}, "clusterCIDR": []any{"10.1.0.0/16"}, "serviceCIDR": []any{"10.96.0.0/12"},
		"wireguard": "userspace", "listenPort": 4500, "mtu": 1400, "ipam": "pools", "policy": false, "natOutgoing": false, "cniConfLink": false,
		"natExclude": []any{"192.0.2.0/24", "2001:db8::/32"}, "logLevel": "debug", "maxUnavailable": 3,
		"requests": values{"agent": values{"cpu": "1", "memory": "1Gi"}},
	}, namespace)
	if err != nil {
		t.Fatal(err)
	}
	set := objects(t, text)["DaemonSet warren"]
	got := make(values)
	for _, variable := range containers(set)[0].(values)["env"].([]any) {
		v := variable.(values)
		got[v["name"].(string)] = v["value"]
	}
	want := values{
		"NODE_NAME": nil, "WARREN_CLUSTER_CIDR": "10.1.0.0/16", "WARREN_SERVICE_CIDR": "10.96.0.0/12", "WARREN_WIREGUARD": "userspace",
		"WARREN_LISTEN_PORT": "4500", "WARREN_MTU": "1400", "WARREN_IPAM": "pools", "WARREN_POLICY": "false",
		"WARREN_NAT_OUTGOING": "false", "WARREN_CNI_CONF_LINK": "false", "WARREN_NAT_EXCLUDE": "192.0.2.0/24,2001:db8::/32", "WARREN_LOG_LEVEL": "debug",
		"WARREN_TUNNEL_SOCKET": "/run/warren/tunnel.sock",
	}
	if diff := gocmp.Diff(want, got); diff != "" {
		t.Errorf("what the agents are told (-want +got):\n%s", diff)
	}
	agent, err := yaml.Marshal(set)
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"image: registry.example:5000/w:v1\n", "maxUnavailable: 3\n", "memory: 1Gi\n"} {
		if !strings.Contains(string(agent), want) {
			t.Errorf("the agents' DaemonSet does not have %q:\n%s", want, agent)
		}
	}
}

// TestPodInterfaces: with mesh, the agents are told of the other plugin's links.
func TestPodInterfaces(t *testing.T) {
	text, err := template(values{"mode": "mesh", "podInterfaces": []any{"br-pods", "tap*"}}, namespace)
	if want := "- name: WARREN_POD_INTERFACES\n          value: \"br-pods,tap*\"\n"; err != nil || !strings.Contains(text, want) {
		t.Errorf("%v, want %q in:\n%s", err, want, text)
	}
}

// TestMigration: the agents are told of both, and may take away what host-local left of pods that they delete.
func TestMigration(t *testing.T) {
	text, err := template(values{"migrateFrom": []any{"flannel.1", "flannel-v6.1"}, "podInterfaces": []any{"cni0"}}, namespace)
	for _, want := range []string{
		"- name: WARREN_POD_INTERFACES\n          value: \"cni0\"\n", "- name: WARREN_MIGRATE_FROM\n          value: \"flannel.1,flannel-v6.1\"\n",
		"mountPath: /var/lib/cni\n          readOnly: false\n",
	} {
		if err != nil || !strings.Contains(text, want) {
			t.Errorf("%v, want %q in:\n%s", err, want, text)
		}
	}
}

// TestBadValues: a bad value is refused by its name, before anything is rendered.
func TestBadValues(t *testing.T) {
	for name, test := range map[string]struct {
		values values
		says   string
	}{
		"no pod CIDRs":         {values{"clusterCIDR": []any{}}, "clusterCIDR"},
		"a pod CIDR of words":  {values{"clusterCIDR": []any{"10.244.0.0/16", "pods"}}, "clusterCIDR"},
		"no list":              {values{"clusterCIDR": "10.244.0.0/16"}, "clusterCIDR"},
		"too long a prefix":    {values{"serviceCIDR": []any{"10.96.0.0/33"}}, "serviceCIDR"},
		"an address":           {values{"natExclude": []any{"192.0.2.1"}}, "natExclude"},
		"an octet too large":   {values{"natExclude": []any{"192.0.256.0/24"}}, "natExclude"},
		"another WireGuard":    {values{"wireguard": "fast"}, "wireguard"},
		"a port too large":     {values{"listenPort": 70000}, "listenPort"},
		"a port of words":      {values{"listenPort": "51820"}, "listenPort"},
		"an MTU too small":     {values{"mtu": 900}, "mtu"},
		"another mode":         {values{"mode": "policing"}, "mode"},
		"no policy, only":      {values{"mode": "policy", "policy": false}, "policy"},
		"policy with pools":    {values{"mode": "policy", "ipam": "pools"}, "ipam"},
		"policy with a port":   {values{"mode": "policy", "listenPort": 4500}, "listenPort"},
		"policy with NAT":      {values{"mode": "policy", "natExclude": []any{"192.0.2.0/24"}}, "natExclude"},
		"policy with links":    {values{"mode": "policy", "podInterfaces": []any{"cni0"}}, "podInterfaces"},
		"policy migrated":      {values{"mode": "policy", "migrateFrom": []any{"flannel.1"}}, "migrateFrom"},
		"links of pools":       {values{"ipam": "pools", "podInterfaces": []any{"cni0"}}, "podInterfaces"},
		"a mesh migrated":      {values{"mode": "mesh", "migrateFrom": []any{"flannel.1"}}, "migrateFrom"},
		"pools migrated":       {values{"ipam": "pools", "migrateFrom": []any{"flannel.1"}}, "migrateFrom"},
		"from all links":       {values{"migrateFrom": []any{"flannel*"}}, "migrateFrom"},
		"all links":            {values{"mode": "mesh", "podInterfaces": []any{"*"}}, "podInterfaces"},
		"a mesh with pools":    {values{"mode": "mesh", "ipam": "pools"}, "ipam"},
		"another IPAM":         {values{"ipam": "pool"}, "ipam"},
		"no boolean":           {values{"policy": "no"}, "policy"},
		"neither yes nor no":   {values{"natOutgoing": 1}, "natOutgoing"},
		"another level":        {values{"logLevel": "loud"}, "logLevel"},
		"nobody at a time":     {values{"maxUnavailable": 0}, "maxUnavailable"},
		"no percentage":        {values{"maxUnavailable": "some"}, "maxUnavailable"},
		"a tag with a space":   {values{"image": values{"tag": "v 1"}}, "tag"},
		"a digest as a name":   {values{"image": values{"repository": "Warren"}}, "repository"},
		"an unknown value":     {values{"clusterCidr": []any{"10.1.0.0/16"}}, "clusterCidr"},
		"an unknown container": {values{"requests": values{"agnet": values{"cpu": "1"}}}, "agnet"},
		"no quantity":          {values{"requests": values{"agent": values{"memory": "much"}}}, "memory"},
		"a value taken away":   {values{"ipam": nil}, "ipam"},
		"nobody to ask":        {values{"monitoring": values{"podMonitor": true}}, "expose"},
		"no boolean to expose": {values{"monitoring": values{"expose": "yes"}}, "expose"},
		"no interval":          {values{"monitoring": values{"interval": "often"}}, "interval"},
		"a label of spaces":    {values{"monitoring": values{"labels": values{"release": "a b"}}}, "release"},
		"an unknown monitor":   {values{"monitoring": values{"serviceMonitor": true}}, "serviceMonitor"},
	} {
		t.Run(name, func(t *testing.T) {
			if _, err := template(test.values, namespace); err == nil || !strings.Contains(err.Error(), test.says) {
				t.Errorf("got %v, want an error that names %s", err, test.says)
			}
		})
	}
	if _, err := template(nil, "warren"); err == nil || !strings.Contains(err.Error(), "want kube-system") {
		t.Errorf("another namespace: got %v", err)
	}
}

// TestLint is `helm lint --strict` of each mode.
func TestLint(t *testing.T) {
	for folder, with := range charts {
		for _, message := range lint.All(chartFolder, with, namespace, true).Messages {
			if !strings.Contains(message.Error(), "icon is recommended") {
				t.Errorf("the chart as %s: %v", folder, message)
			}
		}
	}
}

// template is what `helm template` prints.
func template(with values, namespace string) (string, error) {
	chart, err := loader.Load(chartFolder)
	if err != nil {
		return "", err
	}
	release := chartutil.ReleaseOptions{Name: "warren", Namespace: namespace, IsInstall: true}
	all, err := chartutil.ToRenderValues(chart, with, release, chartutil.DefaultCapabilities)
	if err != nil {
		return "", err
	}
	files, err := engine.Render(chart, all)
	if err != nil {
		return "", err
	}
	var text strings.Builder
	for _, file := range files {
		text.WriteString("---\n" + file + "\n")
	}
	return text.String(), nil
}

// objects are those of a YAML stream by kind and name. What the order says nothing in, environments, is sorted.
func objects(t *testing.T, text string) map[string]values {
	t.Helper()
	all := make(map[string]values)
	for _, document := range strings.Split("\n"+text, "\n---") {
		var object values
		if err := yaml.UnmarshalStrict([]byte(document), &object); err != nil {
			t.Fatalf("%v:\n%s", err, document)
		}
		if object == nil {
			continue
		}
		name := object["kind"].(string) + " " + object["metadata"].(values)["name"].(string)
		if all[name] != nil {
			t.Errorf("%s is there twice", name)
		}
		all[name] = object
		if object["kind"] == "DaemonSet" {
			for _, container := range containers(object) {
				if env, ok := container.(values)["env"].([]any); ok {
					slices.SortFunc(env, func(a, b any) int {
						return cmp.Compare(a.(values)["name"].(string), b.(values)["name"].(string))
					})
				}
			}
		}
	}
	return all
}

func containers(set values) []any {
	return set["spec"].(values)["template"].(values)["spec"].(values)["containers"].([]any)
}
