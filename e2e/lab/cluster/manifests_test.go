package cluster

import (
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
)

const manifestsFolder = "../../../manifests"

// TestOneFile: what `kubectl apply -f` takes is what the base says.
func TestOneFile(t *testing.T) {
	file, err := os.ReadFile(filepath.Join(manifestsFolder, "warren.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(file), render(t, "base")); diff != "" {
		t.Errorf("manifests/warren.yaml is not what manifests/base says; run `make manifests` (-file +base):\n%s", diff)
	}
}

// testManifests holds what users apply to the real API server, strictly: an unknown field, or one that is there twice, is refused, as is
// whatever the API's own validation and our admission policies refuse.
func testManifests(t *testing.T, c *Cluster) {
	base := render(t, "base")
	overlays, err := filepath.Glob(filepath.Join(manifestsFolder, "overlays", "*"))
	if err != nil || len(overlays) == 0 {
		t.Fatal("no overlays", err)
	}
	for _, overlay := range append([]string{"base"}, overlays...) {
		name := filepath.Base(overlay)
		t.Run(name, func(t *testing.T) {
			text := base
			if name != "base" {
				text = render(t, filepath.Join("overlays", name))
			}
			if err := c.Apply(t.Context(), []byte(text)); err != nil {
				t.Fatal(err)
			}
			sets := daemonSets(t, text)
			has := maps.Clone(capabilities)
			if name == "mesh-only" || name == "policy-only" {
				has["agent"] = []corev1.Capability{"NET_ADMIN"}
			}
			for _, set := range sets {
				tryPod(t, c, set)
				hardened(t, set, has)
			}
			agent := sets["warren"].Spec.Template.Spec.Containers[0]
			if got, want := environment(agent), environments[name]; !cmp.Equal(got, want) {
				t.Errorf("the agent's environment (-want +got):\n%s", cmp.Diff(want, got))
			}
			if _, tunnel := sets["warren-tunnel"]; tunnel == (name == "kernel-only" || name == "policy-only") {
				t.Errorf("has warren-tunnel: %t", tunnel)
			}
		})
	}
	t.Run("uninstall", func(t *testing.T) {
		text, err := os.ReadFile(filepath.Join(manifestsFolder, "uninstall.yaml"))
		if err != nil {
			t.Fatal(err)
		}
		if err := c.Apply(t.Context(), text); err != nil {
			t.Fatal(err)
		}
		set := daemonSets(t, string(text))["warren-uninstall"]
		tryPod(t, c, set)
		hardened(t, set, capabilities)
		want := daemonSets(t, base)["warren"].Spec.Template.Spec.Containers[0].Image
		for _, container := range slices.Concat(set.Spec.Template.Spec.InitContainers, set.Spec.Template.Spec.Containers) {
			if container.Image != want {
				t.Errorf("%s has image %s, the agent %s", container.Name, container.Image, want)
			}
		}
	})
	t.Run("a wrong field is refused", func(t *testing.T) {
		for _, wrong := range []string{"hostNetwrk: true", "hostNetwork: true\n      hostNetwork: true"} {
			name, _, _ := strings.Cut(wrong, ":")
			err := c.Apply(t.Context(), []byte(strings.Replace(base, "hostNetwork: true", wrong, 1)))
			if err == nil || !strings.Contains(err.Error(), name) {
				t.Errorf("%q: got %v", wrong, err)
			}
		}
	})
}

// environments are what the agents of each overlay are told.
var environments = map[string]map[string]string{
	"base":        {"WARREN_CLUSTER_CIDR": "10.244.0.0/16", "WARREN_TUNNEL_SOCKET": "/run/warren/tunnel.sock"},
	"dual-stack":  {"WARREN_CLUSTER_CIDR": "10.244.0.0/16,fd00:10:244::/48", "WARREN_TUNNEL_SOCKET": "/run/warren/tunnel.sock"},
	"pools":       {"WARREN_CLUSTER_CIDR": "10.244.0.0/16", "WARREN_TUNNEL_SOCKET": "/run/warren/tunnel.sock", "WARREN_IPAM": "pools"},
	"kernel-only": {"WARREN_CLUSTER_CIDR": "10.244.0.0/16", "WARREN_WIREGUARD": "kernel"},
	"mesh-only":   {"WARREN_CLUSTER_CIDR": "10.244.0.0/16", "WARREN_TUNNEL_SOCKET": "/run/warren/tunnel.sock", "WARREN_MODE": "mesh"},
	"policy-only": {"WARREN_MODE": "policy"},
}

func environment(c corev1.Container) map[string]string {
	values := make(map[string]string)
	for _, e := range c.Env {
		if e.Value != "" {
			values[e.Name] = e.Value
		}
	}
	return values
}

// render is what `kubectl apply -k` would apply of a folder of manifests.
func render(t *testing.T, folder string) string {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "go", "run", ".", filepath.Join("..", folder))
	cmd.Dir = filepath.Join(manifestsFolder, "render")
	var stderr strings.Builder
	cmd.Stderr = &stderr
	text, err := cmd.Output()
	if err != nil {
		t.Fatalf("rendering %s: %v\n%s", folder, err, stderr.String())
	}
	return string(text)
}

