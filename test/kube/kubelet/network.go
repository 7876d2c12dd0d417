// SPDX-License-Identifier: Apache-2.0

//go:build linux

package kubelet

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netns"

	"github.com/sluice-mesh/sluice/test/kube/child"
)

// The networks of pods are parts of 198.18.0.0/15, which RFC 2544 sets aside
// for tests. The API server refuses loopback addresses for pods.
const (
	networkBits = 22
	networks    = 1 << (networkBits - 15)
)

// bridgePrefix begins the names of bridges; the id of the process follows.
const bridgePrefix = "sluicebed"

// Network is a bridge on the host, behind which each pod has a namespace.
type Network struct {
	gateway netip.Prefix // the host's address, and how much belongs to the network
	bridge  *netlink.Bridge

	mu     sync.Mutex // guards what follows
	used   map[netip.Addr]bool
	next   netip.Addr
	hollow uint32 // how many addresses lead nowhere
}

// NewNetwork makes a bridge with a network that nothing on this host uses.
// Close removes it.
func NewNetwork() (*Network, error) {
	sweep()
	gateway, err := freeNetwork()
	if err != nil {
		return nil, err
	}
	bridge := &netlink.Bridge{LinkAttrs: netlink.LinkAttrs{
		Name: bridgePrefix + strconv.Itoa(os.Getpid()%1_000_000), HardwareAddr: hardwareAddress(gateway.Addr()),
	}}
	if err := netlink.LinkAdd(bridge); err != nil {
		return nil, fmt.Errorf("add a bridge: %w", err)
	}
	n := &Network{gateway: gateway, bridge: bridge, used: make(map[netip.Addr]bool), next: gateway.Addr().Next()}
	if err := errors.Join(netlink.AddrAdd(bridge, address(gateway)), netlink.LinkSetUp(bridge)); err != nil {
		return nil, errors.Join(err, n.Close())
	}
	return n, nil
}

// hardwareAddress returns the address of the host's end of the network, in the
// range for local use. A bridge without one of its own takes the lowest of its
// ports, and another one as pods come and go: pods that know the former one
// would reach nobody until they ask again.
func hardwareAddress(gateway netip.Addr) net.HardwareAddr {
	ip := gateway.As4()
	return net.HardwareAddr{0x02, 0x53, ip[0], ip[1], ip[2], ip[3]}
}

// Gateway returns the host's address in the network.
func (n *Network) Gateway() netip.Addr { return n.gateway.Addr() }

// Prefix returns the network's addresses.
func (n *Network) Prefix() netip.Prefix { return n.gateway.Masked() }

// Close removes the bridge.
func (n *Network) Close() error { return netlink.LinkDel(n.bridge) }

// sweep removes the bridges of processes that are gone.
func sweep() {
	links, err := netlink.LinkList()
	if err != nil {
		return // whoever makes a bridge next is told
	}
	for _, link := range links {
		number, ours := strings.CutPrefix(link.Attrs().Name, bridgePrefix)
		pid, err := strconv.Atoi(number)
		if ours && err == nil && errors.Is(syscall.Kill(pid, 0), syscall.ESRCH) {
			_ = netlink.LinkDel(link)
		}
	}
}

// freeNetwork returns the first address of a network that no address of this
// host is part of. Processes begin to look at different places, since two that
// look at once would find the same.
func freeNetwork() (netip.Prefix, error) {
	taken, err := netlink.AddrList(nil, netlink.FAMILY_V4)
	if err != nil {
		return netip.Prefix{}, err
	}
	for i := range networks {
		at := (os.Getpid() + i) % networks << (32 - networkBits)
		p := netip.PrefixFrom(netip.AddrFrom4([4]byte{198, byte(18 + at>>16), byte(at >> 8), 1}), networkBits)
		if !overlaps(p, taken) {
			return p, nil
		}
	}
	return netip.Prefix{}, errors.New("all networks of 198.18.0.0/15 are in use")
}

// overlaps reports whether p shares addresses with one of the networks of taken.
func overlaps(p netip.Prefix, taken []netlink.Addr) bool {
	for _, a := range taken {
		ip, ok := netip.AddrFromSlice(a.IP.To4())
		ones, _ := a.Mask.Size()
		if ok && p.Overlaps(netip.PrefixFrom(ip, ones)) {
			return true
		}
	}
	return false
}

// address shows p as an address of an interface.
func address(p netip.Prefix) *netlink.Addr {
	return &netlink.Addr{IPNet: &net.IPNet{IP: p.Addr().AsSlice(), Mask: net.CIDRMask(p.Bits(), 32)}}
}

