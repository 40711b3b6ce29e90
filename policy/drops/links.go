package drops

import (
	"fmt"

	"golang.org/x/sys/unix"
)

// links asks for links' names, in the network namespace of the thread that opened it.
type links int

func openLinks() (links, error) {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return 0, fmt.Errorf("opening a socket to ask for links: %w", err)
	}
	return links(fd), nil
}

func (l links) close() { _ = unix.Close(int(l)) }

// name is a link's; empty for none, and for one that has gone.
func (l links) name(index *uint32) string {
	if index == nil {
		return ""
	}
	ask, err := unix.NewIfreq("")
	if err != nil {
		return ""
	}
	ask.SetUint32(*index)
	if err := unix.IoctlIfreq(int(l), unix.SIOCGIFNAME, ask); err != nil {
		return ""
	}
	return ask.Name()
}
