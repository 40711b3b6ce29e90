package nft

import (
	"errors"
	"testing"
	"time"

	"github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"
)

// TestOwnChangesAreNotHeard looks at what the kernel sends to one who listens: nothing of what this process changes, by whatever socket and also after
// one was opened anew, and all that others change.
func TestOwnChangesAreNotHeard(t *testing.T) {
	c := open(t)
	ear, err := netlink.Dial(unix.NETLINK_NETFILTER, nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { own.forget(ear); _ = ear.Close() })
	if err := errors.Join(own.watch(ear), ear.JoinGroup(unix.NFNLGRP_NFTABLES)); err != nil {
		t.Fatal(err)
	}
	apply(t, c, every())
	if err := c.afresh(nil); err != nil {
		t.Fatal(err)
	}
	apply(t, c, Table{Family: INet, Name: "u"})
	second, err := Open()
	if err != nil {
		t.Fatal(err)
	}
	port := second.port
	apply(t, second, Table{Family: INet, Name: "v"})
	if err := second.Close(); err != nil {
		t.Fatal(err)
	}
	if own.has(port) || !own.has(c.port) {
		t.Error("a socket that was closed is taken for ours, or one that is open is not")
	}
	nft(t, "add table inet others")
	if err := ear.SetReadDeadline(time.Now().Add(5 * time.Second)); err != nil {
		t.Fatal(err)
	}
	heard, err := ear.Receive()
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range heard {
		if name, _ := attribute(m, unix.NFTA_TABLE_NAME); m.Header.Type == unix.NFNL_SUBSYS_NFTABLES<<8|unix.NFT_MSG_NEWTABLE && string(name) == "others\x00" {
			return
		}
	}
	t.Errorf("the first notice is %+v, want one of table others", heard)
}
