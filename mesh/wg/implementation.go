package wg

// Implementation says which WireGuard the device is, Kernel or Userspace; before the first Set, which a new one would be.
func (d *Device) Implementation() Mode {
	d.mu.Lock()
	defer d.mu.Unlock()
	switch {
	case d.running == incarnation{}:
		return d.mode
	case d.running.socket == socket{}:
		return Kernel
	}
	return Userspace
}
