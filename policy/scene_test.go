package policy_test

import (
	"fmt"
	"net/netip"
	"strconv"
	"strings"

	networkingv1 "k8s.io/api/networking/v1"
	"sigs.k8s.io/network-policy-api/apis/v1alpha2"
	"sigs.k8s.io/yaml"

	"github.com/warren-mesh/warren/policy"
)

// parseScene reads what an index is told: lines such as
//
//	namespace a team=blue
//	node n1 192.0.2.1 zone=east
//	pod a/web 10.0.0.1 app=web http:80/tcp    (words: addresses, labels, named ports, "host" for the host's network,
//	                                           "here" for this node)
//	gone a/web                                (its Pod is deleted)
//	local wrp1 a/web 10.0.0.1
//
// and policies in YAML, each after a line "---". An empty namespace of theirs is a, and their apiVersion goes without saying.
func parseScene(text string) (*policy.Index, error) {
	x := policy.NewIndex()
	for i, part := range strings.Split("\n"+text, "\n---\n") {
		lines, document := part, ""
		if i > 0 {
			lines, document = "", part
			// Lines of a case may follow the policies that all cases share.
			if at := strings.Index(part, "\n\n"); at >= 0 {
				document, lines = part[:at], part[at:]
			}
		}
		if err := tellPolicy(x, document); err != nil {
			return nil, err
		}
		for line := range strings.Lines(lines) {
			if fields := strings.Fields(line); len(fields) > 0 && fields[0] != "#" {
				if err := tell(x, fields); err != nil {
					return nil, fmt.Errorf("%q: %w", line, err)
				}
			}
		}
	}
	return x, nil
}

// words are what follows an object's name.
type words struct {
	addresses []netip.Addr
	labels    map[string]string
	ports     []policy.NamedPort
	host      bool
	here      bool
}

func tell(x *policy.Index, fields []string) error {
	if len(fields) < 2 {
		return fmt.Errorf("want a kind and a name")
	}
	kind, name, rest := fields[0], fields[1], fields[2:]
	key := policy.PodKey{}
	key.Namespace, key.Name, _ = strings.Cut(name, "/")
	if kind == "local" {
		key.Namespace, key.Name, _ = strings.Cut(fields[2], "/")
		rest = fields[3:]
	}
	w, err := parseWords(rest)
	if err != nil {
		return err
	}
	switch kind {
	case "namespace":
		x.SetNamespace(policy.Namespace{Name: name, Labels: w.labels})
	case "node":
		x.SetNode(policy.Node{Name: name, Labels: w.labels, Addresses: w.addresses})
	case "pod":
		x.SetPod(policy.Pod{PodKey: key, Labels: w.labels, Addresses: w.addresses, Ports: w.ports, HostNetwork: w.host, Here: w.here})
	case "gone":
		x.DeletePod(key)
	case "local":
		x.SetLocal(policy.Local{Interface: name, PodKey: key, Addresses: w.addresses})
	default:
		return fmt.Errorf("%q: want namespace, node, pod, gone or local", kind)
	}
	return nil
}

func parseWords(fields []string) (w words, err error) {
	w.labels = make(map[string]string)
	for _, word := range fields {
		if key, value, ok := strings.Cut(word, "="); ok {
			w.labels[key] = value
			continue
		}
		if a, err := netip.ParseAddr(word); err == nil {
			w.addresses = append(w.addresses, a)
			continue
		}
		if word == "host" || word == "here" {
			w.host, w.here = w.host || word == "host", w.here || word == "here"
			continue
		}
		p, err := parseNamedPort(word)
		if err != nil {
			return w, err
		}
		w.ports = append(w.ports, p)
	}
	return w, nil
}

func parseNamedPort(word string) (policy.NamedPort, error) {
	name, port, _ := strings.Cut(word, ":")
	number, protocol, _ := strings.Cut(port, "/")
	n, err := strconv.ParseUint(number, 10, 16)
	if err != nil {
		return policy.NamedPort{}, fmt.Errorf("%q: want an address, a label, host, here, or a port such as http:80/tcp", word)
	}
	known := map[string]policy.Protocol{"tcp": policy.TCP, "udp": policy.UDP, "sctp": policy.SCTP}
	return policy.NamedPort{Name: name, Protocol: known[protocol], Port: uint16(n)}, nil
}

func tellPolicy(x *policy.Index, document string) error {
	if strings.TrimSpace(document) == "" {
		return nil
	}
	if strings.Contains(document, "kind: ClusterNetworkPolicy") {
		var p v1alpha2.ClusterNetworkPolicy
		if err := yaml.UnmarshalStrict([]byte(document), &p); err != nil {
			return fmt.Errorf("%w in\n%s", err, document)
		}
		x.SetClusterPolicy(&p)
		return nil
	}
	var p networkingv1.NetworkPolicy
	if err := yaml.UnmarshalStrict([]byte(document), &p); err != nil {
		return fmt.Errorf("%w in\n%s", err, document)
	}
	if p.Namespace == "" {
		p.Namespace = "a"
	}
	x.SetPolicy(&p)
	return nil
}
