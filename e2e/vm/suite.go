package main

import (
	"fmt"
	"path"
	"slices"
	"strings"

	"github.com/warren-mesh/warren/e2e/vm/job"
)

// suite is what runs on the kernel with WireGuard, in this order: the package, of its tests those that run as a regular expression, where not all do,
// and the telling ones as another; empty is none of them.
var suite = []struct{ folder, all, telling string }{
	{"mesh/wg", "", "^Test(Kernel|Tunnel|AdoptionLosesNothing|DeletedLinkIsMadeAnew|RoamedEndpointIsKept|AddressChange)$/^kernel$"},
	{"mesh/wg/tunnel", "", ""},
	{"mesh/route", "", ""},
	{"mesh/guard", "", ""},
	{"internal/nft", "", ""},
	{"internal/podnet", "", ""},
	{scenarios, "", "^TestByHand$|^TestUndisturbed$/^(nothing|agent_killed|both_nodes|another_node)|" + policies},
	{clusters, "^TestRollout$", ""}, // the others build, or have the API server speak to kubelets
}

// policies are a few cases: this kernel has sockets of SCTP.
const policies = "^TestKnocks$|^TestPolicies$/^NetworkPolicy$/^(none|SCTP)"

// Under emulation, where a scenario takes a minute or more, all run but the slow: eight nodes at once, for minutes, are more than an
// emulated processor does, and what the API server refuses has nothing to do with the kernel. Chaos is a few faults there.
const (
	slow        = "^Test(Soak|Admission)$|^TestEveryoneReachesEveryone$/^8_nodes"
	chaosFaults = 10
)

// parallel is how many of a package's tests may run at once: of scenarios one, since an emulated processor has enough to do with one.
func parallel(folder string) string {
	if folder == scenarios {
		return "1"
	}
	return "2"
}

// choose makes jobs of the suite, or of the given packages.
func choose(o options, packages []string) ([]job.Job, error) {
	for i, name := range packages {
		packages[i] = path.Clean(strings.TrimSuffix(name, "/"))
	}
	var jobs []job.Job
	for _, s := range suite {
		if len(packages) > 0 && !slices.Contains(packages, s.folder) || o.short && s.telling == "" {
			continue
		}
		args := []string{"-test.v", "-test.parallel=" + parallel(s.folder), "-test.count=1", "-test.timeout=" + o.timeout.String()}
		switch {
		case o.run != "":
			args = append(args, "-test.run="+o.run)
		case o.short:
			args = append(args, "-test.run="+s.telling)
		case s.all != "":
			args = append(args, "-test.run="+s.all)
		}
		jobs = append(jobs, job.Job{Package: s.folder, Dir: "/src/" + s.folder, Args: args})
	}
	if len(jobs) == 0 || len(packages) > len(jobs) {
		return nil, fmt.Errorf("packages %v are not all in the suite", packages)
	}
	return jobs, nil
}
