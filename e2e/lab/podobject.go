package lab

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/wait"
	typedcorev1 "k8s.io/client-go/kubernetes/typed/core/v1"

	"github.com/warren-mesh/warren/e2e/lab/pace"
)

// PodOptions say what a pod's Pod object is like.
type PodOptions struct {
	// Namespace is there already; default "default".
	Namespace, Name     string
	Labels, Annotations map[string]string
	Ports               []corev1.ContainerPort
	// Asks are what the runtime asks the plugins for, by the capabilities of the configuration.
	Asks map[string]any
	// Once says that the runtime does not try again where the plugins say "later".
	Once bool
	// Before runs when the pod has its namespaces, and no network yet.
	Before func(*Pod) error
}

// ErrAPIServerAway says that a pod is not started, or goes unnoticed, because the API server is stopped.
var ErrAPIServerAway = errors.New("the API server is away")

// apiPatience is how long a Pod object may take to be made or changed.
const apiPatience = 20 * time.Second

func (p *Pod) key() types.NamespacedName {
	return types.NamespacedName{Namespace: p.Namespace, Name: p.ObjectName}
}

func (p *Pod) objects() typedcorev1.PodInterface {
	return p.Node.lab.Cluster().Admin().CoreV1().Pods(p.Namespace)
}

// register makes the Pod object, unless kubelet knows of the pod already: such a one is started anew, also while the API server is away.
func (p *Pod) register(ctx context.Context, o PodOptions) error {
	n := p.Node
	if n.lab.Cluster() == nil || n.knows(p) {
		return nil
	}
	object := &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Name: p.ObjectName, Labels: o.Labels, Annotations: o.Annotations},
		Spec:       corev1.PodSpec{NodeName: n.Name, Containers: []corev1.Container{{Name: "one", Image: "none", Ports: o.Ports}}},
	}
	err := n.lab.ask(ctx, func(ctx context.Context) error {
		_, err := p.objects().Create(ctx, object, metav1.CreateOptions{})
		return err
	})
	if err != nil {
		return fmt.Errorf("making Pod %s: %w", p.key(), err)
	}
	n.learn(p, nil)
	return nil
}

// Schedule makes a Pod object that kubelet knows of, of a pod that is not started until it is added.
func (n *Node) Schedule(ctx context.Context, o PodOptions) error {
	setDefault(&o.Namespace, podNamespace)
	return (&Pod{Node: n, Namespace: o.Namespace, ObjectName: o.Name}).register(ctx, o)
}

// report puts the pod's addresses into its status, where they are others than kubelet reported last. While the API server is away, which is
// no error, that is put off until it is back.
func (p *Pod) report(ctx context.Context) error {
	n := p.Node
	if n.lab.Cluster() == nil || n.reported(p) {
		return nil
	}
	patch, err := RunningPatch(p.Addresses)
	if err != nil {
		return err
	}
	err = n.lab.ask(ctx, func(ctx context.Context) error {
		_, err := p.objects().Patch(ctx, p.ObjectName, types.MergePatchType, patch, metav1.PatchOptions{}, "status")
		return err
	})
	if errors.Is(err, ErrAPIServerAway) {
		go p.reportLater(context.WithoutCancel(ctx))
		return nil
	}
	if err != nil {
		return fmt.Errorf("reporting the addresses of Pod %s: %w", p.key(), err)
	}
	n.learn(p, p.Addresses)
	return nil
}

// RunningPatch is the patch of a Pod's status that says that it runs and has these addresses, at least one.
func RunningPatch(addrs []netip.Addr) ([]byte, error) {
	status := corev1.PodStatus{Phase: corev1.PodRunning, PodIP: addrs[0].String()}
	for _, a := range addrs {
		status.PodIPs = append(status.PodIPs, corev1.PodIP{IP: a.String()})
	}
	return json.Marshal(map[string]any{"status": status})
}

// reportLater reports when the API server is back, unless the pod is gone by then.
func (p *Pod) reportLater(ctx context.Context) {
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for {
		select {
		case <-p.gone:
			return
		case <-tick.C:
		}
		if p.Node.lab.Cluster().APIServerRunning() {
			_ = p.report(ctx) // what fails here fails who waits for the address
			return
		}
	}
}

// unregister deletes the Pod object, as kubelet does when the pod's network is gone. While the API server is away, which nobody can have told
// kubelet to do, the object stays, and the pod may be started anew.
func (p *Pod) unregister(ctx context.Context) error {
	n := p.Node
	if n.lab.Cluster() == nil || !n.knows(p) {
		return nil
	}
	err := n.lab.ask(ctx, func(ctx context.Context) error {
		return p.objects().Delete(ctx, p.ObjectName, metav1.DeleteOptions{GracePeriodSeconds: new(int64)})
	})
	switch {
	case errors.Is(err, ErrAPIServerAway):
		return nil
	case err != nil && !apierrors.IsNotFound(err):
		return fmt.Errorf("deleting Pod %s: %w", p.key(), err)
	}
	n.forget(p)
	return nil
}

// ask has the API server do something: again while it comes up, or while a new namespace has no ServiceAccount yet.
func (l *Lab) ask(ctx context.Context, do func(context.Context) error) (err error) {
	ctx, cancel := context.WithTimeout(ctx, pace.Scale(apiPatience))
	defer cancel()
	waited := wait.PollUntilContextCancel(ctx, 20*time.Millisecond, true, func(ctx context.Context) (bool, error) {
		if !l.Cluster().APIServerRunning() {
			err = ErrAPIServerAway
			return true, nil
		}
		if err = do(ctx); err == nil {
			return true, nil
		}
		answered := apierrors.APIStatus(nil)
		later := !errors.As(err, &answered) || apierrors.IsServiceUnavailable(err) || apierrors.IsInternalError(err) ||
			apierrors.IsForbidden(err) && strings.Contains(err.Error(), "service account")
		return !later, nil
	})
	if waited != nil && err == nil {
		err = waited
	}
	return err
}

// knows says whether the node's kubelet knows of the pod, which has a Pod object then.
func (n *Node) knows(p *Pod) bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	_, is := n.known[p.key()]
	return is
}

func (n *Node) reported(p *Pod) bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	return slices.Equal(n.known[p.key()], p.Addresses)
}

// learn has kubelet know of a pod, and of the addresses that it has reported.
func (n *Node) learn(p *Pod, reported []netip.Addr) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.known == nil {
		n.known = map[types.NamespacedName][]netip.Addr{}
	}
	n.known[p.key()] = reported
}

func (n *Node) forget(p *Pod) {
	n.mu.Lock()
	defer n.mu.Unlock()
	delete(n.known, p.key())
}

// collectPods deletes the Pod objects of a node that is gone for good, as the garbage collector of pods does.
func (n *Node) collectPods(ctx context.Context) error {
	n.mu.Lock()
	known := n.known
	n.known = nil
	n.mu.Unlock()
	var errs []error
	for key := range known {
		p := &Pod{Node: n, Namespace: key.Namespace, ObjectName: key.Name}
		n.learn(p, nil)
		errs = append(errs, p.unregister(ctx))
	}
	return errors.Join(errs...)
}
