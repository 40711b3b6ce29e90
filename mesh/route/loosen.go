package route

import (
	"errors"
	"io/fs"
	"path/filepath"
)

// conf4 has a folder for each link, and one for all.
const conf4 = "/proc/sys/net/ipv4/conf"

// Loosen lets IPv4 packets in by these links though the way back leaves by another one, where a strict reverse-path filter would drop them. A
// link that is not there is left out.
func (r *Router) Loosen(links ...string) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	all, err := readSysctl(filepath.Join(conf4, "all/rp_filter"))
	if err != nil {
		return err
	}
	var errs []error
	for _, link := range links {
		path := filepath.Join(conf4, link, "rp_filter")
		value, err := readSysctl(path)
		if err == nil && value != "2" && max(all, value) == "1" { // The larger of the two holds.
			r.onMessage(1)
			err = setSysctl(path, "2")
		}
		if !errors.Is(err, fs.ErrNotExist) {
			errs = append(errs, err)
		}
	}
	return errors.Join(errs...)
}