func daemonSets(t *testing.T, text string) map[string]*appsv1.DaemonSet {
	t.Helper()
	objects, err := decode([]byte(text))
	if err != nil {
		t.Fatal(err)
	}
	sets := make(map[string]*appsv1.DaemonSet)
	for _, object := range objects {
		if object.GetKind() != "DaemonSet" {
			continue
		}
		var set appsv1.DaemonSet
		if err := runtime.DefaultUnstructuredConverter.FromUnstructuredWithValidation(object.Object, &set, true); err != nil {
			t.Fatal(err)
		}
		sets[set.Name] = &set
	}
	if len(sets) == 0 {
		t.Fatal("there is no DaemonSet")
	}
	return sets
}

// tryPod has the API server judge a DaemonSet's pod: the DaemonSet's own validation does not know its ServiceAccount and priority class.
func tryPod(t *testing.T, c *Cluster, set *appsv1.DaemonSet) {
	t.Helper()
	pod := &corev1.Pod{ObjectMeta: set.Spec.Template.ObjectMeta, Spec: set.Spec.Template.Spec}
	pod.GenerateName = set.Name + "-"
	options := metav1.CreateOptions{DryRun: []string{metav1.DryRunAll}, FieldValidation: metav1.FieldValidationStrict}
	made, err := c.Admin().CoreV1().Pods(set.Namespace).Create(t.Context(), pod, options)
	if err != nil {
		t.Errorf("a pod of %s: %v", set.Name, err)
		return
	}
	if made.Spec.Priority == nil || *made.Spec.Priority < 2_000_000_000 {
		t.Errorf("a pod of %s has the priority %v", set.Name, made.Spec.Priority)
	}
	token := slices.ContainsFunc(made.Spec.Volumes, func(v corev1.Volume) bool { return v.Projected != nil })
	if want := set.Name == "warren"; token != want {
		t.Errorf("a pod of %s has a token: %t, want %t", set.Name, token, want)
	}
}

// capabilities are all that containers have.
var capabilities = map[string][]corev1.Capability{
	"install": {"DAC_OVERRIDE"},
	"agent":   {"NET_ADMIN", "SYS_ADMIN"},
	"tunnel":  {"NET_ADMIN"},
	// Of manifests/uninstall.yaml; what comes after it does nothing.
	"uninstall": {"DAC_OVERRIDE", "NET_ADMIN"},
}

// hardened sees that no container has more than it needs.
func hardened(t *testing.T, set *appsv1.DaemonSet, capabilities map[string][]corev1.Capability) {
	t.Helper()
	spec := set.Spec.Template.Spec
	if spec.SecurityContext.SeccompProfile.Type != corev1.SeccompProfileTypeRuntimeDefault || spec.HostPID || spec.HostIPC {
		t.Errorf("%s: seccomp %v, host's PIDs %t, host's IPC %t", set.Name, spec.SecurityContext.SeccompProfile, spec.HostPID, spec.HostIPC)
	}
	for _, container := range slices.Concat(spec.InitContainers, spec.Containers) {
		s := container.SecurityContext
		if *s.Privileged || *s.AllowPrivilegeEscalation || !*s.ReadOnlyRootFilesystem {
			t.Errorf("%s: %+v", container.Name, s)
		}
		if want := (&corev1.Capabilities{Drop: []corev1.Capability{"ALL"}, Add: capabilities[container.Name]}); !cmp.Equal(s.Capabilities, want) {
			t.Errorf("%s (-want +got):\n%s", container.Name, cmp.Diff(want, s.Capabilities))
		}
		if container.Resources.Requests.Cpu().IsZero() || container.Resources.Requests.Memory().IsZero() {
			t.Errorf("%s requests no resources", container.Name)
		}
	}
}
