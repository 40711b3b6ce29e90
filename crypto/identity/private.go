// Package identity is a node's WireGuard key: made on the node, kept in a file, and shown by nothing that prints.
package identity

import (
	"bytes"
	"crypto/ecdh"
	"crypto/rand"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"log/slog"
)

// redacted is what every printer says in place of a private key.
const redacted = "[redacted]"

// PrivateKey is a WireGuard private key. Whatever prints, encodes or logs it says "[redacted]"; the key itself is had by Bytes
// only. The zero value is no key.
type PrivateKey struct {
	// A function, because fmt does not call the methods of a key that is an unexported field of something else, and prints
	// what it finds there: an address then, and not the bytes.
	secret func() [KeySize]byte
}

func newPrivateKey(secret [KeySize]byte) PrivateKey {
	return PrivateKey{secret: func() [KeySize]byte { return secret }}
}

// NewPrivateKey makes a key from the system's randomness, clamped as `wg genkey` does.
func NewPrivateKey() PrivateKey {
	var secret [KeySize]byte
	// It never fails: since Go 1.24 the program ends where the system has no randomness.
	_, _ = rand.Read(secret[:])
	secret[0] &= 248
	secret[31] = secret[31]&127 | 64
	return newPrivateKey(secret)
}

// ParsePrivateKey reads what `wg genkey` writes: 44 characters of base64, with or without one newline after them. No error of it
// holds any part of the text.
func ParsePrivateKey(text []byte) (PrivateKey, error) {
	text = bytes.TrimSuffix(text, []byte("\n"))
	if want := base64.StdEncoding.EncodedLen(KeySize); len(text) != want {
		return PrivateKey{}, fmt.Errorf("private key has %d characters, want %d of base64", len(text), want)
	}
	// The decoder skips newlines, so that 44 characters may hold fewer than 32 bytes.
	raw, err := base64.StdEncoding.Strict().DecodeString(string(text))
	if err != nil {
		return PrivateKey{}, errors.New("private key is not base64")
	}
	if len(raw) != KeySize {
		return PrivateKey{}, fmt.Errorf("private key has %d bytes, want %d", len(raw), KeySize)
	}
	secret := [KeySize]byte(raw)
	if secret == [KeySize]byte{} {
		return PrivateKey{}, errors.New("private key is all zero")
	}
	return newPrivateKey(secret), nil
}

// IsZero says whether there is no key.
func (k PrivateKey) IsZero() bool { return k.secret == nil }

// Bytes is the key itself, for what gives it to WireGuard or writes the key file. It must not reach anything that prints.
func (k PrivateKey) Bytes() [KeySize]byte {
	if k.secret == nil {
		return [KeySize]byte{}
	}
	return k.secret()
}

// Public is the public half, as `wg pubkey` says it. No key has no public half: the zero value.
func (k PrivateKey) Public() PublicKey {
	if k.secret == nil {
		return PublicKey{}
	}
	// X25519 clamps the scalar itself (RFC 7748, section 5), and every 32 bytes are a scalar to it.
	secret := k.secret()
	private, err := ecdh.X25519().NewPrivateKey(secret[:])
	if err != nil {
		return PublicKey{}
	}
	return PublicKey(private.PublicKey().Bytes())
}

// String is "[redacted]".
func (PrivateKey) String() string { return redacted }

// GoString is "[redacted]".
func (PrivateKey) GoString() string { return redacted }

// Format writes "[redacted]", whatever the verb.
func (PrivateKey) Format(state fmt.State, _ rune) { _, _ = io.WriteString(state, redacted) }

// MarshalText is "[redacted]".
func (PrivateKey) MarshalText() ([]byte, error) { return []byte(redacted), nil }

// MarshalJSON is "[redacted]" as a JSON string.
func (PrivateKey) MarshalJSON() ([]byte, error) { return []byte(`"` + redacted + `"`), nil }

// LogValue is "[redacted]".
func (PrivateKey) LogValue() slog.Value { return slog.StringValue(redacted) }

var (
	_ fmt.Formatter  = PrivateKey{}
	_ fmt.GoStringer = PrivateKey{}
	_ slog.LogValuer = PrivateKey{}
)
