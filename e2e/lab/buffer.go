package lab

import (
	"errors"
	"fmt"
	"syscall"

	"golang.org/x/sys/unix"
)

// bufferSize is how much a socket holds of what this process has not read yet, in bytes: what a busy machine keeps it from for
// seconds is not to be taken for what the network lost.
const bufferSize = 16 << 20

// enlarge gives a socket the large buffer.
func enlarge(conn any) error {
	c, ok := conn.(syscall.Conn)
	if !ok {
		return fmt.Errorf("enlarging the buffer of a %T: it is no socket", conn)
	}
	raw, err := c.SyscallConn()
	if err != nil {
		return fmt.Errorf("enlarging a socket's buffer: %w", err)
	}
	var failed error
	err = raw.Control(func(fd uintptr) {
		failed = unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_RCVBUFFORCE, bufferSize)
	})
	if err = errors.Join(err, failed); err != nil {
		return fmt.Errorf("enlarging a socket's buffer: %w", err)
	}
	return nil
}
