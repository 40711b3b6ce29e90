package wire

// icmp reads the packet that an error quotes, and a redirect's gateway.
func (r *reader) icmp(p []byte, where string, depth int) {
	const header = 8
	if len(p) < header {
		return
	}
	switch p[0] {
	case 5: // redirect
		r.address(p[4:8], join(where, "ICMP redirect"))
		fallthrough
	case 3, 4, 11, 12: // unreachable, source quench, time exceeded, parameter problem
		r.ip(p[header:], join(where, "ICMP error"), depth)
	default:
		r.scan(p[header:], join(where, "ICMP payload"), depth)
	}
}

// icmpv6 reads the packet that an error quotes, and the addresses of neighbour discovery (RFC 4861).
func (r *reader) icmpv6(p []byte, where string, depth int) {
	const header = 8
	if len(p) < header {
		return
	}
	discovery := join(where, "neighbour discovery")
	switch p[0] {
	case 1, 2, 3, 4: // unreachable, packet too big, time exceeded, parameter problem
		r.ip(p[header:], join(where, "ICMPv6 error"), depth)
	case 133: // router solicitation
		r.options(p[header:], discovery, depth)
	case 134: // router advertisement
		r.options(after(p, 16), discovery, depth)
	case 135, 136: // neighbour solicitation, advertisement
		r.address(between(p, 8, 24), join(discovery, "target"))
		r.options(after(p, 24), discovery, depth)
	case 137: // redirect
		r.address(between(p, 8, 24), join(discovery, "redirect"))
		r.address(between(p, 24, 40), join(discovery, "redirected"))
		r.options(after(p, 40), discovery, depth)
	default:
		r.scan(p[header:], join(where, "ICMPv6 payload"), depth)
	}
}

// options reads the options of neighbour discovery that carry addresses: a prefix, and a redirected packet.
func (r *reader) options(p []byte, where string, depth int) {
	for len(p) >= 8 {
		size := int(p[1]) * 8
		if size == 0 || size > len(p) {
			return
		}
		switch p[0] {
		case 3:
			r.address(between(p[:size], 16, 32), join(where, "prefix"))
		case 4:
			r.ip(after(p[:size], 8), join(where, "redirected packet"), depth)
		}
		p = p[size:]
	}
}

// between is p[from:to], or nothing where p is too short.
func between(p []byte, from, to int) []byte {
	if len(p) < to {
		return nil
	}
	return p[from:to]
}

// after is p[from:], or nothing where p is too short.
func after(p []byte, from int) []byte {
	if len(p) < from {
		return nil
	}
	return p[from:]
}
