// SPDX-License-Identifier: Apache-2.0

//go:build linux

package kubelet

import (
	"bytes"
	"net"
	"testing"
)

// Pods learn the hardware address of the host once; if it were another one
// later, what they send would reach nobody for seconds.
func TestTheHostKeepsItsHardwareAddressWhilePodsComeAndGo(t *testing.T) {
	t.Parallel()
	n, err := NewNetwork()
	if err != nil {
		t.Fatal(err)
	}
	defer n.Close()
	address := func() net.HardwareAddr {
		t.Helper()
		link, err := net.InterfaceByName(n.bridge.Attrs().Name)
		if err != nil {
			t.Fatal(err)
		}
		return link.HardwareAddr
	}
	first := address()
	for range 8 { // of so many, one has an address below that of the host
		box, err := n.sandbox()
		if err != nil {
			t.Fatal(err)
		}
		defer box.release()
		if now := address(); !bytes.Equal(now, first) {
			t.Fatalf("the hardware address of the host is %v with one more pod, and was %v", now, first)
		}
	}
}
