package nft

import (
	"bytes"
	"context"
	"errors"
	"fmt"

	"github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"
)

// Watch tells, until ctx ends, that another process changed the table of that name, a rule with that comment, or any base chain. Notices
// coalesce: one that is waiting stands for all that came after it. The channel is closed at the end, and when the socket fails.
func Watch(ctx context.Context, table, comment string) (<-chan struct{}, error) {
	conn, err := netlink.Dial(unix.NETLINK_NETFILTER, nil)
	if err != nil {
		return nil, fmt.Errorf("opening a socket for nftables notices: %w", err)
	}
	if err := errors.Join(conn.SetReadBuffer(socketBuffer), own.watch(conn), conn.JoinGroup(unix.NFNLGRP_NFTABLES)); err != nil {
		own.forget(conn)
		return nil, errors.Join(fmt.Errorf("subscribing to nftables notices: %w", err), conn.Close())
	}
	changed := make(chan struct{}, 1)
	stop := context.AfterFunc(ctx, func() { _ = conn.Close() }) // Ends Receive; there is nobody to tell.
	go func() {
		defer close(changed)
		defer stop()
		defer own.forget(conn)
		for {
			messages, err := conn.Receive()
			lost := errors.Is(err, unix.ENOBUFS) // More came than the buffer holds: any of it may be of interest.
			if err != nil && !lost {
				_ = conn.Close()
				return
			}
			if !lost && !concerns(messages, table, comment) {
				continue
			}
			select {
			case changed <- struct{}{}:
			default:
			}
		}
	}()
	return changed, nil
}

// concerns says whether a message is about something of ours and by another process. One may be of a socket of ours that was opened since it was sent.
func concerns(messages []netlink.Message, table, comment string) bool {
	for _, m := range messages {
		if own.has(m.Header.PID) || m.Header.Type>>8 != unix.NFNL_SUBSYS_NFTABLES {
			continue
		}
		switch uint16(m.Header.Type & 0xff) {
		case unix.NFT_MSG_NEWGEN:
			continue
		case unix.NFT_MSG_NEWCHAIN:
			if _, base := attribute(m, unix.NFTA_CHAIN_HOOK); base {
				return true
			}
		case unix.NFT_MSG_NEWRULE, unix.NFT_MSG_DELRULE:
			if data, ok := attribute(m, unix.NFTA_RULE_USERDATA); ok && commentOf(data) == comment {
				return true
			}
		}
		// The table's name is attribute 1 in messages of all kinds.
		if name, ok := attribute(m, unix.NFTA_TABLE_NAME); ok && string(bytes.TrimRight(name, "\x00")) == table {
			return true
		}
	}
	return false
}
