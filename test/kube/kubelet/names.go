// SPDX-License-Identifier: Apache-2.0

//go:build linux

package kubelet

import (
	"context"
	"net"
	"net/netip"
	"strings"

	"golang.org/x/net/dns/dnsmessage"
	discoveryv1 "k8s.io/api/discovery/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/client-go/informers"
	discoverylisters "k8s.io/client-go/listers/discovery/v1"
)

// clusterDomain is below which Services have names.
const clusterDomain = "cluster.local"

// ttl is for how many seconds an answer may be kept.
const ttl = 1

// names answers what the names of Services are, over UDP. Since nobody leads
// the addresses of Services anywhere, each name has those of the ready pods,
// as that of a headless Service does everywhere. The port of a Service must
// therefore be that of its pods.
type names struct {
	conn   *net.UDPConn
	slices discoverylisters.EndpointSliceLister
}

// listenNames takes questions on port 53 of an address until ctx ends.
func listenNames(ctx context.Context, at netip.Addr, factory informers.SharedInformerFactory) (*names, error) {
	conn, err := net.ListenUDP("udp", net.UDPAddrFromAddrPort(netip.AddrPortFrom(at, 53)))
	if err != nil {
		return nil, err
	}
	context.AfterFunc(ctx, func() { _ = conn.Close() })
	return &names{conn, factory.Discovery().V1().EndpointSlices().Lister()}, nil
}

// answer answers until ctx ends.
func (n *names) answer(ctx context.Context) {
	question := make([]byte, 512)
	for ctx.Err() == nil {
		size, from, err := n.conn.ReadFromUDPAddrPort(question)
		if err != nil {
			continue
		}
		if reply, err := n.reply(question[:size]); err == nil {
			_, _ = n.conn.WriteToUDPAddrPort(reply, from)
		}
	}
}

// reply returns the answer to a question.
func (n *names) reply(question []byte) ([]byte, error) {
	var p dnsmessage.Parser
	head, err := p.Start(question)
	if err != nil {
		return nil, err
	}
	q, err := p.Question()
	if err != nil {
		return nil, err
	}
	addresses, known := n.find(q.Name.String())
	head.Response, head.Authoritative, head.RecursionAvailable = true, true, true
	if !known {
		head.RCode = dnsmessage.RCodeNameError
	}
	b := dnsmessage.NewBuilder(nil, head)
	b.EnableCompression()
	if err := b.StartQuestions(); err != nil {
		return nil, err
	}
	if err := b.Question(q); err != nil {
		return nil, err
	}
	if err := b.StartAnswers(); err != nil {
		return nil, err
	}
	for _, a := range addresses {
		if q.Type != dnsmessage.TypeA {
			break
		}
		of := dnsmessage.ResourceHeader{Name: q.Name, Class: q.Class, TTL: ttl}
		if err := b.AResource(of, dnsmessage.AResource{A: a.As4()}); err != nil {
			return nil, err
		}
	}
	return b.Finish()
}

// find returns the addresses of a name, at most as many as an answer holds.
// Names of Services that have no pods are as unknown as others.
func (n *names) find(name string) (found []netip.Addr, known bool) {
	service, ok := strings.CutSuffix(strings.ToLower(strings.TrimSuffix(name, ".")), ".svc."+clusterDomain)
	service, namespace, two := strings.Cut(service, ".")
	if !ok || !two {
		return nil, false
	}
	of := labels.SelectorFromSet(labels.Set{discoveryv1.LabelServiceName: service})
	slices, err := n.slices.EndpointSlices(namespace).List(of)
	if err != nil {
		return nil, false
	}
	const most = 20
	for _, slice := range slices {
		for _, e := range slice.Endpoints {
			ip, err := netip.ParseAddr(e.Addresses[0])
			if err == nil && ip.Is4() && len(found) < most && e.Conditions.Ready != nil && *e.Conditions.Ready {
				found = append(found, ip)
			}
		}
	}
	return found, len(found) > 0
}
