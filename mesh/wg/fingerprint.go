package wg

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"hash/maphash"
	"io"
	"io/fs"
	"net"
	"time"

	"golang.org/x/sys/unix"

	"github.com/warren-mesh/warren/mesh/wg/tunnel"
)

// fingerprint is of all that a device holds, but for what traffic alone changes: two that differ are of two contents. The zero value is
// of none.
type fingerprint uint64

// seed makes fingerprints that no peer can foresee. They are compared within one process only.
var seed = maphash.MakeSeed()

// volatile begin the lines of the device that traffic changes.
var volatile = [][]byte{[]byte("last_handshake_time_"), []byte("rx_bytes="), []byte("tx_bytes=")}

// fingerprint reads the userspace device without making anything of what it says: of thousands of peers, that is most of what reading
// costs. It is zero where no process serves the device, as none does the kernel's.
func (c *client) fingerprint(name string) (held fingerprint, err error) {
	err = c.within(func() error {
		held, err = readFingerprint(name, c.timeout)
		return err
	})
	if err != nil {
		return 0, fmt.Errorf("reading device %s: %w", name, err)
	}
	return held, nil
}

func readFingerprint(name string, timeout time.Duration) (fingerprint, error) {
	conn, err := net.DialTimeout("unix", tunnel.SocketPath(name), timeout) //nolint:noctx // no name to look up, and bounded
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, unix.ECONNREFUSED) {
		return 0, nil
	}
	if err != nil {
		return 0, err
	}
	defer conn.Close()
	if err := conn.SetDeadline(time.Now().Add(timeout)); err != nil {
		return 0, err
	}
	if _, err := io.WriteString(conn, "get=1\n\n"); err != nil {
		return 0, err
	}
	return digest(conn)
}

// digest is the fingerprint of a device as its process writes it (https://www.wireguard.com/xplatform/): lines KEY=VALUE, those of a
// peer after its public_key, peers in any order, and an empty line after errno.
func digest(in io.Reader) (fingerprint, error) {
	lines := bufio.NewScanner(in)
	var sum, peer uint64
	for lines.Scan() {
		line := lines.Bytes()
		switch {
		case len(line) == 0:
			return max(fingerprint(sum), 1), nil
		case bytes.HasPrefix(line, []byte("errno=")):
			if !bytes.Equal(line, []byte("errno=0")) {
				return 0, fmt.Errorf("it says %s", line)
			}
			continue
		case bytes.HasPrefix(line, []byte("public_key=")):
			peer = maphash.Bytes(seed, line)
		case isVolatile(line):
			continue
		}
		sum += maphash.Comparable(seed, [2]uint64{peer, maphash.Bytes(seed, line)})
	}
	return 0, errors.Join(lines.Err(), io.ErrUnexpectedEOF)
}

func isVolatile(line []byte) bool {
	for _, prefix := range volatile {
		if bytes.HasPrefix(line, prefix) {
			return true
		}
	}
	return false
}
