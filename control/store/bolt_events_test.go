// SPDX-License-Identifier: Apache-2.0

package store_test

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strconv"
	"testing"

	"github.com/sluice-mesh/sluice/control/store"
)

// Queries find what Matches says they ask for, however tags are written.
func TestEventsAreThoseThatMatch(t *testing.T) {
	s := open(t, t.TempDir(), store.Options{})
	words := []string{"a", "a:b", "b", "ab", "shop", "gateways:shop", `quo"ted`, `back\slash`, "<less>", "a&b", "é", "data", "type", "default/default", "\u2028", "\x7f~"[1:], "null"}
	namespaces := []string{store.DefaultNamespace, "acme/test"}
	r := rand.New(rand.NewPCG(1, 2))
	some := func(most int) (list []string) {
		for range r.IntN(most + 1) {
			list = append(list, words[r.IntN(len(words))])
		}
		return list
	}
	var events []store.Event
	for range 500 {
		events = append(events, store.Event{
			Namespace: namespaces[r.IntN(2)], Type: words[r.IntN(len(words))], Tags: some(4), Data: `["` + words[r.IntN(5)] + `"]`,
		})
	}
	events, err := s.AppendEvents(t.Context(), events...)
	if err != nil {
		t.Fatal(err)
	}
	found := 0
	for range 500 {
		q := store.EventQuery{Tags: some(2), Types: some(2), Limit: 1000}
		if r.IntN(2) == 0 {
			q.Namespace = namespaces[r.IntN(2)]
		}
		var want []uint64
		for _, e := range slices.Backward(events) {
			if q.Matches(&e) {
				want = append(want, e.ID)
			}
		}
		list, err := s.Events(t.Context(), q)
		if err != nil {
			t.Fatal(err)
		}
		var got []uint64
		for _, e := range list {
			got = append(got, e.ID)
		}
		if !slices.Equal(got, want) {
			t.Fatalf("Events by %+v = %v, want %v", q, got, want)
		}
		found += len(got)
		if len(want) == 0 {
			continue // a watch would wait for the first
		}
		slices.Reverse(want)
		var watched []uint64
		for e, err := range s.WatchEvents(t.Context(), 0, q) {
			if err != nil {
				t.Fatal(err)
			}
			if watched = append(watched, e.ID); len(watched) == len(want) {
				break
			}
		}
		if !slices.Equal(watched, want) {
			t.Fatalf("WatchEvents by %+v tells %v, want %v", q, watched, want)
		}
	}
	if found < 1000 {
		t.Errorf("all queries found %d events: they ask for too little", found)
	}
}

// BenchmarkEvents queries 100,000 events: for those that all have, that one in
// a hundred has, and that none has.
func BenchmarkEvents(b *testing.B) {
	s, err := store.Open(b.TempDir(), store.Options{KeepEvents: 200_000})
	if err != nil {
		b.Fatal(err)
	}
	defer s.Close()
	for first := 0; first < 100_000; first += 10_000 {
		var list []store.Event
		for i := range 10_000 {
			gateway := "gateways:shop-" + strconv.Itoa((first+i)%100)
			list = append(list, store.Event{
				Namespace: store.DefaultNamespace, Type: "event",
				Tags: []string{"gateways", gateway, "route", "route:weightupdated", "routes", fmt.Sprintf("routes:%s/%d", gateway, i%3)},
				Data: `{"name":"shop","port":"8080/http","routes":[{"name":"shop/a","weight":"50%"},{"name":"shop/b","weight":"50%"}]}`,
			})
		}
		if _, err := s.AppendEvents(b.Context(), list...); err != nil {
			b.Fatal(err)
		}
	}
	for _, tt := range []struct {
		name string
		q    store.EventQuery
		want int
	}{
		{"newest 30", store.EventQuery{Limit: 30}, 30},
		{"30 of one in a hundred", store.EventQuery{Tags: []string{"gateways:shop-7"}, Limit: 30}, 30},
		{"all of one in a hundred", store.EventQuery{Tags: []string{"gateways:shop-7"}, Limit: store.MaxEvents}, 1000},
		{"none", store.EventQuery{Tags: []string{"gateways:none"}}, 0},
	} {
		b.Run(tt.name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if list, err := s.Events(b.Context(), tt.q); err != nil || len(list) != tt.want {
					b.Fatalf("%d events, %v", len(list), err)
				}
			}
		})
	}
}
