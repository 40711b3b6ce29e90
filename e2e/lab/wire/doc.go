// Package wire says what an Ethernet frame of the underlay gives away: it tells WireGuard from everything else, and
// finds the addresses of pods wherever a frame can carry them in clear.
//
// It is pure and trusts nothing that it reads: a frame may be truncated, malformed or made to mislead it.
package wire
