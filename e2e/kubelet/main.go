// Command kubelet is kubelet, kube-proxy, kube-scheduler and kubectl in one binary: which of them it is follows from the name it was
// started by or, failing that, from its first argument.
//
// They are apart from the control plane's programs, which every lab needs and most need alone.
package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"

	"k8s.io/component-base/cli"
	"k8s.io/component-base/logs"
	_ "k8s.io/component-base/metrics/prometheus/clientgo"
	_ "k8s.io/component-base/metrics/prometheus/version"
	kubectl "k8s.io/kubectl/pkg/cmd"
	kubectlutil "k8s.io/kubectl/pkg/cmd/util"
	proxy "k8s.io/kubernetes/cmd/kube-proxy/app"
	scheduler "k8s.io/kubernetes/cmd/kube-scheduler/app"
	kubelet "k8s.io/kubernetes/cmd/kubelet/app"
)

// programs are the names this binary answers to.
var programs = map[string]func(args []string) int{
	"kubelet":        func([]string) int { return cli.Run(kubelet.NewKubeletCommand(context.Background())) },
	"kube-proxy":     func([]string) int { return cli.Run(proxy.NewProxyCommand()) },
	"kube-scheduler": func([]string) int { return cli.Run(scheduler.NewSchedulerCommand()) },
	"kubectl":        runKubectl,
}

func main() {
	os.Exit(run())
}

func run() int {
	if program, ok := programs[filepath.Base(os.Args[0])]; ok {
		return program(os.Args)
	}
	if len(os.Args) > 1 {
		if program, ok := programs[os.Args[1]]; ok {
			os.Args = os.Args[1:] // cobra and klog read it themselves
			return program(os.Args)
		}
	}
	fmt.Fprintln(os.Stderr, "usage: kubelet|kube-proxy|kube-scheduler|kubectl [arguments]")
	return 2
}

func runKubectl(args []string) int {
	if _, err := logs.GlogSetter(kubectl.GetLogVerbosity(args)); err != nil {
		fmt.Fprintln(os.Stderr, "setting the log verbosity:", err)
	}
	if err := cli.RunNoErrOutput(kubectl.NewDefaultKubectlCommand()); err != nil {
		kubectlutil.CheckErr(err) // prints it as kubectl does, and exits
	}
	return 0
}
