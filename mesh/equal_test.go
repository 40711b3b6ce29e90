package mesh_test

import (
	"net/netip"
	"reflect"
	"testing"
	"time"

	"github.com/warren-mesh/warren/mesh"
)

// TestEqualSeesEveryField changes one field after the other: a field that Equal forgets is a change that never reaches the kernel.
func TestEqualSeesEveryField(t *testing.T) {
	testEqual(t, mesh.Node.Equal)
	testEqual(t, mesh.Claim.Equal)
	testEqual(t, func(a, b mesh.Peer) bool { return a.Equal(&b) })
	testEqual(t, mesh.Guard.Equal)
}

func testEqual[T any](t *testing.T, equal func(a, b T) bool) {
	var zero T
	if !equal(zero, zero) {
		t.Errorf("%T is not equal to itself", zero)
	}
	for i := range reflect.TypeFor[T]().NumField() {
		var changed T
		change(t, reflect.ValueOf(&changed).Elem().Field(i))
		if equal(zero, changed) || equal(changed, zero) {
			t.Errorf("%T.Equal does not see %s", zero, reflect.TypeFor[T]().Field(i).Name)
		}
		if !equal(changed, changed) {
			t.Errorf("%T with another %s is not equal to itself", zero, reflect.TypeFor[T]().Field(i).Name)
		}
	}
}

// change sets a value to something that is not its zero.
func change(t *testing.T, v reflect.Value) {
	t.Helper()
	for _, sample := range []any{
		epoch, time.Second, keyOf("n1"), mesh.Claim{Version: "v0.1.0"},
		netip.MustParseAddr("192.0.2.1"), netip.MustParsePrefix("10.244.1.0/24"), netip.MustParseAddrPort("192.0.2.1:51820"),
	} {
		if reflect.TypeOf(sample) == v.Type() {
			v.Set(reflect.ValueOf(sample))
			return
		}
	}
	switch v.Kind() {
	case reflect.String:
		v.SetString("changed")
	case reflect.Bool:
		v.SetBool(true)
	case reflect.Uint32:
		v.SetUint(1)
	case reflect.Slice:
		v.Set(reflect.MakeSlice(v.Type(), 1, 1))
	default:
		t.Fatalf("no other value of type %s", v.Type())
	}
}
