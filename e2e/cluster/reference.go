package cluster

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"

	"github.com/warren-mesh/warren/e2e/lab"
)

// configureReference gives every node the reference plugins, and every host of the underlay a route to every node's pods.
func (c *Cluster) configureReference(ctx context.Context) error {
	for _, n := range c.Lab.Nodes() {
		hosts := []*lab.Host{c.Lab.Switch()}
		for _, other := range c.Lab.Nodes() {
			if other != n {
				hosts = append(hosts, &other.Host)
			}
		}
		for _, prefix := range n.PodCIDRs {
			for _, host := range hosts {
				if _, err := host.Run(ctx, "ip", "route", "replace", prefix.String(), "via", n.Address(prefix.Addr().Is4()).String()); err != nil {
					return err
				}
			}
		}
		if err := c.writeReference(n); err != nil {
			return fmt.Errorf("configuring the reference plugins on %s: %w", n.Name, err)
		}
	}
	return nil
}

func (c *Cluster) writeReference(n *lab.Node) error {
	if err := c.installPlugins(n.Name, "ptp", "host-local", "portmap"); err != nil {
		return err
	}
	var ranges [][]map[string]string
	var routes []map[string]string
	for _, prefix := range n.PodCIDRs {
		ranges = append(ranges, []map[string]string{{"subnet": prefix.String()}})
		everything := "::/0"
		if prefix.Addr().Is4() {
			everything = "0.0.0.0/0"
		}
		routes = append(routes, map[string]string{"dst": everything})
	}
	content, err := json.Marshal(map[string]any{
		"cniVersion": "1.0.0", "name": "reference", "plugins": []map[string]any{
			{"type": "ptp", "ipam": map[string]any{"type": "host-local", "ranges": ranges, "routes": routes}},
			{"type": "portmap", "capabilities": map[string]bool{"portMappings": true}},
		},
	})
	if err != nil {
		return err
	}
	// containerd looks as soon as the name is there: it is to find a whole file.
	file := filepath.Join(c.root(n.Name), "etc/cni/net.d/10-reference.conflist")
	if err := os.WriteFile(file+".new", content, 0o600); err != nil {
		return err
	}
	return os.Rename(file+".new", file)
}
