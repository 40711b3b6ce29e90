package agent

import (
	"github.com/warren-mesh/warren/internal/socket"
	"github.com/warren-mesh/warren/policy"
	"github.com/warren-mesh/warren/policy/nft"
)

// ShowPolicy implements socket.Backend.
func (a *Agent) ShowPolicy(pod string) (socket.PolicyOfPod, error) {
	key, err := podKey(pod)
	if err != nil {
		return socket.PolicyOfPod{}, err
	}
	e := &a.enforcement
	e.asking.Lock()
	defer e.asking.Unlock()
	w, err := e.world(func(p policy.Pod) bool { return p.PodKey == key })
	if err != nil {
		return socket.PolicyOfPod{}, err
	}
	shown, err := w.Show(key)
	if err != nil {
		return socket.PolicyOfPod{}, err
	}
	e.mu.Lock()
	bound := e.index.Bound(key)
	e.mu.Unlock()
	out := socket.PolicyOfPod{Pod: pod, Node: a.config.NodeName, Local: len(bound.Pods) > 0, Policies: shown.String(), Behind: e.behind()}
	if out.Local {
		out.Kernel = nft.Options{LogGroup: e.logGroup, Theirs: a.config.Mode == PolicyOnly}.DumpParts(bound)
	}
	return out, nil
}
