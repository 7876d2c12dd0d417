// SPDX-License-Identifier: Apache-2.0

package planner_test

import (
	"context"
	"errors"
	"reflect"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sluice-mesh/sluice/control/planner"
	"github.com/sluice-mesh/sluice/control/store"
	"github.com/sluice-mesh/sluice/discovery"
)

// forgetful is a memory that cannot keep anything while it is full.
type forgetful struct {
	planner.Memory

	full  bool
	saved []planner.Keepsake
}

func (f *forgetful) Load(context.Context) (map[string]planner.Remembered, error) { return nil, nil }

func (f *forgetful) Save(_ context.Context, _ string, k []planner.Keepsake) error {
	if f.full {
		return store.ErrFull
	}
	f.saved = append(f.saved, k...)
	return nil
}

func (f *forgetful) SaveOrigins(context.Context, string, []string) error { return nil }

func TestTrafficGoesOnWhileNothingCanBeKept(t *testing.T) {
	m := &forgetful{full: true}
	p := planner.New(planner.Options{Memory: m})
	p.Put([]discovery.Update{says("shop", "name: shop\n")})
	next, err := p.Plan(t.Context(), "")
	if !errors.Is(err, store.ErrFull) || len(next.Table.Gateways) != 1 {
		t.Errorf("Plan() = %d gateways and %v, want one, and that it could not be kept", len(next.Table.Gateways), err)
	}
	if got := p.Status("").Unsaved; got != store.ErrFull.Error() {
		t.Errorf("the status tells %q", got)
	}
	m.full = false
	if again, err := p.Plan(t.Context(), ""); err != nil || again.Table != next.Table {
		t.Errorf("once there is room: %v, and the same table: %t", err, again.Table == next.Table)
	}
	if len(m.saved) != 1 || m.saved[0].Port == 0 || m.saved[0].Port != next.Table.Gateways[0].Port.Number || p.Status("").Unsaved != "" {
		t.Errorf("kept %+v, want the port of shop", m.saved)
	}
}

func TestNothingIsKeptOfANamespaceThatIsGone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		v := &values{data: map[string][]byte{}}
		p := planner.New(planner.Options{Memory: planner.StoreMemory(v)})
		ctx, cancel := context.WithCancel(t.Context())
		src, ended := newScript(), make(chan error, 1)
		go func() { ended <- p.Run(ctx, src, func(planner.Plan) {}) }()
		shop := says("shop", "name: shop\n")
		shop.Namespace = "a/b"
		src.batches <- discovery.Batch{Updates: []discovery.Update{shop}, Listed: true}
		time.Sleep(time.Second)
		if all, _ := v.Values(ctx, ""); len(all) != 2 {
			t.Errorf("%d values are kept, want the port of shop and the origin", len(all))
		}
		src.batches <- discovery.Batch{Updates: []discovery.Update{gone("shop")}}
		time.Sleep(2 * time.Hour)
		src.batches <- discovery.Batch{Updates: []discovery.Update{says("other", gateway("other", 9001))}}
		time.Sleep(time.Second)
		all, _ := v.Values(ctx, "")
		for _, one := range all {
			if strings.Contains(string(one.Data), "a/b") {
				t.Errorf("value %s is kept: %s", one.Name, one.Data)
			}
		}
		cancel()
		if err := <-ended; err != nil {
			t.Errorf("Run ended with %v", err)
		}
	})
}

// FuzzStoredMemory is about values that somebody else wrote, or that the disk
// changed: they are read or left alone, and what is read is kept as it is.
func FuzzStoredMemory(f *testing.F) {
	f.Add([]byte(`{"namespace":"a/b","gateway":"shop","port":40001,"known":[{"name":"(1)","weight":10000}]}`))
	f.Add([]byte(`{"namespace":"a/b","gateway":"shop","refused":true,"last":"CgRzaG9w"}`))
	f.Add([]byte(`{"parts":["planner/parts/x/0"],"sha256":"00"}`))
	f.Add([]byte(`[`))
	f.Fuzz(func(t *testing.T, data []byte) {
		if len(data) > store.MaxValue {
			return
		}
		v := &values{data: map[string][]byte{}}
		m := planner.StoreMemory(v)
		probe := planner.Keepsake{Gateway: "shop", Port: 1}
		if err := m.Save(t.Context(), "a/b", []planner.Keepsake{probe}); err != nil {
			t.Fatal(err)
		}
		for name := range v.data {
			v.data[name] = data
		}
		first, err := planner.StoreMemory(v).Load(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		for namespace, r := range first {
			if err := m.Save(t.Context(), namespace, r.Keepsakes); err != nil {
				t.Fatal(err)
			}
		}
		second, err := planner.StoreMemory(v).Load(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		for namespace, r := range first {
			var left []planner.Keepsake
			for _, k := range r.Keepsakes {
				if !k.Empty() {
					left = append(left, k)
				}
			}
			if got := second[namespace].Keepsakes; len(got) != len(left) || len(left) > 0 && !reflect.DeepEqual(got, left) {
				t.Errorf("read %+v, kept and read again %+v", left, got)
			}
		}
	})
}

// values is a store of values alone.
type values struct {
	store.Store

	mu   sync.Mutex // guards data
	data map[string][]byte
}

func (v *values) Value(_ context.Context, name string) (store.Value, error) {
	v.mu.Lock()
	defer v.mu.Unlock()
	data, ok := v.data[name]
	if !ok {
		return store.Value{}, store.ErrNotFound
	}
	return store.Value{Name: name, Data: data}, nil
}

func (v *values) Values(_ context.Context, prefix string) ([]store.Value, error) {
	v.mu.Lock()
	defer v.mu.Unlock()
	var all []store.Value
	for name, data := range v.data {
		if len(name) >= len(prefix) && name[:len(prefix)] == prefix {
			all = append(all, store.Value{Name: name, Data: data})
		}
	}
	return all, nil
}

func (v *values) SetValue(_ context.Context, name string, data []byte, _ store.Expect) (store.Value, error) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.data[name] = data
	return store.Value{Name: name, Data: data}, nil
}

func (v *values) DeleteValue(_ context.Context, name string, _ store.Expect) error {
	v.mu.Lock()
	defer v.mu.Unlock()
	if _, ok := v.data[name]; !ok {
		return store.ErrNotFound
	}
	delete(v.data, name)
	return nil
}
