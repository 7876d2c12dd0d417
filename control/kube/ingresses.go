// SPDX-License-Identifier: Apache-2.0

package kube

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"net/netip"
	"reflect"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/validation"

	"github.com/sluice-mesh/sluice/discovery/kubernetes"
	"github.com/sluice-mesh/sluice/routing"
)

// IngressOptions say which addresses are written into the status of Ingresses.
// The zero IngressOptions write none.
type IngressOptions struct {
	// Addresses are IP addresses and host names.
	Addresses []string
	// Service, NAMESPACE/NAME, is one that leads to the proxies: its addresses
	// outside are written. Where there is one of that name in the home of an
	// environment, those of that are written into Ingresses of the environment.
	// Empty means that there is none.
	Service string
}

// Check returns what is wrong with o, naming the flag.
func (o IngressOptions) Check() error {
	for _, a := range o.Addresses {
		if _, err := netip.ParseAddr(a); err != nil && len(validation.IsDNS1123Subdomain(a)) > 0 {
			return fmt.Errorf("--ingress-status-address: %q is no IP address and no host name", a)
		}
	}
	namespace, name, ok := strings.Cut(o.Service, "/")
	if o.Service != "" && (!ok || len(validation.IsDNS1123Label(namespace)) > 0 || len(validation.IsDNS1035Label(name)) > 0) {
		return fmt.Errorf("--ingress-status-service: %q is not NAMESPACE/NAME of a Service", o.Service)
	}
	return nil
}

// off reports whether no addresses are written.
func (o IngressOptions) off() bool { return len(o.Addresses) == 0 && o.Service == "" }

// ingressAddresses are those that are written; nil while they are not known.
type ingressAddresses = []networkingv1.IngressLoadBalancerIngress

// PutIngress takes note of an Ingress that is served as it is now; gone says
// that it is no more, or not ours any more. It does not block.
func (w *Writer) PutIngress(o kubernetes.IngressObject, gone bool) {
	key := objectKey{o.Namespace, o.Name}
	w.mu.Lock()
	defer w.mu.Unlock()
	if gone {
		delete(w.ingresses, key)
		return
	}
	w.ingresses[key] = o
	w.enqueue(item{ingressItem, key})
}

// lookAtIngresses enqueues the Ingresses of a namespace. w is locked.
func (w *Writer) lookAtIngresses(namespace string) {
	for key := range w.ingresses {
		if w.spaceNameOf(key.namespace) == namespace {
			w.enqueue(item{ingressItem, key})
		}
	}
}

// lookAtIngress has an Ingress told what is wrong with it, and its status say
// where it is served.
func (w *Writer) lookAtIngress(ctx context.Context, key objectKey) error {
	w.mu.Lock()
	o, known := w.ingresses[key]
	faults := w.ingressFaults(o)
	want := w.addresses[w.homeOf(o.Namespace)]
	w.mu.Unlock()
	if !known {
		return nil
	}
	about := Object{APIVersion: networkingv1.SchemeGroupVersion.String(), Kind: "Ingress", Namespace: o.Namespace, Name: o.Name, UID: o.UID}
	for _, f := range faults {
		w.events.Tell(Event{About: about, Warning: true, Reason: f.Code, Action: "Serve", Note: noteOf(f)})
	}
	if want == nil || sameAddresses(o.Addresses, want) {
		return nil
	}
	return w.writeIngress(ctx, &o, want)
}

// ingressFaults returns what is wrong with an Ingress: all that its own reading
// found, and what is refused of its hosts. w is locked.
func (w *Writer) ingressFaults(o kubernetes.IngressObject) []*routing.Fault {
	s := w.spaces[w.spaceNameOf(o.Namespace)]
	if s == nil {
		return nil
	}
	var faults []*routing.Fault
	for _, key := range o.Keys {
		for _, f := range s.ingressFaults[key] {
			if key == o.Key() || f.Severity == routing.Refused {
				faults = append(faults, f)
			}
		}
	}
	return faults
}

// noteOf says what is wrong, without the source, which is the object itself.
func noteOf(f *routing.Fault) string {
	note := f.Problem
	if f.Path != "" {
		note = f.Path + ": " + note
	}
	if f.Allowed != "" {
		note += "; " + f.Allowed
	}
	return note
}

