package main

import (
	"fmt"
	"io"
	"net"
	"os/exec"
	"strconv"
	"strings"

	"github.com/warren-mesh/warren/e2e/vm/job"
	"github.com/warren-mesh/warren/e2e/vm/outside"
)

// relay gives every namespace of the machine a way to the host: a socket that is a file.
func relay(host job.Host) error {
	for _, words := range []string{
		"modprobe virtio_net", "ip link set eth0 up", "ip address add " + job.GuestAddress + " dev eth0",
	} {
		fields := strings.Fields(words)
		if out, err := exec.Command(fields[0], fields[1:]...).CombinedOutput(); err != nil { //nolint:gosec,noctx // our words
			return fmt.Errorf("%s: %w: %s", words, err, out)
		}
	}
	listener, err := net.Listen("unix", outside.Socket) //nolint:noctx // at once
	if err != nil {
		return err
	}
	go func() {
		for {
			client, err := listener.Accept()
			if err != nil {
				return
			}
			go pass(client, host)
		}
	}()
	return nil
}

// pass passes one connection on. Its end is all that the client hears of an error.
func pass(client net.Conn, host job.Host) {
	conn, err := net.Dial("tcp", net.JoinHostPort(job.HostAddress, strconv.Itoa(host.Port))) //nolint:noctx // QEMU answers at once
	if err == nil {
		_, err = io.WriteString(conn, host.Token+"\n")
	}
	if err != nil {
		_ = client.Close()
		return
	}
	outside.Splice(client, conn)
}
