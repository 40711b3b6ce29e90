package outside

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"strings"
)

// StandIn runs a program of the control plane on the host, with its output going to out, and is its exit code. It is to be called
// by a process of its own: what it opens goes with the process.
func StandIn(name string, args []string, out io.Writer) (code int, err error) {
	at, ok := Ports[name]
	if !ok {
		return 0, fmt.Errorf("%s is no program of the control plane", name)
	}
	dir, err := os.Getwd()
	if err != nil {
		return 0, err
	}
	run := &Run{Name: name, Args: args}
	if run.Files, err = read(dir, "pki", "credentials", "audit"); err != nil {
		return 0, err
	}
	if run.Store, err = readStore(dir); err != nil {
		return 0, err
	}
	address := fmt.Sprintf(":%d", at.Port)
	if at.Loopback {
		address = "127.0.0.1" + address
	}
	// What is refused here would be refused there: nothing listens yet.
	if err := Forward(address, Request{Dir: dir, Port: at.Port}); err != nil {
		return 0, err
	}
	host, err := Connect(Request{Dir: dir, Run: run})
	if err != nil {
		return 0, err
	}
	for events := json.NewDecoder(host); ; {
		var event Event
		if err := events.Decode(&event); err != nil {
			return 0, fmt.Errorf("the host went: %w", err)
		}
		if _, err := out.Write(event.Output); err != nil {
			return 0, err
		}
		if event.Store != "" {
			if err := writeStore(dir, event.Store); err != nil {
				return 0, err
			}
		}
		if event.Ended {
			return event.Code, nil
		}
	}
}

// storeFile has the name of the store's state, in etcd's folder.
const storeFile = "etcd/outside"

func readStore(dir string) (string, error) {
	name, err := os.ReadFile(filepath.Join(dir, storeFile)) //nolint:gosec // the control plane's own
	if errors.Is(err, fs.ErrNotExist) {
		err = nil
	}
	return string(name), err
}

func writeStore(dir, name string) error {
	file := filepath.Join(dir, storeFile)
	if err := os.MkdirAll(filepath.Dir(file), 0o700); err != nil {
		return err
	}
	return os.WriteFile(file, []byte(name), 0o600)
}

// read is what is in folders of dir. Those that are not there have nothing.
func read(dir string, folders ...string) (map[string][]byte, error) {
	files := map[string][]byte{}
	for _, folder := range folders {
		err := filepath.WalkDir(filepath.Join(dir, folder), func(file string, entry fs.DirEntry, err error) error {
			if errors.Is(err, fs.ErrNotExist) {
				return nil
			}
			if err != nil || !entry.Type().IsRegular() {
				return err
			}
			files[strings.TrimPrefix(file, dir+"/")], err = os.ReadFile(file) //nolint:gosec // the control plane's own
			return err
		})
		if err != nil {
			return nil, err
		}
	}
	return files, nil
}

// Connect opens a connection to the host and says what for.
func Connect(request Request) (net.Conn, error) {
	conn, err := net.Dial("unix", Socket) //nolint:noctx // in this machine
	if err != nil {
		return nil, err
	}
	if err := json.NewEncoder(conn).Encode(request); err != nil {
		return nil, errors.Join(err, conn.Close())
	}
	return conn, nil
}

// Forward listens at an address and passes connections on, until the process ends.
func Forward(address string, request Request) error {
	listener, err := net.Listen("tcp", address) //nolint:noctx // at once
	if err != nil {
		return err
	}
	go accept(listener, request)
	return nil
}

// accept passes connections on.
func accept(listener net.Listener, request Request) {
	for {
		client, err := listener.Accept()
		if err != nil {
			return
		}
		go func() {
			host, err := Connect(request)
			if err != nil {
				_ = client.Close() // which tells the caller
				return
			}
			Splice(client, host)
		}()
	}
}

// Splice copies both ways until either end closes, and closes both.
func Splice(a, b io.ReadWriteCloser) {
	done := make(chan struct{}, 2)
	for _, way := range [][2]io.ReadWriteCloser{{a, b}, {b, a}} {
		go func() {
			_, _ = io.Copy(way[0], way[1]) // both ends see that it is over
			done <- struct{}{}
		}()
	}
	<-done
	_, _ = a.Close(), b.Close()
	<-done
}
