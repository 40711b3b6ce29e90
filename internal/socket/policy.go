package socket

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/netip"
	"strconv"
	"time"
)

// PolicyBackend answers what is asked about policy.
type PolicyBackend interface {
	// Explain says what becomes of a connection, and why.
	Explain(q Question) (Explained, error)
	// ShowPolicy says which policies are about a pod, whose name is NAMESPACE/NAME.
	ShowPolicy(pod string) (PolicyOfPod, error)
	// PreviewPolicy says which of the node's flows previewed policies would cut.
	PreviewPolicy() (Previews, error)
	// Drops are the denied packets after that number, as many as are kept. Where there are none, and ctx lives, it waits for one until then.
	Drops(ctx context.Context, after uint64) (Drops, error)
}

// Question is what `warren policy explain` asks: its words, which the agent reads.
type Question struct {
	From string `json:"from"`
	To   string `json:"to"`
	Port string `json:"port"`
}

// Explained is the answer. A connection may have several paths, one for each pair of addresses of one family.
type Explained struct {
	// Allowed says that all paths are, and Denied that none is.
	Allowed bool   `json:"allowed"`
	Denied  bool   `json:"denied"`
	Paths   []Path `json:"paths"`
	// Words are the same for people.
	Words string `json:"words"`
	// Behind says why the kernel may hold something else; empty where it does not.
	Behind string `json:"behind,omitempty"`
}

// Path is a connection between two addresses, allowed where it is at both ends.
type Path struct {
	From     netip.Addr `json:"from"`
	To       netip.Addr `json:"to"`
	Protocol string     `json:"protocol"`
	Port     uint16     `json:"port,omitempty"`
	Allowed  bool       `json:"allowed"`
	Egress   Verdict    `json:"egress"`
	Ingress  Verdict    `json:"ingress"`
}

// Verdict is what is decided at one end of a path.
type Verdict struct {
	// Pod is NAMESPACE/NAME; empty for what is no pod.
	Pod     string `json:"pod,omitempty"`
	Allowed bool   `json:"allowed"`
	// Rule is what decided; none where that was no rule.
	Rule *Rule  `json:"rule,omitempty"`
	Why  string `json:"why"`
}

// Rule names a rule of a policy.
type Rule struct {
	// Tier is Admin, NetworkPolicy or Baseline.
	Tier string `json:"tier"`
	// Namespace is empty for ClusterNetworkPolicies. Policy is empty where several NetworkPolicies isolate a pod, and no rule matches.
	Namespace string `json:"namespace,omitempty"`
	Policy    string `json:"policy,omitempty"`
	// Index is that in the policy's list of the direction; none where no rule of it matched.
	Index *int   `json:"index,omitempty"`
	Name  string `json:"name,omitempty"`
}

// PolicyOfPod is what `warren policy show` shows.
type PolicyOfPod struct {
	Pod string `json:"pod"`
	// Node is where this was asked, and Local whether the pod is there.
	Node  string `json:"node"`
	Local bool   `json:"local"`
	// Policies are in words, and Kernel what nftables holds for the pod, as `nft list` would print it.
	Policies string `json:"policies"`
	Kernel   string `json:"kernel,omitempty"`
	Behind   string `json:"behind,omitempty"`
}

// Previews are of the flows that a node has now.
type Previews struct {
	Node     string    `json:"node"`
	Flows    int       `json:"flows"`
	Policies []Preview `json:"policies"`
	// Unjudged is how many flows were too many.
	Unjudged int `json:"unjudged,omitempty"`
}

// Preview is of one policy that is not enforced.
type Preview struct {
	Kind      string `json:"kind"`
	Namespace string `json:"namespace,omitempty"`
	Policy    string `json:"policy"`
	Cuts      []Cut  `json:"cuts"`
}

// Cut is a flow that would be cut, at which pod and by which rule.
type Cut struct {
	From      End    `json:"from"`
	To        End    `json:"to"`
	Protocol  string `json:"protocol"`
	Direction string `json:"direction"`
	Pod       string `json:"pod"`
	Rule      Rule   `json:"rule"`
}

