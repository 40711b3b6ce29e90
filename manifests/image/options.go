package main

import (
	"errors"
	"flag"
	"fmt"
	"regexp"
	"strconv"
	"strings"
	"time"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
)

// options are the flags as they were given.
type options struct {
	source, out, reference, version, revision, date, ldflags, platforms string
}

// request is what the flags ask for.
type request struct {
	source, out       string
	tag               name.Tag
	version, revision string
	date              time.Time // of whatever is in the image
	ldflags           string
	platforms         []*v1.Platform
}

func (o *options) addFlags(fs *flag.FlagSet) {
	fs.StringVar(&o.source, "source", "../..", "the `folder` of Warren's module")
	fs.StringVar(&o.out, "out", "../../bin/warren-image.tar", "the `file` to write; bills of materials go beside it")
	fs.StringVar(&o.reference, "reference", "ghcr.io/warren-mesh/warren:devel", "the image's `name:tag`")
	fs.StringVar(&o.version, "version", "devel", "the `version` that annotations and bills of materials state")
	fs.StringVar(&o.revision, "revision", "", "the `commit` that annotations state (empty: none)")
	fs.StringVar(&o.date, "date", "0", "the time of all files, in `seconds` since 1970: that of the commit")
	fs.StringVar(&o.ldflags, "ldflags", "-s -w", "`flags` for Go's linker")
	fs.StringVar(&o.platforms, "platforms", "linux/amd64,linux/arm64", "`OS/ARCH,...` to build for")
}

var commit = regexp.MustCompile(`^([0-9a-f]{40}([0-9a-f]{24})?)?$`)

// validate says everything that is wrong with the flags.
func (o *options) validate() (request, error) {
	r := request{source: o.source, out: o.out, version: o.version, revision: o.revision, ldflags: o.ldflags}
	var errs []error
	wrong := func(flag, value, want string) {
		errs = append(errs, fmt.Errorf("  -%s %q: want %s", flag, value, want))
	}
	if !strings.HasSuffix(o.out, ".tar") {
		wrong("out", o.out, "a file that ends in .tar")
	}
	if o.version == "" {
		wrong("version", o.version, "a version")
	}
	if !commit.MatchString(o.revision) {
		wrong("revision", o.revision, "a commit's whole hash")
	}
	tag, err := name.NewTag(o.reference, name.StrictValidation)
	if err != nil {
		wrong("reference", o.reference, "NAME:TAG as registries take them: "+err.Error())
	}
	r.tag = tag
	seconds, err := strconv.ParseInt(o.date, 10, 64)
	if err != nil || seconds < 0 {
		wrong("date", o.date, "seconds since 1970")
	}
	r.date = time.Unix(seconds, 0).UTC()
	seen := make(map[string]bool)
	for text := range strings.SplitSeq(o.platforms, ",") {
		os, arch, _ := strings.Cut(text, "/")
		if os != "linux" || arch == "" || strings.Contains(arch, "/") || seen[arch] {
			wrong("platforms", o.platforms, "linux/ARCH, with commas between, each once")
			break
		}
		seen[arch] = true
		r.platforms = append(r.platforms, &v1.Platform{OS: os, Architecture: arch})
	}
	return r, errors.Join(errs...)
}
