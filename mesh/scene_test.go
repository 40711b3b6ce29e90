package mesh_test

import (
	"bufio"
	"fmt"
	"net/netip"
	"regexp"
	"strconv"
	"strings"
	"time"

	"github.com/warren-mesh/warren/crypto/identity"
	"github.com/warren-mesh/warren/mesh"
)

// scene is a local node and the Nodes that it sees, written like this:
//
//	local n1
//	  underlay-mtu: 1500
//	  addresses: 192.0.2.1
//	  cluster-cidrs: 10.244.0.0/16
//	  paths: 192.0.2.2=1400
//	node n1
//	  age: 48h
//	  podCIDRs: 10.244.1.0/24
//	  public-key: key(n1)
//
// Each node has the NodeKey of key(ITS NAME); a line node-keys of the local node says otherwise for some keys: key(n2)=n3, or
// key(n2)= where nobody has it. Its line adopted says which keys are in use: n2=key(n2).
//
// A node's lines other than age, uid and podCIDRs are its warren.dev/ annotations. A second paragraph of the same node
// changes the first; "(none)" takes a value away. Values may be quoted as in Go, key(NAME) is a public key, and
// repeat(TEXT, N) is N times TEXT. A line that begins with # is a comment.
type scene struct {
	local mesh.Local
	nodes []*mesh.Fields
	// holders are the nodes that have a key's NodeKey, by key, where it is not the node that the key is named after.
	holders map[string]string
	show    string
	// keys are the names in key(NAME), so that the output can have them too.
	keys map[string]bool
}

var (
	keyPattern    = regexp.MustCompile(`key\(([^)]+)\)`)
	repeatPattern = regexp.MustCompile(`repeat\(([^)]+), (\d+)\)`)
)

func parseScene(text string) (*scene, error) {
	s := &scene{show: "peers", keys: map[string]bool{}}
	var set func(key, value string) error
	lines := bufio.NewScanner(strings.NewReader(text))
	for lines.Scan() {
		line := strings.TrimSpace(lines.Text())
		if line == "" || strings.HasPrefix(line, "#") {
			continue
		}
		if what, name, ok := strings.Cut(line, " "); ok && !strings.HasSuffix(what, ":") {
			switch what {
			case "local":
				set = s.setLocal(name)
			case "node":
				set = s.setNode(name)
			default:
				return nil, fmt.Errorf("line %q: neither local nor node", line)
			}
			continue
		}
		key, value, ok := strings.Cut(line, ":")
		if !ok || set == nil && key != "show" {
			return nil, fmt.Errorf("line %q: no value", line)
		}
		value, err := s.expand(strings.TrimSpace(value))
		if key == "show" {
			s.show = value
		} else if err == nil {
			err = set(key, value)
		}
		if err != nil {
			return nil, fmt.Errorf("line %q: %w", line, err)
		}
	}
	return s, lines.Err()
}

func (s *scene) setLocal(name string) func(key, value string) error {
	if s.local.Name == "" {
		s.keys[name] = true
		s.local = mesh.Local{Interface: "warren0", ListenPort: 51820, PublicKey: keyOf(name)}
	}
	s.local.Name = name
	return func(key, value string) (err error) {
		switch key {
		case "mtu":
			s.local.MTU, err = strconv.Atoi(value)
		case "underlay-mtu":
			s.local.UnderlayMTU, err = strconv.Atoi(value)
		case "paths":
			s.local.PathMTU, err = paths(value)
		case "node-keys":
			s.holders = pairs(value)
		case "adopted":
			s.local.Adopted = map[string]identity.PublicKey{}
			for name, key := range pairs(value) {
				if s.local.Adopted[name], err = identity.ParsePublicKey(key); err != nil {
					return err
				}
			}
		case "addresses":
			s.local.Addresses, err = parseList(value, netip.ParseAddr)
		case "cluster-cidrs":
			s.local.ClusterCIDRs, err = parseList(value, netip.ParsePrefix)
		case "nat-exclude":
			s.local.NATExclude, err = parseList(value, netip.ParsePrefix)
		case "nat-off":
			s.local.NATOff, err = parseList(value, netip.ParsePrefix)
		case "old-links":
			s.local.OldLinks = splitList(value)
		case "answered":
			s.local.Answered = map[string]bool{}
			for _, name := range splitList(value) {
				s.local.Answered[name] = true
			}
		case "migrated":
			s.local.Migrated = splitList(value)
		case "no-nat":
			s.local.NoNAT, err = strconv.ParseBool(value)
		case "service-cidrs":
			s.local.ServiceCIDRs, err = parseList(value, netip.ParsePrefix)
		default:
			err = fmt.Errorf("a local node has no %s", key)
		}
		return err
	}
}

