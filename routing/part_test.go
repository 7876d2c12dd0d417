// SPDX-License-Identifier: Apache-2.0

package routing_test

import (
	"reflect"
	"testing"
	"time"
	"unsafe"

	"github.com/sluice-mesh/sluice/routing"
)

func TestPart(t *testing.T) {
	one := routing.Timeouts{Idle: time.Second}
	two := routing.Timeouts{Idle: 2 * time.Second}
	for _, tt := range []struct {
		name string
		a, b routing.Timeouts
		same bool
	}{
		{"equal values are equal parts", one, one, true},
		{"other values are other parts", one, two, false},
		{"zero values are equal parts", routing.Timeouts{}, routing.Timeouts{}, true},
		{"the zero value is no written one", routing.Timeouts{}, one, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			a, b := routing.PartOf(tt.a), routing.PartOf(tt.b)
			if (a == b) != tt.same || reflect.DeepEqual(a, b) != tt.same {
				t.Errorf("parts of %v and %v: == is %v, DeepEqual %v, want %v", tt.a, tt.b, a == b, reflect.DeepEqual(a, b), tt.same)
			}
			if a.Value() != tt.a {
				t.Errorf("Value() = %v, want %v", a.Value(), tt.a)
			}
			if written := tt.a != (routing.Timeouts{}); a.Written() != written || (a == routing.Part[routing.Timeouts]{}) == written {
				t.Errorf("the part of %v: Written() = %v, want %v, and the zero Part if it is not", tt.a, a.Written(), written)
			}
		})
	}
}

// A proxy with ten thousand gateways has as many of them, and more routes.
func TestGatewaysAndRoutesAreSmall(t *testing.T) {
	if unsafe.Sizeof(uintptr(0)) != 8 {
		t.Skip("sizes are those of 64 bits")
	}
	if n := unsafe.Sizeof(routing.Gateway{}); n > 512 {
		t.Errorf("a Gateway has %d bytes, want at most 512", n)
	}
	if n := unsafe.Sizeof(routing.Route{}); n > 416 {
		t.Errorf("a Route has %d bytes, want at most 416", n)
	}
	if n := unsafe.Sizeof(routing.CompiledRoute{}); n > 192 {
		t.Errorf("a CompiledRoute has %d bytes, want at most 192", n)
	}
	if n := unsafe.Sizeof(routing.Split{}); n > 48 {
		t.Errorf("a Split from which nobody draws has %d bytes, want at most 48", n)
	}
}
