// Command coredns is CoreDNS with the plugins that a cluster's own names need and those of the servers that specs start, and no others: those
// of clouds and of other stores would be most of its build.
package main

import (
	"github.com/coredns/coredns/core/dnsserver"
	"github.com/coredns/coredns/coremain"
	_ "github.com/coredns/coredns/plugin/cache"
	_ "github.com/coredns/coredns/plugin/errors"
	_ "github.com/coredns/coredns/plugin/health"
	_ "github.com/coredns/coredns/plugin/hosts"
	_ "github.com/coredns/coredns/plugin/kubernetes"
	_ "github.com/coredns/coredns/plugin/loadbalance"
	_ "github.com/coredns/coredns/plugin/log"
	_ "github.com/coredns/coredns/plugin/ready"
)

func main() {
	// Plugins answer in this order.
	dnsserver.Directives = []string{"health", "ready", "log", "errors", "cache", "loadbalance", "hosts", "kubernetes"}
	coremain.Run()
}