// End is one end of a flow or a packet.
type End struct {
	// Pod is NAMESPACE/NAME; empty for what is no pod that is known.
	Pod     string     `json:"pod,omitempty"`
	Address netip.Addr `json:"address"`
	Port    uint16     `json:"port,omitempty"`
}

// Drop is one packet that was dropped.
type Drop struct {
	// Number is one more than that of the one before.
	Number    uint64    `json:"number"`
	Time      time.Time `json:"time"`
	From      End       `json:"from"`
	To        End       `json:"to"`
	Protocol  string    `json:"protocol"`
	Direction string    `json:"direction"`
	// Pod is whose side it was, and Interface the host's end of its link.
	Pod       string `json:"pod,omitempty"`
	Interface string `json:"interface"`
	// Reason is "rule", "isolated" (no rule of the policies in IsolatedBy matches), "no rules yet", "revoked", "spoofed source" or "past rule".
	Reason     string   `json:"reason"`
	Rule       *Rule    `json:"rule,omitempty"`
	IsolatedBy []string `json:"isolatedBy,omitempty"`
	// Missed is how many more the kernel had to tell of before it, and lost.
	Missed uint32 `json:"missed,omitempty"`
}

// Drops are packets that were dropped, in their order. Next is what to ask with for those after them.
type Drops struct {
	Drops []Drop `json:"drops"`
	Next  uint64 `json:"next"`
	// Gone is how many there were between what was asked for and the first, and are kept no more.
	Gone uint64 `json:"gone,omitempty"`
}

// Explain asks what becomes of a connection.
func (c *Client) Explain(ctx context.Context, q Question) (Explained, error) {
	return tell[Explained](ctx, c, "explain", q)
}

// ShowPolicy asks which policies are about a pod.
func (c *Client) ShowPolicy(ctx context.Context, pod string) (PolicyOfPod, error) {
	return tell[PolicyOfPod](ctx, c, "show", pod)
}

// PreviewPolicy asks which flows previewed policies would cut.
func (c *Client) PreviewPolicy(ctx context.Context) (Previews, error) {
	return ask[Previews](ctx, c, "preview")
}

// Drops asks for denied packets; with wait for the next ones, should there be none within seconds for none.
func (c *Client) Drops(ctx context.Context, after uint64, wait bool) (Drops, error) {
	return ask[Drops](ctx, c, fmt.Sprintf("drops?after=%d&wait=%t", after, wait))
}

// maxQuestion is more than a question has, in bytes, and dropsWait how long one for packets waits: less than a client does.
const (
	maxQuestion = 4096
	dropsWait   = 5 * time.Second
)

func servePolicy(mux *http.ServeMux, backend PolicyBackend) {
	mux.HandleFunc("POST /v1/explain", func(w http.ResponseWriter, r *http.Request) { reply(w, r, backend.Explain) })
	mux.HandleFunc("POST /v1/show", func(w http.ResponseWriter, r *http.Request) { reply(w, r, backend.ShowPolicy) })
	mux.HandleFunc("GET /v1/preview", func(w http.ResponseWriter, _ *http.Request) { answer(w, backend.PreviewPolicy) })
	mux.HandleFunc("GET /v1/drops", func(w http.ResponseWriter, r *http.Request) {
		after, err := strconv.ParseUint(r.FormValue("after"), 10, 64)
		if err != nil {
			http.Error(w, fmt.Sprintf("after=%q: want a number", r.FormValue("after")), http.StatusBadRequest)
			return
		}
		ctx, stop := context.WithTimeout(r.Context(), dropsWait)
		if r.FormValue("wait") != "true" {
			stop()
		}
		defer stop()
		answer(w, func() (Drops, error) { return backend.Drops(ctx, after) })
	})
}

// reply reads a question and answers it.
func reply[Q, A any](w http.ResponseWriter, r *http.Request, ask func(Q) (A, error)) {
	var q Q
	if err := json.NewDecoder(http.MaxBytesReader(w, r.Body, maxQuestion)).Decode(&q); err != nil {
		http.Error(w, "reading the request: "+err.Error(), http.StatusBadRequest)
		return
	}
	answer(w, func() (A, error) { return ask(q) })
}
