package wg

import (
	"strings"
	"testing"
)

const device = `private_key=aa
listen_port=51820
public_key=01
endpoint=192.0.2.1:51820
last_handshake_time_sec=0
last_handshake_time_nsec=0
tx_bytes=0
rx_bytes=0
persistent_keepalive_interval=0
allowed_ip=10.244.1.0/24
public_key=02
persistent_keepalive_interval=0
allowed_ip=10.244.2.0/24
errno=0

`

func TestDigest(t *testing.T) {
	of := func(text string) fingerprint {
		t.Helper()
		got, err := digest(strings.NewReader(text))
		if err != nil {
			t.Fatal(err)
		}
		return got
	}
	want := of(device)
	for _, c := range []struct {
		name, old, new string
		same           bool
	}{
		{"nothing", "", "", true},
		{"bytes", "tx_bytes=0", "tx_bytes=99", true},
		{"a handshake", "time_sec=0", "time_sec=1790000000", true},
		{"peers in another order", device, `listen_port=51820
private_key=aa
public_key=02
allowed_ip=10.244.2.0/24
persistent_keepalive_interval=0
public_key=01
allowed_ip=10.244.1.0/24
endpoint=192.0.2.1:51820
persistent_keepalive_interval=0
errno=0

`, true},
		{"the key", "private_key=aa", "private_key=ab", false},
		{"the port", "51820\npublic", "51821\npublic", false},
		{"an endpoint", "192.0.2.1:", "192.0.2.2:", false},
		{"an allowed IP", "10.244.1.0/24", "10.244.1.0/25", false},
		{"allowed IPs that change places", "10.244.1.0/24\npublic_key=02\npersistent_keepalive_interval=0\nallowed_ip=10.244.2.0/24",
			"10.244.2.0/24\npublic_key=02\npersistent_keepalive_interval=0\nallowed_ip=10.244.1.0/24", false},
		{"a peer less", "public_key=02\npersistent_keepalive_interval=0\nallowed_ip=10.244.2.0/24\n", "", false},
		{"an empty peer more", "errno=0", "public_key=03\nerrno=0", false},
	} {
		t.Run(c.name, func(t *testing.T) {
			text := strings.Replace(device, c.old, c.new, 1)
			if same := of(text) == want; same != c.same {
				t.Errorf("same %t, want %t", same, c.same)
			}
		})
	}
}

func TestDigestRefuses(t *testing.T) {
	for name, text := range map[string]string{
		"an error": "errno=5\n\n", "nothing": "", "less than all": strings.TrimSuffix(device, "\n"),
		"a line without end": strings.Repeat("x", 1<<20),
	} {
		if got, err := digest(strings.NewReader(text)); err == nil {
			t.Errorf("%s: %d, want an error", name, got)
		}
	}
}

func BenchmarkDigest(b *testing.B) {
	peers, end, _ := strings.Cut(device, "errno")
	text := strings.Repeat(peers, 2500) + "errno" + end
	for b.Loop() {
		if _, err := digest(strings.NewReader(text)); err != nil {
			b.Fatal(err)
		}
	}
}
