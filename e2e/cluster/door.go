package cluster

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"strconv"

	"k8s.io/client-go/tools/clientcmd"

	"github.com/warren-mesh/warren/e2e/lab"
)

// apiServer is where the API server listens on the switch.
const apiServer = "127.0.0.1:6443"

// door is a port on this machine's loopback that leads to the API server: kubectl needs no namespace then.
type door struct {
	net.Listener
	lab *lab.Lab
}

func openDoor(ctx context.Context, l *lab.Lab) (*door, error) {
	listener, err := net.Listen("tcp", "127.0.0.1:0") //nolint:noctx // no name to look up: it does not wait
	if err != nil {
		return nil, fmt.Errorf("listening for the API server: %w", err)
	}
	d := &door{Listener: listener, lab: l}
	go d.serve(ctx)
	return d, nil
}

func (d *door) serve(ctx context.Context) {
	for {
		outside, err := d.Accept()
		if err != nil {
			return // closed
		}
		go d.lead(ctx, outside)
	}
}

// lead copies both ways until either end has had enough.
func (d *door) lead(ctx context.Context, outside net.Conn) {
	defer outside.Close()
	inside, err := d.lab.Switch().Dial(ctx, "tcp", apiServer)
	if err != nil {
		return // who knocked sees a connection that is closed
	}
	defer inside.Close()
	done := make(chan struct{}, 2)
	for _, way := range [][2]net.Conn{{inside, outside}, {outside, inside}} {
		go func() {
			_, _ = io.Copy(way[0], way[1]) // its end is what matters
			done <- struct{}{}
		}()
	}
	<-done
}

// Kubeconfig is the admin's credential as a file for programs of this machine.
func (c *Cluster) Kubeconfig() string { return filepath.Join(c.dir, "kubeconfig") }

// Kubectl is the program for it.
func (c *Cluster) Kubectl() string { return filepath.Join(c.programs.nodes, "kubectl") }

func (c *Cluster) writeKubeconfig() error {
	config, err := clientcmd.LoadFromFile(c.Lab.Cluster().AdminKubeconfig())
	if err != nil {
		return fmt.Errorf("reading the admin's credential: %w", err)
	}
	address, ok := c.door.Addr().(*net.TCPAddr)
	if !ok {
		return errors.New("the API server's door is not TCP")
	}
	for _, cluster := range config.Clusters {
		cluster.Server = "https://" + net.JoinHostPort("127.0.0.1", strconv.Itoa(address.Port))
	}
	content, err := clientcmd.Write(*config)
	if err == nil {
		err = os.WriteFile(c.Kubeconfig(), content, 0o600)
	}
	if err != nil {
		return fmt.Errorf("writing the admin's credential: %w", err)
	}
	return nil
}
