package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
)

// programs are what the tests and the kernel run, taken from this machine with their libraries.
var programs = []string{
	"sh", "cat", "ls", "sort", "mkdir", "test", "nice", "date", "seq", "tail", "sleep", "timeout", "nsenter", "sysctl", "grep", "sed", "tr", "modprobe",
	"pidof", "setpriv",
	"ip", "bridge", "tc", "ss", "nft", "wg", "ping", "tcpdump", "conntrack",
	"iptables", "iptables-save", "iptables-restore", "ip6tables", "ip6tables-save", "ip6tables-restore", "iptables-nft", "ip6tables-nft",
}

// optional are not on every machine. Tests that lack them say so.
var optional = []string{"ethtool", "iptables-legacy", "ip6tables-legacy", "iptables-legacy-save", "ip6tables-legacy-save"}

// trees are folders that the programs read: names of routing protocols, of IP protocols, and iptables' matches and targets.
var trees = []string{"/etc/iproute2", "/etc/protocols", "/etc/services", "/usr/lib/x86_64-linux-gnu/xtables"}

func addPrograms(ctx context.Context, a *archive) error {
	if err := addAll(ctx, a, programs, "deps"); err != nil {
		return err
	}
	for _, name := range optional {
		if file, ok := lookup(name); ok {
			if err := addProgram(ctx, a, file); err != nil {
				return err
			}
		}
	}
	for _, tree := range trees {
		if err := addTree(a, tree, tree); err != nil {
			return err
		}
	}
	libraries, err := filepath.Glob("/usr/lib/x86_64-linux-gnu/xtables/*.so")
	if err != nil {
		return err
	}
	for _, library := range libraries {
		if err := addLibraries(ctx, a, library); err != nil {
			return err
		}
	}
	return nil
}

// addAll adds programs, which a target of make has installed.
func addAll(ctx context.Context, a *archive, names []string, target string) error {
	for _, name := range names {
		file, ok := lookup(name)
		if !ok {
			return fmt.Errorf("program %s is missing here: run make %s", name, target)
		}
		if err := addProgram(ctx, a, file); err != nil {
			return err
		}
	}
	return nil
}

// lookup finds a program where the guest will look for it.
func lookup(name string) (file string, ok bool) {
	for _, folder := range []string{"/usr/sbin", "/usr/bin", "/sbin", "/bin"} {
		file := filepath.Join(folder, name)
		if info, err := os.Stat(file); err == nil && info.Mode().IsRegular() {
			return file, true
		}
	}
	return "", false
}

// addProgram adds a program under its own name: several are one file, which looks at the name.
func addProgram(ctx context.Context, a *archive, file string) error {
	a.file(merged(file), file)
	return addLibraries(ctx, a, file)
}

var library = regexp.MustCompile(`(/\S+) \(0x`)

func addLibraries(ctx context.Context, a *archive, file string) error {
	list, err := command(ctx, "ldd", file)
	if err != nil {
		return err
	}
	for _, found := range library.FindAllStringSubmatch(string(list), -1) {
		a.file(merged(found[1]), found[1])
	}
	return nil
}

// merged is a path below /usr, as where /bin and /lib are links to there.
func merged(file string) string {
	if strings.HasPrefix(file, "/usr/") {
		return file
	}
	return "/usr" + file
}
