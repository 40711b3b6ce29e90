package identity

import (
	"bytes"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"log/slog"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

// The bytes 1 to 32, and the same clamped: keys that nobody takes for secrets. Their public halves are what `wg pubkey` says.
const (
	plainPrivate = "AQIDBAUGBwgJCgsMDQ4PEBESExQVFhcYGRobHB0eHyA="
	plainPublic  = "B6N8vBQgk8i3VdwbEOhstCY3StFqqFPtC9/AsrhtHHw="
	wgPrivate    = "AAIDBAUGBwgJCgsMDQ4PEBESExQVFhcYGRobHB0eH2A="
	wgPublic     = "B6N8vBQgk8i3VdwbEOhstCY3StFqqFPtC9/AsrhtHHw="
)

func mustParse(t *testing.T, text string) PrivateKey {
	t.Helper()
	key, err := ParsePrivateKey([]byte(text))
	if err != nil {
		t.Fatal(err)
	}
	return key
}

func TestPublicIsWhatWgPubkeySays(t *testing.T) {
	for _, pair := range []struct{ name, private, public string }{
		{"clamped", wgPrivate, wgPublic},
		{"not clamped", plainPrivate, plainPublic},
	} {
		if got := mustParse(t, pair.private).Public().String(); got != pair.public {
			t.Errorf("%s: Public() = %s, want %s", pair.name, got, pair.public)
		}
	}
}

func TestNewPrivateKeyIsClampedAndFresh(t *testing.T) {
	seen := map[[KeySize]byte]bool{}
	for range 100 {
		secret := NewPrivateKey().Bytes()
		if secret[0]&7 != 0 || secret[31]&0xc0 != 0x40 {
			t.Fatal("key is not clamped")
		}
		if seen[secret] {
			t.Fatal("the same key twice")
		}
		seen[secret] = true
	}
}

func TestZeroKey(t *testing.T) {
	var key PrivateKey
	if !key.IsZero() || !key.Public().IsZero() || key.Bytes() != [KeySize]byte{} {
		t.Error("the zero value is some key")
	}
	if NewPrivateKey().IsZero() {
		t.Error("a new key is no key")
	}
}

func TestPrivateKeyNeverPrints(t *testing.T) {
	key := mustParse(t, wgPrivate)
	type exported struct{ Key PrivateKey }
	type unexported struct {
		key   PrivateKey
		inner struct{ key *PrivateKey }
	}
	hidden := unexported{key: key}
	hidden.inner.key = &key
	asJSON := func(v any) string {
		text, err := json.Marshal(v)
		if err != nil {
			t.Fatal(err)
		}
		return string(text)
	}
	logged := func(handler func(*bytes.Buffer) slog.Handler, v any) string {
		var out bytes.Buffer
		slog.New(handler(&out)).Info("starting", "key", v)
		return out.String()
	}
	jsonLog := func(out *bytes.Buffer) slog.Handler { return slog.NewJSONHandler(out, nil) }
	textLog := func(out *bytes.Buffer) slog.Handler { return slog.NewTextHandler(out, nil) }
	printed := map[string]string{
		"String": key.String(), "GoString": key.GoString(), "Println": fmt.Sprintln(key), "pointer": fmt.Sprint(&key),
		"error": fmt.Errorf("using %v: %w", key, fmt.Errorf("%+v", exported{key})).Error(),
		"json":  asJSON(key), "json of pointer": asJSON(&key), "json of struct": asJSON(exported{key}),
		"json of map": asJSON(map[string]any{"key": key}), "slog json": logged(jsonLog, key), "slog text": logged(textLog, key),
		"slog json struct": logged(jsonLog, exported{key}), "slog text struct": logged(textLog, exported{key}),
		"slog text hidden": logged(textLog, hidden),
	}
	for _, verb := range strings.Fields("%v %+v %#v %s %q %x %X %d %o %b %c %U %e %t %p") {
		printed[verb] = fmt.Sprintf(verb, key)
		printed[verb+" exported"] = fmt.Sprintf(verb, exported{key})
		printed[verb+" hidden"] = fmt.Sprintf(verb, hidden)
		printed[verb+" slice"] = fmt.Sprintf(verb, []PrivateKey{key})
	}
	secret := key.Bytes()
	for how, text := range printed {
		for form, leak := range map[string]string{
			"base64": wgPrivate[:8], "hex": hex.EncodeToString(secret[:4]), "HEX": strings.ToUpper(hex.EncodeToString(secret[:4])),
			"decimal":   strings.Trim(fmt.Sprint(secret[:3]), "[]"), //nolint:staticcheck // as numbers
			"Go syntax": strings.TrimSuffix(strings.TrimPrefix(fmt.Sprintf("%#v", secret[:3]), "[]byte{"), "}"),
			"raw":       string(secret[:4]),
		} {
			if strings.Contains(text, leak) {
				t.Errorf("%s shows the key in %s", how, form)
			}
		}
		// %p is fmt's own, and an address.
		if !strings.Contains(how, "hidden") && !strings.HasPrefix(how, "%p") && !strings.Contains(text, redacted) {
			t.Errorf("%s says %q, want %s in it", how, text, redacted)
		}
	}
}

func TestParsePrivateKey(t *testing.T) {
	raw := make([]byte, KeySize)
	raw[5] = 9
	good := base64.StdEncoding.EncodeToString(raw)
	for name, test := range map[string]struct {
		text string
		want string // part of the error; empty where there is none
	}{
		"bare":                     {good, ""},
		"with a newline":           {good + "\n", ""},
		"empty":                    {"", "has 0 characters"},
		"newline only":             {"\n", "has 0 characters"},
		"two newlines":             {good + "\n\n", "has 45 characters"},
		"carriage return":          {good + "\r\n", "has 45 characters"},
		"leading space":            {" " + good, "has 45 characters"},
		"truncated":                {good[:40], "has 40 characters"},
		"too long":                 {good + good, "has 88 characters"},
		"not base64":               {strings.Repeat("!", 44), "not base64"},
		"url alphabet":             {"-_" + good[2:], "not base64"},
		"newline inside":           {good[:20] + "\n" + good[21:], "not base64"},
		"shorter than it seems":    {base64.StdEncoding.EncodeToString(raw[:30]) + "\n\n\n\n\n", "has 30 bytes"},
		"bits after the last byte": {good[:42] + "B=", "not base64"},
		"no padding":               {good[:43] + "A", "33 bytes"},
		"all zero":                 {base64.StdEncoding.EncodeToString(make([]byte, KeySize)), "all zero"},
	} {
		t.Run(name, func(t *testing.T) {
			key, err := ParsePrivateKey([]byte(test.text))
			switch {
			case test.want == "" && err != nil:
				t.Fatal(err)
			case test.want != "" && (err == nil || !strings.Contains(err.Error(), test.want)):
				t.Fatalf("error %v, want one with %q", err, test.want)
			case test.want != "" && !key.IsZero():
				t.Fatal("a key beside an error")
			}
		})
	}
}

func FuzzParsePrivateKey(f *testing.F) {
	f.Add([]byte(wgPrivate + "\n"))
	f.Add([]byte(""))
	f.Fuzz(func(t *testing.T, text []byte) {
		key, err := ParsePrivateKey(text)
		if err != nil {
			if len(text) >= 8 && strings.Contains(err.Error(), string(text[:8])) {
				t.Fatal("the error holds the text")
			}
			return
		}
		secret := key.Bytes()
		if base64.StdEncoding.EncodeToString(secret[:]) != strings.TrimSuffix(string(text), "\n") {
			t.Fatal("the key is not its text")
		}
	})
}

func FuzzParsePublicKey(f *testing.F) {
	f.Add(wgPublic)
	f.Add(wgPublic[:20] + "\n" + wgPublic[20:])
	f.Add("")
	f.Fuzz(func(t *testing.T, text string) {
		key, err := ParsePublicKey(text)
		if err == nil && (key.String() != text || key.IsZero()) {
			t.Fatalf("%q was read as %s", text, key)
		}
	})
}

func TestKeysRoundTrip(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		raw := rapid.SliceOfN(rapid.Byte(), KeySize, KeySize).Draw(t, "raw")
		if bytes.Equal(raw, make([]byte, KeySize)) {
			t.Skip("the zero key is refused")
		}
		text := base64.StdEncoding.EncodeToString(raw)
		public, err := ParsePublicKey(text)
		if err != nil || !bytes.Equal(public[:], raw) {
			t.Fatalf("public key: %v", err)
		}
		private, err := ParsePrivateKey([]byte(text))
		if secret := private.Bytes(); err != nil || !bytes.Equal(secret[:], raw) {
			t.Fatalf("private key: %v", err)
		}
	})
}