// take returns an address for a pod. Those that were given back come again
// last, so that whoever still asks an old pod meets nobody rather than another.
func (n *Network) take() (netip.Addr, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	for range 1 << (32 - n.gateway.Bits()) {
		a := n.next
		n.next = a.Next()
		if !n.gateway.Contains(n.next.Next()) { // the last one is for broadcasts
			n.next = n.gateway.Addr().Next()
		}
		if !n.used[a] {
			n.used[a] = true
			return a, nil
		}
	}
	return netip.Addr{}, fmt.Errorf("no address is left in %v", n.Prefix())
}

// sandbox is the network of a pod. Nothing but the descriptor holds its
// namespace, so a crash leaves nothing.
type sandbox struct {
	network   *Network
	ip        netip.Addr
	namespace netns.NsHandle
}

// sandbox makes the network of one more pod.
func (n *Network) sandbox() (*sandbox, error) {
	ip, err := n.take()
	if err != nil {
		return nil, err
	}
	s := &sandbox{network: n, ip: ip, namespace: netns.None()}
	if s.namespace, err = newNamespace(); err == nil {
		err = s.plug()
	}
	if err != nil {
		s.release()
		return nil, fmt.Errorf("network of a pod: %w", err)
	}
	return s, nil
}

// hollowNetwork has the addresses of pods without processes. RFC 6598 sets it
// aside; a route to it goes to the host's gateway, if anywhere.
var hollowNetwork = netip.AddrFrom4([4]byte{100, 64, 0, 0})

// nowhere returns the network of a pod that has no process. Each has an address
// of its own, up to four million of them.
func (n *Network) nowhere() *sandbox {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.hollow++
	base := hollowNetwork.As4()
	at := binary.BigEndian.Uint32(base[:]) + n.hollow
	var ip [4]byte
	binary.BigEndian.PutUint32(ip[:], at)
	return &sandbox{network: n, ip: netip.AddrFrom4(ip), namespace: netns.None()}
}

// newNamespace makes a network namespace on a thread that ends with it.
func newNamespace() (netns.NsHandle, error) {
	type result struct {
		ns  netns.NsHandle
		err error
	}
	made := make(chan result)
	go func() {
		runtime.LockOSThread() // never unlocked, so the thread is not used again
		if err := syscall.Unshare(syscall.CLONE_NEWNET); err != nil {
			made <- result{netns.None(), err}
			return
		}
		ns, err := netns.Get()
		made <- result{ns, err}
	}()
	r := <-made
	return r.ns, r.err
}

// plugs counts the cables of this process, which have names of their own: one
// that was pulled is there for some time yet.
var plugs atomic.Uint32

// plug connects the namespace with the bridge.
func (s *sandbox) plug() error {
	n := s.network
	name := fmt.Sprintf("sb%d.%d", os.Getpid()%1_000_000, plugs.Add(1))
	veth := &netlink.Veth{
		LinkAttrs: netlink.LinkAttrs{Name: name, MasterIndex: n.bridge.Attrs().Index},
		PeerName:  "eth0", PeerNamespace: netlink.NsFd(s.namespace),
	}
	if err := errors.Join(netlink.LinkAdd(veth), netlink.LinkSetUp(veth)); err != nil {
		return err
	}
	inside, err := netlink.NewHandleAt(s.namespace)
	if err != nil {
		return err
	}
	defer inside.Close()
	lo, err := inside.LinkByName("lo")
	if err != nil {
		return err
	}
	eth0, err := inside.LinkByName("eth0")
	if err != nil {
		return err
	}
	return errors.Join(
		inside.AddrAdd(eth0, address(netip.PrefixFrom(s.ip, n.gateway.Bits()))),
		inside.LinkSetUp(lo), inside.LinkSetUp(eth0),
		inside.RouteAdd(&netlink.Route{Gw: n.gateway.Addr().AsSlice()}))
}

// release takes the network away. With the namespace goes the pod's end of the
// cable, and with that the host's.
func (s *sandbox) release() {
	if s.namespace.IsOpen() {
		_ = s.namespace.Close()
	}
	s.network.mu.Lock()
	defer s.network.mu.Unlock()
	delete(s.network.used, s.ip)
}

// start runs f, which starts a process, with the network of the pod.
func (s *sandbox) start(f func() error) error {
	return child.Do(func() error {
		home, err := netns.Get()
		if err != nil {
			return err
		}
		defer home.Close()
		if err := netns.Set(s.namespace); err != nil {
			return err
		}
		err = f()
		if err := netns.Set(home); err != nil {
			panic(err) // all that the thread starts later would be in this pod
		}
		return err
	})
}
