package main

import (
	"errors"
	"strings"
	"testing"
)

const (
	oops     = "[   18.4] Oops: int3: 0000 [#1] PREEMPT SMP NOPTI\n[   18.4] RIP: 0010:__alloc_skb+0x49/0x1a0\n"
	panicked = "[   18.4] Kernel panic - not syncing: Fatal exception in interrupt\n"
)

func TestBrokenError(t *testing.T) {
	boot := strings.Repeat("[    1.0] a line of a kernel that starts\n", 1000)
	for name, test := range map[string]struct {
		accel, console string
		emulation      bool
		says           string
	}{
		"the race of the emulation":         {tcg, boot + oops + strings.Repeat("[   18.4] a call\n", 1000) + panicked, true, "Oops: int3"},
		"no race with one thread":           {tcgSingle, boot + oops + panicked, false, "Oops: int3"},
		"no race with KVM":                  {kvm, boot + oops + panicked, false, "Kernel panic"},
		"a kernel that is broken by itself": {tcg, boot + "[   18.4] BUG: kernel NULL pointer dereference\n" + panicked, false, "NULL pointer"},
	} {
		t.Run(name, func(t *testing.T) {
			if !broken(test.console) {
				t.Fatal("it is not seen to be broken")
			}
			err := brokenError(test.accel, test.console)
			if got := errors.Is(err, errEmulation); got != test.emulation {
				t.Errorf("said to be the emulation's: %v, want %v", got, test.emulation)
			}
			if !strings.Contains(err.Error(), test.says) {
				t.Errorf("it does not say %q: %v", test.says, err)
			}
		})
	}
	if broken(boot) {
		t.Error("a whole kernel is said to be broken")
	}
}

func TestVirtualizes(t *testing.T) {
	for cpuinfo, want := range map[string]bool{
		"processor\t: 0\nflags\t\t: fpu vmx ssse3\n":        true,
		"flags\t\t: fpu svm\n":                              true,
		"flags\t\t: fpu ssse3 vmxless\nvmx flags\t: vnmi\n": false,
	} {
		if got := virtualizes.MatchString(cpuinfo); got != want {
			t.Errorf("%q: %v, want %v", cpuinfo, got, want)
		}
	}
}
