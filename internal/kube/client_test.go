package kube

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"
	"k8s.io/klog/v2"
)

func TestNewSaysWhatIsWrong(t *testing.T) {
	empty := filepath.Join(t.TempDir(), "kubeconfig")
	if err := os.WriteFile(empty, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	t.Setenv("KUBERNETES_SERVICE_HOST", "")
	for _, test := range []struct {
		name    string
		options Options
		want    string
	}{
		{"no node name", Options{Kubeconfig: empty}, "no node name"},
		{"no such file", Options{NodeName: "n1", Kubeconfig: empty + "x"}, empty + "x"},
		{"an empty file", Options{NodeName: "n1", Kubeconfig: empty}, empty},
		{"not in a cluster", Options{NodeName: "n1"}, "--kubeconfig"},
	} {
		if _, err := New(test.options); err == nil || !strings.Contains(err.Error(), test.want) {
			t.Errorf("%s: error %v, want one with %q", test.name, err, test.want)
		}
	}
}

func TestRedirectKlog(t *testing.T) {
	core, logs := observer.New(zap.InfoLevel)
	RedirectKlog(zap.New(core))
	t.Cleanup(klog.ClearLogger)
	klog.InfoS("said", "key", "value")
	klog.Background().V(1).Info("too fine")
	klog.Background().Error(os.ErrNotExist, "failed")
	if got := logs.FilterMessage("said").FilterField(zap.String("key", "value")).Len(); got != 1 || logs.Len() != 2 {
		t.Errorf("zap has %+v", logs.All())
	}
}
