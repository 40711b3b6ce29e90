package main

import (
	"bytes"
	"encoding/json"
	"io"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/yannh/kubeconform/pkg/validator"
	"sigs.k8s.io/yaml"
)

// TestSchemas holds all that users apply to the API's schemas, of the Kubernetes that the tests run against: what kustomize makes, what the
// chart makes, and the examples. An unknown field is refused.
func TestSchemas(t *testing.T) {
	judge := judgeOf(t)
	overlays, err := filepath.Glob("../overlays/*")
	if err != nil || len(overlays) == 0 {
		t.Fatal("no overlays", err)
	}
	for _, folder := range append(overlays, "../base", "testdata/monitoring") {
		file := filepath.Join(t.TempDir(), "rendered.yaml")
		if err := run(folder, file); err != nil {
			t.Fatal(err)
		}
		conforms(t, judge, folder, read(t, file))
	}
	for folder, with := range charts {
		text, err := template(with, namespace)
		if err != nil {
			t.Fatal(err)
		}
		conforms(t, judge, "the chart as "+folder, []byte(text))
	}
	examples, err := filepath.Glob("../examples/*.yaml")
	if err != nil || len(examples) == 0 {
		t.Fatal("no examples", err)
	}
	for _, file := range append(examples, "../warren.yaml") {
		conforms(t, judge, file, read(t, file))
	}
}

// TestSchemasRefuse: the judge sees what it is there for.
func TestSchemasRefuse(t *testing.T) {
	judge := judgeOf(t)
	whole := string(read(t, "../warren.yaml"))
	pools := string(read(t, "../examples/pools.yaml"))
	for name, text := range map[string]string{
		"a field that is none":    strings.Replace(whole, "hostNetwork: true", "hostNetwrk: true", 1),
		"text for a number":       strings.Replace(whole, "terminationGracePeriodSeconds: 10", "terminationGracePeriodSeconds: ten", 1),
		"a required field less":   strings.Replace(whole, "mountPath: /opt/cni/bin", "subPath: bin", 1),
		"a pool's field":          strings.Replace(pools, "blockSize:", "blocksize:", 1),
		"a kind that nobody has":  strings.Replace(whole, "kind: DaemonSet", "kind: DemonSet", 1),
		"a version that is older": strings.Replace(whole, "apiVersion: apps/v1", "apiVersion: apps/v1beta1", 1),
	} {
		if text == whole || text == pools {
			t.Errorf("%s: the manifests do not have what was to be replaced", name)
		}
		if _, problems := judged(judge, name, []byte(text)); len(problems) == 0 {
			t.Errorf("%s: it was not refused", name)
		}
	}
}

func conforms(t *testing.T, judge validator.Validator, name string, text []byte) {
	t.Helper()
	good, problems := judged(judge, name, text)
	for _, problem := range problems {
		t.Errorf("%s: %s", name, problem)
	}
	if good == 0 {
		t.Errorf("%s: nothing was judged", name)
	}
}

// judged counts the objects that are as they should be, and says what is wrong with the others.
func judged(judge validator.Validator, name string, text []byte) (good int, problems []string) {
	for _, result := range judge.Validate(name, io.NopCloser(bytes.NewReader(text))) {
		switch result.Status {
		case validator.Valid:
			good++
		case validator.Invalid, validator.Error:
			problems = append(problems, result.Err.Error())
		}
	}
	return good, problems
}

// judgeOf has the schemas of Kubernetes, from its module, and of our CRDs. Those of Prometheus' operator are no module: what it reads is held to
// its Go types (readStrict).
func judgeOf(t *testing.T) validator.Validator {
	t.Helper()
	dir := t.TempDir()
	kubernetesSchemas(t, dir)
	ownSchemas(t, dir)
	judge, err := validator.New([]string{filepath.Join(dir, "{{ .ResourceKind }}{{ .KindSuffix }}.json")}, validator.Opts{
		Strict: true, SkipKinds: map[string]struct{}{"PodMonitor": {}, "PrometheusRule": {}},
	})
	if err != nil {
		t.Fatal(err)
	}
	return judge
}

// kubernetesSchemas writes a file of each kind, as kubeconform looks for it, that refers to one file of all definitions.
func kubernetesSchemas(t *testing.T, dir string) {
	t.Helper()
	var module struct{ Dir string }
	list := exec.CommandContext(t.Context(), "go", "-C", "../../e2e/controlplane", "mod", "download", "-json", "k8s.io/kubernetes")
	text, err := list.Output()
	if err != nil {
		t.Fatalf("looking for the module of Kubernetes: %v: %s", err, text)
	}
	if err := json.Unmarshal(text, &module); err != nil {
		t.Fatal(err)
	}
	var swagger struct {
		Definitions map[string]values `json:"definitions"`
	}
	if err := json.Unmarshal(read(t, filepath.Join(module.Dir, "api/openapi-spec/swagger.json")), &swagger); err != nil {
		t.Fatal(err)
	}
	// Both are written as text there, for want of a way to say it in OpenAPI 2.
	maps.Copy(swagger.Definitions, map[string]values{
		"io.k8s.apimachinery.pkg.util.intstr.IntOrString": {"type": []any{"string", "integer"}},
		"io.k8s.apimachinery.pkg.api.resource.Quantity":   {"type": []any{"string", "number"}},
	})
	for name, definition := range swagger.Definitions {
		closed(definition)
		kinds, _ := definition["x-kubernetes-group-version-kind"].([]any)
		for _, kind := range kinds {
			k := kind.(values)
			write(t, dir, k["kind"].(string), k["group"].(string), k["version"].(string), values{"$ref": "definitions.json#/definitions/" + name})
		}
	}
	writeJSON(t, filepath.Join(dir, "definitions.json"), swagger)
}

// ownSchemas are those of our CRDs.
func ownSchemas(t *testing.T, dir string) {
	t.Helper()
	files, err := filepath.Glob("../base/warren.dev_*.yaml")
	if err != nil || len(files) == 0 {
		t.Fatal("no CRDs", err)
	}
	for _, file := range files {
		var crd struct {
			Spec struct {
				Group    string
				Names    struct{ Kind string }
				Versions []struct {
					Name   string
					Schema struct {
						OpenAPIV3Schema values `json:"openAPIV3Schema"`
					}
				}
			}
		}
		if err := yaml.Unmarshal(read(t, file), &crd); err != nil {
			t.Fatal(err)
		}
		for _, version := range crd.Spec.Versions {
			schema := version.Schema.OpenAPIV3Schema
			closed(schema)
			write(t, dir, crd.Spec.Names.Kind, crd.Spec.Group, version.Name, schema)
		}
	}
}

// closed has a schema, and all in it, refuse fields that it does not name.
func closed(schema values) {
	if properties, ok := schema["properties"].(values); ok && schema["additionalProperties"] == nil {
		schema["additionalProperties"] = false
		for _, property := range properties {
			closed(property.(values))
		}
	}
	for _, inner := range []string{"items", "additionalProperties"} {
		if s, ok := schema[inner].(values); ok {
			closed(s)
		}
	}
}

func write(t *testing.T, dir, kind, group, version string, schema any) {
	t.Helper()
	name := kind + "-" + version
	if group, _, _ := strings.Cut(group, "."); group != "" {
		name = kind + "-" + group + "-" + version
	}
	writeJSON(t, filepath.Join(dir, strings.ToLower(name)+".json"), schema)
}

func writeJSON(t *testing.T, path string, what any) {
	t.Helper()
	text, err := json.Marshal(what)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, text, 0o600); err != nil {
		t.Fatal(err)
	}
}

func read(t *testing.T, path string) []byte {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return text
}
