package node

import (
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestParseHierarchies(t *testing.T) {
	//nolint:dupword // as the kernel writes it
	const mountinfo = `22 1 254:0 / / rw,relatime shared:1 - ext4 /dev/vda rw
30 22 0:26 / /sys/fs/cgroup rw - tmpfs tmpfs rw,mode=755
31 30 0:27 / /sys/fs/cgroup/cpu,cpuacct rw,relatime shared:9 - cgroup cgroup rw,cpu,cpuacct
32 30 0:28 /../.. /sys/fs/cgroup/systemd rw,relatime - cgroup cgroup rw,xattr,release_agent=/bin/x,name=systemd
33 30 0:29 / /sys/fs/cgroup/unified rw,relatime - cgroup2 none rw
`
	want := []hierarchy{
		{path: "/sys/fs/cgroup/cpu,cpuacct", options: "cpu,cpuacct"},
		{path: "/sys/fs/cgroup/systemd", options: "none,name=systemd"},
	}
	//nolint:dupword // as above
	unified := "33 22 0:29 / /sys/fs/cgroup rw,nosuid,nodev,noexec,relatime shared:4 - cgroup2 cgroup2 rw,nsdelegate,memory_recursiveprot\n"
	if diff := cmp.Diff([]hierarchy{{path: "/sys/fs/cgroup", unified: true}}, parseHierarchies(unified), cmp.AllowUnexported(hierarchy{})); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff(want, parseHierarchies(mountinfo), cmp.AllowUnexported(hierarchy{})); diff != "" {
		t.Error(diff)
	}
}
