package identity

import (
	"encoding/base64"
	"fmt"
)

// KeySize is the length of a WireGuard key (Curve25519) in bytes.
const KeySize = 32

// PublicKey is a WireGuard public key. It is comparable, and its text is the base64 that `wg` prints.
type PublicKey [KeySize]byte

// ParsePublicKey reads the base64 text of a public key. The all-zero key is refused: it is a point of low order,
// and WireGuard takes it for "no key".
func ParsePublicKey(text string) (PublicKey, error) {
	raw, err := base64.StdEncoding.Strict().DecodeString(text)
	if err != nil {
		return PublicKey{}, fmt.Errorf("public key %.64q is not base64: %w", text, err)
	}
	if len(raw) != KeySize {
		return PublicKey{}, fmt.Errorf("public key %.64q has %d bytes, want %d", text, len(raw), KeySize)
	}
	key := PublicKey(raw)
	if key.IsZero() {
		return PublicKey{}, fmt.Errorf("public key %.64q is all zero", text)
	}
	if key.String() != text { // base64 skips line ends wherever they are
		return PublicKey{}, fmt.Errorf("public key %.64q has line ends", text)
	}
	return key, nil
}

// IsZero says whether the key is unset.
func (k PublicKey) IsZero() bool { return k == PublicKey{} }

// String is the key in base64, as `wg` prints it.
func (k PublicKey) String() string { return base64.StdEncoding.EncodeToString(k[:]) }

// MarshalText makes the key base64 in JSON and logs.
func (k PublicKey) MarshalText() ([]byte, error) { return []byte(k.String()), nil }

// UnmarshalText is the inverse of MarshalText.
func (k *PublicKey) UnmarshalText(text []byte) error {
	key, err := ParsePublicKey(string(text))
	if err != nil {
		return err
	}
	*k = key
	return nil
}