func (s *scene) setNode(name string) func(key, value string) error {
	f := s.node(name)
	return func(key, value string) error {
		switch key {
		case "age":
			age, err := time.ParseDuration(value)
			f.Created = epoch.Add(-age)
			return err
		case "uid":
			f.UID = value
		case "podCIDRs":
			f.PodCIDRs = splitList(value)
		case "public-key", "endpoints", "pod-cidrs", "mesh-addresses", "version", "clock-steps", "migrating":
			f.Annotations[mesh.AnnotationPrefix+key] = value
			if value == "(none)" {
				delete(f.Annotations, mesh.AnnotationPrefix+key)
			}
		default:
			return fmt.Errorf("a node has no %s", key)
		}
		return nil
	}
}

func (s *scene) node(name string) *mesh.Fields {
	for _, f := range s.nodes {
		if f.Name == name {
			return f
		}
	}
	f := &mesh.Fields{Name: name, UID: "uid-" + name, Created: epoch, Annotations: map[string]string{}}
	s.nodes = append(s.nodes, f)
	return f
}

func (s *scene) expand(value string) (string, error) {
	value = keyPattern.ReplaceAllStringFunc(value, func(match string) string {
		name := keyPattern.FindStringSubmatch(match)[1]
		s.keys[name] = true
		return keyOf(name).String()
	})
	value = repeatPattern.ReplaceAllStringFunc(value, func(match string) string {
		parts := repeatPattern.FindStringSubmatch(match)
		count, _ := strconv.Atoi(parts[2]) // the pattern has it made of digits
		return strings.Repeat(parts[1], count)
	})
	if strings.HasPrefix(value, `"`) {
		return strconv.Unquote(value)
	}
	return value, nil
}

// readable puts key(NAME) where the scene's keys are.
func (s *scene) readable(text string) string {
	for name := range s.keys {
		text = strings.ReplaceAll(text, keyOf(name).String(), "key("+name+")")
	}
	return text
}

// paths reads A=MTU, B=MTU.
func paths(value string) (func(netip.Addr) int, error) {
	mtus := map[netip.Addr]int{}
	for _, item := range splitList(value) {
		text, number, _ := strings.Cut(item, "=")
		addr, err := netip.ParseAddr(text)
		if err != nil {
			return nil, err
		}
		if mtus[addr], err = strconv.Atoi(number); err != nil {
			return nil, err
		}
	}
	return func(a netip.Addr) int { return mtus[a] }, nil
}

// pairs reads A=B, C=D. A key in base64 ends in "=" itself.
func pairs(value string) map[string]string {
	out := map[string]string{}
	for _, item := range splitList(value) {
		if name, key, ok := strings.Cut(item, "="); ok && !strings.HasSuffix(name, "=") && len(name) < 43 {
			out[name] = key
			continue
		}
		key, holder, _ := strings.Cut(item, "==")
		out[key+"="] = holder
	}
	return out
}

func splitList(value string) []string {
	if value == "" || value == "(none)" {
		return nil
	}
	items := strings.Split(value, ",")
	for i := range items {
		items[i] = strings.TrimSpace(items[i])
	}
	return items
}

func parseList[T any](value string, parse func(string) (T, error)) ([]T, error) {
	var list []T
	for _, item := range splitList(value) {
		v, err := parse(item)
		if err != nil {
			return nil, err
		}
		list = append(list, v)
	}
	return list, nil
}
