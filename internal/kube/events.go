package kube

import (
	"context"
	"fmt"
	"strings"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/kubernetes/scheme"
	"k8s.io/client-go/tools/events"

	"github.com/warren-mesh/warren/mesh"
)

const (
	// reportingController names us in every Event.
	reportingController = "warren.dev/warrend"
	// reconciling, restoring and enforcing are what was being done; the API wants that in every Event.
	reconciling = "Reconcile"
	restoring   = "Restore"
	enforcing   = "Enforce"
	// reasonNotAsWritten is that of a policy of which something cannot be honoured.
	reasonNotAsWritten = "NotAsWritten"
	// reasonNotPoliced is that of a pod on which policy is not enforced.
	reasonNotPoliced = "PolicyNotEnforced"
	// maxActionBytes is the API's limit for an Event's action.
	maxActionBytes = 128
	// maxNoteBytes is the API's limit for an Event's note.
	maxNoteBytes = 1024
)

// EventType is how grave an Event is.
type EventType string

// The two types that Kubernetes has.
const (
	Normal  EventType = EventType(corev1.EventTypeNormal)
	Warning EventType = EventType(corev1.EventTypeWarning)
)

// Recorder writes Events about the own Node. It is safe for concurrent use.
type Recorder struct {
	node     string
	recorder events.EventRecorder
}

// NewRecorder starts a recorder that ends with ctx.
func (c *Client) NewRecorder(ctx context.Context) (*Recorder, error) {
	broadcaster := events.NewBroadcaster(&events.EventSinkImpl{Interface: c.events.EventsV1()})
	if err := broadcaster.StartRecordingToSinkWithContext(ctx); err != nil {
		return nil, fmt.Errorf("recording Events: %w", err)
	}
	context.AfterFunc(ctx, broadcaster.Shutdown)
	return &Recorder{node: c.node, recorder: broadcaster.NewRecorder(scheme.Scheme, reportingController)}, nil
}

// Event writes an Event about the own Node and never blocks: what cannot be written after two minutes of trying is lost.
// reason is a CamelCase word. related is the other Node that it is about; nil for none.
//
// Events within some minutes that differ in the note only are one, with a count and the first one's note. So a hostile
// Node that changes all the time costs the API server nothing.
func (r *Recorder) Event(t EventType, reason, note string, related *mesh.Node) {
	var other runtime.Object
	if related != nil {
		other = &corev1.ObjectReference{APIVersion: "v1", Kind: "Node", Name: related.Name, UID: types.UID(related.UID)}
	}
	r.write(t, reason, reconciling, note, other)
}

// Drift writes an Event, as Event does, that parts of what the agent keeps in the kernel were put right. The parts are in its action, so
// that drift of other parts is another Event, with a note of its own. They are few: whoever changes things all the time is told of as
// often as there are sets of them, and counted.
func (r *Recorder) Drift(note string, parts []string) {
	r.write(Warning, "Drift", restoring+":"+strings.Join(parts, ","), note, nil)
}

// PolicyRef says which policy.
type PolicyRef struct {
	Kind            PolicyKind
	Namespace, Name string
	UID             string
}

// Policy writes an Event, as Event does, about a policy and not the Node: of which field of it what is not as written. The field is in its
// action, so that another field is another Event.
func (r *Recorder) Policy(p PolicyRef, field, note string) {
	regarding := &corev1.ObjectReference{
		APIVersion: networkPoliciesResource.GroupVersion().String(), Kind: string(p.Kind), Namespace: p.Namespace, Name: p.Name, UID: types.UID(p.UID),
	}
	if p.Kind == ClusterPolicyKind {
		regarding.APIVersion = clusterPoliciesResource.GroupVersion().String()
	}
	r.recorder.Eventf(regarding, nil, string(Warning), reasonNotAsWritten, cutAction(enforcing+":"+field), "%s", cutNote(note))
}

// NotPoliced writes an Event, as Event does, about a Pod of the own node on which policy is not enforced.
func (r *Recorder) NotPoliced(p PodHere, note string) {
	regarding := &corev1.ObjectReference{APIVersion: "v1", Kind: string(PodKind), Namespace: p.Namespace, Name: p.Name, UID: types.UID(p.UID)}
	r.recorder.Eventf(regarding, nil, string(Warning), reasonNotPoliced, enforcing, "%s", cutNote(note))
}

func (r *Recorder) write(t EventType, reason, action, note string, related runtime.Object) {
	// As kubelet does, with the name for the UID: it is found by `kubectl describe node`, and it needs no Node to exist yet.
	regarding := &corev1.ObjectReference{APIVersion: "v1", Kind: "Node", Name: r.node, UID: types.UID(r.node)}
	r.recorder.Eventf(regarding, related, string(t), reason, action, "%s", cutNote(note))
}

// cutNote makes a note fit: valid UTF-8 of at most maxNoteBytes.
func cutNote(note string) string {
	note = strings.ToValidUTF8(note, "\uFFFD")
	if len(note) <= maxNoteBytes {
		return note
	}
	const dots = "..."
	return strings.ToValidUTF8(note[:maxNoteBytes-len(dots)], "") + dots
}

// cutAction makes an action fit.
func cutAction(action string) string {
	return strings.ToValidUTF8(action[:min(len(action), maxActionBytes)], "")
}
