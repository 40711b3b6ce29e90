package main

import (
	"flag"
	"strings"
	"testing"
)

func parse(t *testing.T, args ...string) (request, error) {
	t.Helper()
	var o options
	fs := flag.NewFlagSet("image", flag.ContinueOnError)
	o.addFlags(fs)
	if err := fs.Parse(args); err != nil {
		t.Fatal(err)
	}
	return o.validate()
}

// TestOptionsRefused: each wrong value is named with its flag and with what would be right, all at once.
func TestOptionsRefused(t *testing.T) {
	for args, want := range map[string]string{
		"-reference=warren":                           `-reference "warren": want NAME:TAG as registries take them: `,
		"-reference=ghcr.io/warren-mesh/warren:1+dev": `-reference "ghcr.io/warren-mesh/warren:1+dev": want NAME:TAG`,
		"-out=bin/image":                              `-out "bin/image": want a file that ends in .tar`,
		"-version=":                                   `-version "": want a version`,
		"-revision=c2d44dc":                           `-revision "c2d44dc": want a commit's whole hash`,
		"-date=2026-11-28":                            `-date "2026-11-28": want seconds since 1970`,
		"-date=-1":                                    `-date "-1": want seconds since 1970`,
		"-platforms=windows/amd64":                    `-platforms "windows/amd64": want linux/ARCH`,
		"-platforms=linux/amd64,":                     `-platforms "linux/amd64,": want linux/ARCH`,
		"-platforms=linux/arm/v7":                     `-platforms "linux/arm/v7": want linux/ARCH`,
		"-platforms=linux/amd64,linux/amd64":          `-platforms "linux/amd64,linux/amd64": want linux/ARCH, with commas between, each once`,
		"-date=x -version=":                           "-version \"\": want a version\n  -date \"x\"",
	} {
		if _, err := parse(t, strings.Fields(args)...); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %s", args, err, want)
		}
	}
}

// TestOptionsDefaults are good as they are.
func TestOptionsDefaults(t *testing.T) {
	r, err := parse(t)
	if err != nil || r.tag.Name() != "ghcr.io/warren-mesh/warren:devel" || len(r.platforms) != 2 {
		t.Errorf("%+v, %v", r, err)
	}
}
