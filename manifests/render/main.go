// Command render writes what `kubectl apply -k FOLDER` would apply, to the standard output or a file. It is a module of its own: nothing
// that runs on a node needs kustomize.
package main

import (
	"flag"
	"fmt"
	"os"

	"sigs.k8s.io/kustomize/api/krusty"
	"sigs.k8s.io/kustomize/kyaml/filesys"
)

const head = "# Written by `make manifests` from manifests/base. To change something, change it there, or write an overlay.\n"

func main() {
	out := flag.String("o", "", "file to write; default the standard output")
	flag.Parse()
	if err := run(flag.Arg(0), *out); err != nil {
		fmt.Fprintln(os.Stderr, "render:", err)
		os.Exit(1)
	}
}

func run(folder, out string) error {
	if folder == "" {
		return fmt.Errorf("want a folder with a kustomization.yaml, as ../base")
	}
	objects, err := krusty.MakeKustomizer(krusty.MakeDefaultOptions()).Run(filesys.MakeFsOnDisk(), folder)
	if err != nil {
		return fmt.Errorf("building %s: %w", folder, err)
	}
	text, err := objects.AsYaml()
	if err != nil {
		return fmt.Errorf("writing %s as YAML: %w", folder, err)
	}
	text = append([]byte(head), text...)
	if out == "" {
		_, err = os.Stdout.Write(text)
		return err
	}
	return os.WriteFile(out, text, 0o644) // #nosec G306 -- for everybody to read
}
