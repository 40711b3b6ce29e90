package main

import (
	"context"
	"fmt"
	"io"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/serializer"
	"k8s.io/apimachinery/pkg/types"
	corev1ac "k8s.io/client-go/applyconfigurations/core/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"

	"golang.org/x/sync/errgroup"

	"github.com/warren-mesh/warren/api/v1alpha1"
	"github.com/warren-mesh/warren/bench/command"
	"github.com/warren-mesh/warren/mesh"
)

// Who writes what of a Node, as managedFields tell it.
const (
	byController = "kube-controller-manager"
	byKubelet    = "kubelet"
	byAgent      = "warrend"
)

// writers is how many requests are made at the same time.
const writers = 8

// fleet are the Nodes that have no machine. They are written by an admin in the names of their kubelets, agents and of the
// controller-manager, whose own rate would take most of an hour.
type fleet struct {
	admin kubernetes.Interface
	keys  rest.Interface
	out   io.Writer
	// members are those with a Node, a NodeKey and a claim.
	members []*member
	// next is the number of the next one.
	next int
}

func newFleet(admin kubernetes.Interface, config *rest.Config, out io.Writer) (*fleet, error) {
	scheme := runtime.NewScheme()
	if err := v1alpha1.AddToScheme(scheme); err != nil {
		return nil, fmt.Errorf("making a client for NodeKeys: %w", err)
	}
	config.GroupVersion, config.APIPath = &v1alpha1.GroupVersion, "/apis"
	config.NegotiatedSerializer = serializer.NewCodecFactory(scheme).WithoutConversion()
	keys, err := rest.RESTClientFor(config)
	if err != nil {
		return nil, fmt.Errorf("making a client for NodeKeys: %w", err)
	}
	return &fleet{admin: admin, keys: keys, out: out}, nil
}

// grow makes the fleet as large as said.
func (f *fleet) grow(ctx context.Context, size int) error {
	start, had := time.Now(), len(f.members)
	added, err := f.stage(ctx, size-had)
	if err != nil {
		return err
	}
	if err := command.Each(ctx, writers, len(added), func(ctx context.Context, i int) error { return f.settle(ctx, added[i]) }); err != nil {
		return err
	}
	f.members = append(f.members, added...)
	fmt.Fprintf(f.out, "%d Nodes more in %s\n", len(f.members)-had, time.Since(start).Round(time.Second))
	return nil
}

// stage makes Nodes with NodeKeys that have not published a claim.
func (f *fleet) stage(ctx context.Context, count int) ([]*member, error) {
	var staged []*member
	for range count {
		staged = append(staged, newMember(f.next))
		f.next++
	}
	return staged, command.Each(ctx, writers, count, func(ctx context.Context, i int) error { return f.register(ctx, staged[i]) })
}

// register does what the controller-manager, the kubelet and, before its claim, the agent of a new Node do.
func (f *fleet) register(ctx context.Context, m *member) error {
	node, err := f.admin.CoreV1().Nodes().Create(ctx, m.registered(), metav1.CreateOptions{FieldManager: byController})
	if err != nil {
		return fmt.Errorf("making Node %s: %w", m.name, err)
	}
	m.uid = string(node.UID)
	patch, err := m.kubeletMetadata()
	if err == nil {
		err = f.patch(ctx, m, patch)
	}
	if err != nil {
		return err
	}
	if patch, err = m.status(); err == nil {
		err = f.patch(ctx, m, patch, "status")
	}
	if err != nil {
		return err
	}
	return f.makeKey(ctx, m)
}

func (f *fleet) patch(ctx context.Context, m *member, patch []byte, subresources ...string) error {
	options := metav1.PatchOptions{FieldManager: byKubelet}
	if _, err := f.admin.CoreV1().Nodes().Patch(ctx, m.name, types.StrategicMergePatchType, patch, options, subresources...); err != nil {
		return fmt.Errorf("patching Node %s: %w", m.name, err)
	}
	return nil
}

func (f *fleet) makeKey(ctx context.Context, m *member) error {
	key := &v1alpha1.NodeKey{
		ObjectMeta: metav1.ObjectMeta{
			Name:            v1alpha1.NodeKeyName(m.claim.PublicKey),
			OwnerReferences: []metav1.OwnerReference{{APIVersion: "v1", Kind: "Node", Name: m.name, UID: types.UID(m.uid)}},
		},
		Spec: v1alpha1.NodeKeySpec{PublicKey: m.claim.PublicKey.String(), NodeName: m.name},
	}
	if err := f.keys.Post().Resource(v1alpha1.ResourceNodeKeys).Body(key).Do(ctx).Error(); err != nil {
		return fmt.Errorf("making the NodeKey of %s: %w", m.name, err)
	}
	return nil
}

// settle leaves the member as its agent has it some time after its claim has changed: with that, without the label, and with a network that is
// available.
func (f *fleet) settle(ctx context.Context, m *member) error {
	if err := f.apply(ctx, m, m.applied()); err != nil {
		return err
	}
	now := metav1.Now()
	status := corev1ac.Node(m.name).WithStatus(corev1ac.NodeStatus().WithConditions(corev1ac.NodeCondition().
		WithType(corev1.NodeNetworkUnavailable).WithStatus(corev1.ConditionFalse).WithReason("WarrenIsUp").
		WithMessage("Warren has programmed the mesh").WithLastHeartbeatTime(now).WithLastTransitionTime(now)))
	options := metav1.ApplyOptions{FieldManager: byAgent, Force: true}
	if _, err := f.admin.CoreV1().Nodes().ApplyStatus(ctx, status, options); err != nil {
		return fmt.Errorf("setting a condition of Node %s: %w", m.name, err)
	}
	return nil
}

// publish says the member's claim as its agent does: with the label by which everybody is told.
func (f *fleet) publish(ctx context.Context, m *member) error {
	return f.apply(ctx, m, m.applied().WithLabels(map[string]string{mesh.LabelChanged: ""}))
}

func (f *fleet) apply(ctx context.Context, m *member, node *corev1ac.NodeApplyConfiguration) error {
	if _, err := f.admin.CoreV1().Nodes().Apply(ctx, node, metav1.ApplyOptions{FieldManager: byAgent, Force: true}); err != nil {
		return fmt.Errorf("publishing the claim of Node %s: %w", m.name, err)
	}
	return nil
}

// remove deletes a member's Node. Its NodeKey follows by the garbage collector.
func (f *fleet) remove(ctx context.Context, m *member) error {
	err := f.admin.CoreV1().Nodes().Delete(ctx, m.name, metav1.DeleteOptions{})
	if err != nil && !apierrors.IsNotFound(err) {
		return fmt.Errorf("deleting Node %s: %w", m.name, err)
	}
	return nil
}

// beat has the members' kubelets report their status, in turn and evenly, for a while. It returns how many did.
func (f *fleet) beat(ctx context.Context, period, span time.Duration) (beats int, err error) {
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(writers)
	tick := time.NewTicker(period / time.Duration(len(f.members)))
	defer tick.Stop()
	for end := time.Now().Add(span); time.Now().Before(end) && ctx.Err() == nil; beats++ {
		m := f.members[beats%len(f.members)]
		group.Go(func() error {
			patch, err := heartbeat(time.Now())
			if err != nil {
				return err
			}
			return f.patch(ctx, m, patch, "status")
		})
		select {
		case <-ctx.Done():
		case <-tick.C:
		}
	}
	return beats, group.Wait()
}
