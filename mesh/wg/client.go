package wg

import (
	"errors"
	"fmt"
	"time"

	"golang.zx2c4.com/wireguard/wgctrl"
	"golang.zx2c4.com/wireguard/wgctrl/wgtypes"

	"github.com/warren-mesh/warren/crypto/identity"
)

// answerTimeout is how long one message may take to be answered.
const answerTimeout = 30 * time.Second

// errNoAnswer is what a message to a device says that has not answered an earlier one.
var errNoAnswer = errors.New("the device has not answered an earlier message yet")

// client sends messages to devices. Its methods must not be called at the same time.
type client struct {
	control *wgctrl.Client
	sent    func(n int)
	timeout time.Duration
	// last is of the device when same looked, and nothing was sent since; zero where that is not known.
	last fingerprint
	// pending is closed when the last call is over. wgctrl has no deadlines, and a stopped tunnel process would otherwise
	// hold its caller for ever.
	pending chan struct{}
}

func newClient(control *wgctrl.Client, sent func(n int)) *client {
	if sent == nil {
		sent = func(int) {}
	}
	idle := make(chan struct{})
	close(idle)
	return &client{control: control, sent: sent, timeout: answerTimeout, pending: idle}
}

func (c *client) close() error {
	select {
	case <-c.pending:
		return c.control.Close()
	default:
		return nil // it is in use by the call that does not end
	}
}

// within makes a call that does not take longer than the timeout.
func (c *client) within(call func() error) error {
	select {
	case <-c.pending:
	default:
		return errNoAnswer
	}
	done, result := make(chan struct{}), make(chan error, 1)
	c.pending = done
	go func() {
		defer close(done)
		result <- call()
	}()
	select {
	case err := <-result:
		<-done
		return err
	case <-time.After(c.timeout):
		return fmt.Errorf("no answer within %s", c.timeout)
	}
}

// setKey sends the device's own key. It is a wgtypes.Key, which prints itself, in here only.
func (c *client) setKey(name string, key identity.PrivateKey) error {
	private := wgtypes.Key(key.Bytes())
	return c.send(name, wgtypes.Config{PrivateKey: &private})
}

// setPort sends the device's UDP port.
func (c *client) setPort(name string, port uint16) error {
	listen := int(port)
	return c.send(name, wgtypes.Config{ListenPort: &listen})
}

// setPeers sends one message about some peers.
func (c *client) setPeers(name string, changes []Change) error {
	var config wgtypes.Config
	for _, change := range changes {
		config.Peers = append(config.Peers, peerConfig(change))
	}
	return c.send(name, config)
}

func (c *client) send(name string, config wgtypes.Config) error {
	c.last = 0
	c.sent(1)
	return c.within(func() error { return c.control.ConfigureDevice(name, config) })
}

// same says whether the device holds what it did when this last looked, and nothing was sent since. Where it does not say so, the caller
// reads the device: after this, so that what changes between is seen the next time.
func (c *client) same(name string) (bool, error) {
	now, err := c.fingerprint(name)
	same := now != 0 && now == c.last
	c.last = now
	return same, err
}

// device reads the device. The caller must let go of it soon: it holds the private key.
func (c *client) device(name string) (device *wgtypes.Device, err error) {
	err = c.within(func() error {
		device, err = c.control.Device(name)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("reading device %s: %w", name, err)
	}
	return device, nil
}
