// Package tunnel is the userspace WireGuard device in a process of its own: what `warrend tunnel` runs. The agent may come and go
// beside it. Its TUN is persistent, so that link, addresses and routes survive the process itself too; without one the kernel
// drops what is routed there.
//
// The device, its TUN and its UDP sockets are those of the stand-alone wireguard-go, and it is driven by the same UAPI socket. Between
// them stand batched, which reads and writes several packets at once, and crossing, which keeps two first calls from ending each other.
package tunnel

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strings"

	"golang.org/x/sys/unix"
	"golang.zx2c4.com/wireguard/conn"
	"golang.zx2c4.com/wireguard/device"
	"golang.zx2c4.com/wireguard/ipc"
)

// SocketDirectory is where wireguard-go has its UAPI sockets, and where `wg` and wgctrl look for them.
const SocketDirectory = "/var/run/wireguard"

// SocketPath is the path of an interface's UAPI socket.
func SocketPath(iface string) string { return SocketDirectory + "/" + iface + ".sock" }

// Options say which device to run.
type Options struct {
	// Interface is the name of the TUN link: made where it is missing, attached to where it is Warren's.
	Interface string
	// Log is where errors are written as lines of JSON, a limited number of them. Nil is the standard error.
	Log io.Writer
	// Ready is called once, when the device can be driven.
	Ready func()
}

// Run serves the device until ctx is done, which leaves the link in place, or until the link or the UAPI socket's file is
// deleted. It returns nil in these cases, and an error where the device cannot be made: the name is not one, the link is somebody
// else's or has a process already, or the socket is in use.
func Run(ctx context.Context, options Options) (err error) {
	name := options.Interface
	if name == "" || len(name) >= unix.IFNAMSIZ || name == "." || name == ".." || strings.ContainsAny(name, "/ :\t\n") {
		return fmt.Errorf("interface name %q is not one: want 1 to %d characters without space, slash or colon", name, unix.IFNAMSIZ-1)
	}
	if options.Log == nil {
		options.Log = os.Stderr
	}
	link, attached, err := openTUN(name)
	if err != nil {
		return err
	}
	// The device owns the TUN and closes it. Whoever holds the TUN is alone with its name: the socket is taken after it and
	// given back before it.
	batches, err := newBatched(link, name)
	if err != nil {
		return errors.Join(err, link.Close())
	}
	dev := device.NewDevice(batches, newCrossing(conn.NewDefaultBind(), crossingTime), newLogger(options.Log, name))
	defer dev.Close()
	if attached.up {
		// Before anybody can configure it, so that a first message can make its peers speak at once. For a link that goes up
		// later the TUN's event does this.
		if err := dev.Up(); err != nil {
			return fmt.Errorf("bringing up device %s: %w", name, err)
		}
	}
	socket, err := listen(name)
	if err != nil {
		return err
	}
	defer func() {
		if cerr := socket.Close(); cerr != nil && !errors.Is(cerr, net.ErrClosed) && !errors.Is(cerr, os.ErrClosed) {
			err = errors.Join(err, fmt.Errorf("closing UAPI socket: %w", cerr))
		}
	}()
	if !attached.there {
		// Only now, so that a link whose device did not come to be goes with its process.
		if err := persist(link); err != nil {
			return err
		}
	}
	closed := make(chan struct{})
	go accept(socket, dev, closed)
	if options.Ready != nil {
		options.Ready()
	}
	select {
	case <-ctx.Done():
	case <-dev.Wait(): // the link is gone
	case <-closed: // the socket's file is gone, and nobody could reach us any more
	}
	return nil
}

// listen takes the interface's UAPI socket, also from a process that is dead, and never from one that lives.
func listen(iface string) (net.Listener, error) {
	if err := makeDirectory(); err != nil {
		return nil, err
	}
	file, err := ipc.UAPIOpen(iface)
	if err != nil {
		return nil, fmt.Errorf("opening UAPI socket %s: %w", SocketPath(iface), err)
	}
	if err := os.Chmod(SocketPath(iface), 0o600); err != nil { // it was made with 0700
		return nil, errors.Join(fmt.Errorf("restricting UAPI socket: %w", err), file.Close())
	}
	listener, err := ipc.UAPIListen(iface, file)
	if err != nil {
		return nil, errors.Join(fmt.Errorf("listening on UAPI socket %s: %w", SocketPath(iface), err), file.Close())
	}
	return listener, nil
}

// accept hands connections to the device until the listener ends.
func accept(socket net.Listener, dev *device.Device, closed chan<- struct{}) {
	defer close(closed)
	for {
		client, err := socket.Accept()
		if err != nil {
			return
		}
		go dev.IpcHandle(client)
	}
}
