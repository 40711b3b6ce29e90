package policyapi

import (
	"flag"
	"testing"

	"k8s.io/client-go/kubernetes"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/config"
	api "sigs.k8s.io/network-policy-api/apis/v1alpha2"
	"sigs.k8s.io/network-policy-api/conformance/tests"
	"sigs.k8s.io/network-policy-api/conformance/utils/suite"
)

var sctp = flag.Bool("sctp", true, "nodes have sockets of SCTP")

// TestConformance is the suite's own test, with all features.
func TestConformance(t *testing.T) {
	cfg, err := config.GetConfig()
	if err != nil {
		t.Fatal(err)
	}
	c, err := client.New(cfg, client.Options{})
	if err != nil {
		t.Fatal(err)
	}
	clientset, err := kubernetes.NewForConfig(cfg)
	if err != nil {
		t.Fatal(err)
	}
	if err := api.Install(c.Scheme()); err != nil {
		t.Fatal(err)
	}
	options := suite.Options{
		Client: c, ClientSet: clientset, KubeConfig: *cfg, CleanupBaseResources: true, EnableAllSupportedFeatures: true,
	}
	if !*sctp {
		options.BaseManifests = baseWithoutSCTP(t)
	}
	s := suite.New(options)
	s.Setup(t)
	s.Run(t, tests.ConformanceTests)
}
