// SPDX-License-Identifier: Apache-2.0

package wire_test

import (
	"bytes"
	"errors"
	"slices"
	"strconv"
	"testing"

	"google.golang.org/protobuf/proto"

	"github.com/sluice-mesh/sluice/control/controlpb"
	"github.com/sluice-mesh/sluice/control/wire"
	"github.com/sluice-mesh/sluice/routing"
)

// secrets are Secrets of the namespace shop, with contents after their names.
func secrets(names ...string) []*routing.Secret {
	var all []*routing.Secret
	for _, name := range names {
		all = append(all, &routing.Secret{
			Namespace: "shop", Name: name[:1],
			Certificate: []byte("certificate " + name), Key: []byte("key " + name), CA: []byte("ca " + name),
		})
	}
	return all
}

func same(a, b []*routing.Secret) bool { return slices.EqualFunc(a, b, routing.SameSecret) }

func TestSecretsTravel(t *testing.T) {
	for _, size := range []int{1, 100, 1 << 20} {
		t.Run(strconv.Itoa(size), func(t *testing.T) {
			var r wire.SecretReceiver
			var before *wire.Secrets
			for step, names := range [][]string{{}, {"b1", "a1"}, {"b1", "a1"}, {"a2", "b1", "c1"}, {"c1"}, {}} {
				want := secrets(names...)
				next := wire.EncodeSecrets(append(want, want...))
				if next.Len() != len(names) || step > 0 && next.Equal(before) != (step == 2) {
					t.Errorf("step %d: %d Secrets, equal to those before: %v", step, next.Len(), next.Equal(before))
				}
				var got []*routing.Secret
				parts := next.Since(before, size)
				for i, part := range parts {
					data, err := proto.Marshal(part)
					if err != nil {
						t.Fatal(err)
					}
					if step == 2 && bytes.Contains(data, []byte("key")) {
						t.Error("what the session has brought is sent again")
					}
					arrived := &controlpb.Secrets{}
					if err := proto.Unmarshal(data, arrived); err != nil {
						t.Fatal(err)
					}
					all, whole, err := r.Receive(arrived)
					if err != nil || whole != (i == len(parts)-1) {
						t.Fatalf("step %d: Receive() = %v, %v of part %d", step, whole, err, i)
					}
					got = all
				}
				slices.SortFunc(want, routing.CompareSecrets)
				if !same(got, want) {
					t.Errorf("step %d: received %v, want %v", step, got, want)
				}
				before = next
			}
		})
	}
}

func TestSecretsThatDidNotChangeAreTheSame(t *testing.T) {
	var r wire.SecretReceiver
	one := wire.EncodeSecrets(secrets("a1", "b1"))
	first, _, _ := r.Receive(one.Since(nil, 1<<20)[0])
	again, _, _ := r.Receive(wire.EncodeSecrets(secrets("a1", "b2")).Since(nil, 1<<20)[0])
	if first[0] != again[0] || first[1] == again[1] {
		t.Error("the one that changed is the same, or the other is not")
	}
}

func TestSecretsThatCannotBe(t *testing.T) {
	hash := make([]byte, 16)
	for _, tt := range []struct {
		name string
		list []*controlpb.Secret
		want error
	}{
		{"held is what never came", []*controlpb.Secret{{Namespace: "shop", Name: "a", Hash: hash, Held: true}}, wire.ErrIncomplete},
		{"one comes twice", []*controlpb.Secret{{Namespace: "shop", Name: "a", Hash: hash}, {Namespace: "shop", Name: "a", Hash: hash}}, wire.ErrMalformed},
		{"a hash is short", []*controlpb.Secret{{Namespace: "shop", Name: "a", Hash: hash[:3]}}, wire.ErrMalformed},
		{"a name leads elsewhere", []*controlpb.Secret{{Namespace: "..", Name: "..", Hash: hash}}, wire.ErrMalformed},
		{"there are too many", make([]*controlpb.Secret, 100_001), wire.ErrTooLarge},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var r wire.SecretReceiver
			if _, whole, err := r.Receive(wire.EncodeSecrets(secrets("x1")).Since(nil, 1<<20)[0]); err != nil || !whole {
				t.Fatal(err)
			}
			if _, _, err := r.Receive(&controlpb.Secrets{Secrets: tt.list}); !errors.Is(err, tt.want) {
				t.Errorf("Receive() = %v, want %v", err, tt.want)
			}
			all, whole, err := r.Receive(&controlpb.Secrets{Secrets: []*controlpb.Secret{{Namespace: "shop", Name: "x", Hash: wire.EncodeSecrets(secrets("x1")).Since(nil, 1)[0].GetSecrets()[0].GetHash(), Held: true}}})
			if err != nil || !whole || !same(all, secrets("x1")) {
				t.Errorf("afterwards Receive() = %v, %v, want what was there before", all, err)
			}
		})
	}
}

// FuzzSecretReceiver checks that whatever comes is refused or safe to use as
// the name of a file.
func FuzzSecretReceiver(f *testing.F) {
	for _, names := range [][]string{{}, {"a1"}, {"a1", "b1"}} {
		data, err := proto.Marshal(wire.EncodeSecrets(secrets(names...)).Since(nil, 1<<20)[0])
		if err != nil {
			f.Fatal(err)
		}
		f.Add(data)
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		m := &controlpb.Secrets{}
		if proto.Unmarshal(data, m) != nil {
			return
		}
		var r wire.SecretReceiver
		all, whole, err := r.Receive(m)
		if err != nil || !whole {
			return
		}
		for i, s := range all {
			if _, _, ok := routing.SecretOf(s.Ref()); !ok || i > 0 && routing.CompareSecrets(all[i-1], s) >= 0 {
				t.Errorf("Receive() = %v", all)
			}
		}
	})
}
