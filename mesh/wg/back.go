package wg

import (
	"time"

	"github.com/warren-mesh/warren/crypto/identity"
)

// noteChange remembers what a change that succeeded makes of who must hear from us. It is to be called before the change's endpoint is
// noted as claimed.
//
// A peer that comes back has no session here, and may have one with us from before: it would keep to that, in vain, for 15 s after it
// next sends. It comes back where somebody else removed it, and where we did within the life of a session.
func (d *Device) noteChange(c Change) {
	if c.Remove {
		for key, when := range d.left {
			if time.Since(when) > liveAge {
				delete(d.left, key)
			}
		}
		if d.left == nil {
			d.left = map[identity.PublicKey]time.Time{}
		}
		d.left[c.PublicKey] = time.Now()
		return
	}
	if !c.New || c.Keepalive != nil || d.greet { // it hears from us anyway
		return
	}
	_, wanted := d.claims[c.PublicKey]
	if wanted || time.Since(d.left[c.PublicKey]) < liveAge {
		d.back = append(d.back, c.PublicKey)
	}
}

// callBack makes the peers that came back hear from us once.
func (d *Device) callBack() error {
	if len(d.back) == 0 {
		return nil
	}
	others := len(d.nudged) > 0 // whose own end comes by Settle
	if err := d.nudge(d.back); err != nil {
		return err
	}
	d.back = nil
	if others {
		return nil
	}
	return d.settle()
}
