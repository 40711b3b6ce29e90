package cluster

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"time"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/wait"
	utilyaml "k8s.io/apimachinery/pkg/util/yaml"
	"k8s.io/client-go/discovery"
	"k8s.io/client-go/discovery/cached/memory"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/restmapper"
	"sigs.k8s.io/yaml"
)

// fieldManager owns what Apply sets.
const fieldManager = "warren-lab"

// ApplyFiles reads manifests and applies them together; see [Cluster.Apply]. For a folder they are its *.yaml files.
func (c *Cluster) ApplyFiles(ctx context.Context, paths ...string) error {
	var manifests [][]byte
	for _, path := range paths {
		files := []string{path}
		if info, err := os.Stat(path); err == nil && info.IsDir() {
			if files, err = filepath.Glob(filepath.Join(path, "*.yaml")); err != nil || len(files) == 0 {
				return errors.Join(fmt.Errorf("no manifests in %s", path), err)
			}
		}
		for _, file := range files {
			content, err := os.ReadFile(file) //nolint:gosec // the caller chose it
			if err != nil {
				return fmt.Errorf("reading a manifest: %w", err)
			}
			manifests = append(manifests, content)
		}
	}
	return c.Apply(ctx, manifests...)
}

// Apply applies YAML manifests server-side, as the admin. Namespaces and CRDs go first and every CRD is Established before
// the rest, and before it returns; admission policies are in force by then too. Applying again changes nothing. What only
// kustomize reads is passed over. A field that the API does not know, or that is there twice, is an error.
func (c *Cluster) Apply(ctx context.Context, manifests ...[]byte) error {
	var first, rest []*unstructured.Unstructured
	for _, manifest := range manifests {
		objects, err := decode(manifest)
		if err != nil {
			return err
		}
		for _, object := range objects {
			switch object.GetKind() {
			case "Kustomization":
			case "Namespace", "CustomResourceDefinition":
				first = append(first, object)
			default:
				rest = append(rest, object)
			}
		}
	}
	a, err := c.newApplier()
	if err != nil {
		return err
	}
	for _, object := range first {
		if err := a.apply(ctx, object); err != nil {
			return err
		}
	}
	for _, object := range first {
		if object.GetKind() == "CustomResourceDefinition" {
			if err := a.established(ctx, object); err != nil {
				return err
			}
		}
	}
	for _, object := range rest {
		if err := a.apply(ctx, object); err != nil {
			return err
		}
	}
	if slices.ContainsFunc(rest, func(o *unstructured.Unstructured) bool { return o.GetKind() == kindPolicyBinding }) {
		return c.policiesInForce(ctx)
	}
	return nil
}

// decode reads the objects of a YAML stream.
func decode(manifest []byte) ([]*unstructured.Unstructured, error) {
	var objects []*unstructured.Unstructured
	for reader := utilyaml.NewYAMLReader(bufio.NewReader(bytes.NewReader(manifest))); ; {
		document, err := reader.Read()
		if errors.Is(err, io.EOF) {
			return objects, nil
		}
		if err != nil {
			return nil, fmt.Errorf("reading a manifest: %w", err)
		}
		object := &unstructured.Unstructured{}
		if err := yaml.UnmarshalStrict(document, &object.Object); err != nil {
			return nil, fmt.Errorf("reading a manifest: %w", err)
		}
		if len(object.Object) > 0 {
			objects = append(objects, object)
		}
	}
}

// applier knows by which path each kind of object is reached.
type applier struct {
	client dynamic.Interface
	mapper *restmapper.DeferredDiscoveryRESTMapper
}

func (c *Cluster) newApplier() (*applier, error) {
	client, err := dynamic.NewForConfig(c.admin)
	if err != nil {
		return nil, fmt.Errorf("making a client for manifests: %w", err)
	}
	disco, err := discovery.NewDiscoveryClientForConfig(c.admin)
	if err != nil {
		return nil, fmt.Errorf("making a client for manifests: %w", err)
	}
	return &applier{client: client, mapper: restmapper.NewDeferredDiscoveryRESTMapper(memory.NewMemCacheClient(disco))}, nil
}

func (a *applier) resource(object *unstructured.Unstructured) (dynamic.ResourceInterface, error) {
	kind := object.GroupVersionKind()
	mapping, err := a.mapper.RESTMapping(kind.GroupKind(), kind.Version)
	if err != nil {
		return nil, err
	}
	resource := a.client.Resource(mapping.Resource)
	if mapping.Scope.Name() == meta.RESTScopeNameRoot {
		return resource, nil
	}
	namespace := object.GetNamespace()
	if namespace == "" {
		namespace = metav1.NamespaceDefault
	}
	return resource.Namespace(namespace), nil
}

// strictly is how manifests are applied: a field that the API does not know is an error.
var strictly = metav1.PatchOptions{FieldManager: fieldManager, Force: new(true), FieldValidation: metav1.FieldValidationStrict}

func (a *applier) apply(ctx context.Context, object *unstructured.Unstructured) error {
	text, err := json.Marshal(object)
	if err != nil {
		return fmt.Errorf("applying %s %s: %w", object.GetKind(), object.GetName(), err)
	}
	var resource dynamic.ResourceInterface
	// Discovery may lag behind a CRD that was established a moment ago.
	err = wait.PollUntilContextTimeout(ctx, 50*time.Millisecond, 10*time.Second, true, func(context.Context) (bool, error) {
		var err error
		resource, err = a.resource(object)
		if meta.IsNoMatchError(err) {
			a.mapper.Reset()
			return false, nil
		}
		return err == nil, err
	})
	if err != nil {
		return fmt.Errorf("applying %s %s: finding its kind: %w", object.GetKind(), object.GetName(), err)
	}
	if _, err := resource.Patch(ctx, object.GetName(), types.ApplyPatchType, text, strictly); err != nil {
		return fmt.Errorf("applying %s %s: %w", object.GetKind(), object.GetName(), err)
	}
	return nil
}

// established waits until objects of the CRD's kind can be made.
func (a *applier) established(ctx context.Context, crd *unstructured.Unstructured) error {
	resource, err := a.resource(crd)
	if err != nil {
		return fmt.Errorf("finding CRDs: %w", err)
	}
	var conditions []any
	err = wait.PollUntilContextTimeout(ctx, 50*time.Millisecond, 30*time.Second, true, func(ctx context.Context) (bool, error) {
		object, err := resource.Get(ctx, crd.GetName(), metav1.GetOptions{})
		if err != nil {
			return false, err
		}
		status, _ := object.Object["status"].(map[string]any)
		conditions, _ = status["conditions"].([]any) // null at first
		return slices.ContainsFunc(conditions, func(condition any) bool {
			fields, ok := condition.(map[string]any)
			return ok && fields["type"] == "Established" && fields["status"] == "True"
		}), nil
	})
	if err != nil {
		return fmt.Errorf("waiting for CRD %s to be established: %w; its conditions are %v", crd.GetName(), err, conditions)
	}
	return nil
}