// writeIngress writes the addresses of an Ingress.
func (w *Writer) writeIngress(ctx context.Context, o *kubernetes.IngressObject, want ingressAddresses) error {
	patch, err := json.Marshal(map[string]any{
		"metadata": map[string]any{"uid": o.UID},
		"status":   map[string]any{"loadBalancer": map[string]any{"ingress": want}},
	})
	if err != nil {
		return err
	}
	_, err = w.client.NetworkingV1().Ingresses(o.Namespace).
		Patch(ctx, o.Name, types.MergePatchType, patch, metav1.PatchOptions{FieldManager: manager}, "status")
	w.count("status", err)
	switch {
	case err == nil, apierrors.IsNotFound(err), apierrors.IsConflict(err): // gone, or another one by now
		return nil
	}
	w.complain(explainWrite(err, "write the status of "+o.Key(), "ingresses/status of networking.k8s.io", "patch"))
	return err
}

func sameAddresses(a, b ingressAddresses) bool {
	return len(a) == len(b) && (len(a) == 0 || reflect.DeepEqual(a, b))
}

// homeOf returns the namespace of Kubernetes whose proxies serve what stands in
// another one. w is locked.
func (w *Writer) homeOf(place string) string {
	if home, ok := w.places[w.spaceNameOf(place)]; ok {
		return home
	}
	return w.o.Home
}

// findAddresses finds the addresses that are to be written, and has them
// written where they are others.
func (w *Writer) findAddresses(ctx context.Context) {
	if w.o.Ingress.off() {
		return
	}
	w.mu.Lock()
	homes := slices.Collect(maps.Values(w.places))
	found := maps.Clone(w.addresses) // of homes that cannot be seen what is known stays
	w.mu.Unlock()
	first, _, err := w.lookUpAddresses(ctx, w.o.Ingress.Service)
	if err != nil {
		w.cannotFind(ctx, err)
		return
	}
	place, name, named := strings.Cut(w.o.Ingress.Service, "/")
	for _, home := range homes {
		if !named || home == w.o.Home || home == place {
			found[home] = first
			continue
		}
		own, there, err := w.lookUpAddresses(ctx, home+"/"+name)
		switch {
		case err != nil:
			w.cannotFind(ctx, err)
		case there:
			found[home] = own
		default:
			found[home] = first
		}
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	maps.DeleteFunc(found, func(home string, _ ingressAddresses) bool { return !slices.Contains(homes, home) })
	w.addresses = found
	for key, o := range w.ingresses {
		if want := found[w.homeOf(o.Namespace)]; want != nil && !sameAddresses(o.Addresses, want) {
			w.enqueue(item{ingressItem, key})
		}
	}
}

// cannotFind complains that addresses cannot be seen.
func (w *Writer) cannotFind(ctx context.Context, err error) {
	if ctx.Err() == nil {
		w.complain(explainWrite(err, "the addresses of Ingresses", "services", "list"))
	}
}

// lookUpAddresses returns the addresses that are to be written where a Service,
// NAMESPACE/NAME or empty, leads to the proxies: they may be none but are never
// nil. It also reports whether there is that Service.
func (w *Writer) lookUpAddresses(ctx context.Context, service string) (found ingressAddresses, there bool, err error) {
	found = ingressAddresses{}
	for _, a := range w.o.Ingress.Addresses {
		found = append(found, addressFrom(a))
	}
	if service == "" {
		return found, false, nil
	}
	ctx, cancel := context.WithTimeout(ctx, w.writeTimeout())
	defer cancel()
	namespace, name, _ := strings.Cut(service, "/")
	// To list is a right that is needed in any case, and to get is not.
	list, err := w.client.CoreV1().Services(namespace).List(ctx, metav1.ListOptions{FieldSelector: "metadata.name=" + name})
	if err != nil {
		return nil, false, err
	}
	for i := range list.Items {
		if s := &list.Items[i]; s.Name == name {
			there, found = true, append(found, outside(s)...)
		}
	}
	return found, there, nil
}

// addressFrom makes an address of a text.
func addressFrom(text string) networkingv1.IngressLoadBalancerIngress {
	if _, err := netip.ParseAddr(text); err == nil {
		return networkingv1.IngressLoadBalancerIngress{IP: text}
	}
	return networkingv1.IngressLoadBalancerIngress{Hostname: text}
}

// outside returns the addresses of a Service for those outside the cluster.
func outside(s *corev1.Service) ingressAddresses {
	var all ingressAddresses
	for _, a := range s.Status.LoadBalancer.Ingress {
		all = append(all, addressFrom(cmp.Or(a.IP, a.Hostname)))
	}
	for _, a := range s.Spec.ExternalIPs {
		if one := addressFrom(a); !slices.ContainsFunc(all, func(b networkingv1.IngressLoadBalancerIngress) bool { return b.IP == one.IP }) {
			all = append(all, one)
		}
	}
	return all
}
