// SPDX-License-Identifier: Apache-2.0

package kube

import (
	"crypto/sha1"
	"encoding/hex"
	"maps"
	"net"
	"regexp"
	"strings"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"

	"github.com/sluice-mesh/sluice/routing"
)

// The labels of Services that stand for gateways: ours, by which they are
// known, and those that Vamp gave them.
const (
	labelManagedBy = "app.kubernetes.io/managed-by"
	labelNamespace = "sluice.dev/namespace"
	labelGateway   = "sluice.dev/gateway"

	labelVamp        = "io.vamp"
	labelVampGateway = "io.vamp.gateway"
	labelVampLookup  = "io.vamp.lookup_name"

	managedByUs = "sluice"
	vampGateway = "gateway"
)

// portName is the name of the one port of a Service. Vamp called it port; but
// the API server's proxy finds a port without a name alone when it is asked for
// none, as in /api/v1/namespaces/NAMESPACE/services/GATEWAY/proxy/PATH.
const portName = ""

var plainName = regexp.MustCompile(`^[a-z]([-a-z0-9]*[a-z0-9])?$`)

// ServiceName returns the name of the Service of a gateway: that of the
// gateway if a Service may be called so and it is shorter than 25 bytes, else
// one that is made of its hash, as Vamp made it.
func ServiceName(gateway string) string {
	if len(gateway) < 25 && plainName.MatchString(gateway) {
		return gateway
	}
	sum := sha1.Sum([]byte(gateway))
	return "hex" + hex.EncodeToString(sum[:])[:20] + "0000"
}

// namespaceLabel returns the value of the label that says whose a Service is:
// namespaces have no dots, so that it tells them apart. One that is too long
// for a label is told by its hash.
func namespaceLabel(namespace string) string {
	value := strings.Replace(namespace, "/", ".", 1)
	if len(value) <= maxLabel && isAlphanumeric(value[0]) && isAlphanumeric(value[len(value)-1]) {
		return value
	}
	sum := sha1.Sum([]byte(namespace))
	return hex.EncodeToString(sum[:])
}

// maxLabel is the length of the longest value of a label.
const maxLabel = 63

// labelValue returns a text as the value of a label, with _ in the place of
// what none may have; ok is false if it is none even so.
func labelValue(text string) (value string, ok bool) {
	if text == "" || len(text) > maxLabel || !isAlphanumeric(text[0]) || !isAlphanumeric(text[len(text)-1]) {
		return "", false
	}
	return strings.Map(func(r rune) rune {
		if r < 0x80 && (isAlphanumeric(byte(r)) || r == '-' || r == '_' || r == '.') {
			return r
		}
		return '_'
	}, text), true
}

func isAlphanumeric(c byte) bool {
	return 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9'
}

// want is the Service that a gateway is to have.
type want struct {
	key       objectKey
	namespace string // organisation/environment
	gateway   *routing.Gateway
}

// labels returns the labels that the Service has to bear; it may have others.
func (w want) labels() map[string]string {
	all := map[string]string{
		labelManagedBy: managedByUs, labelNamespace: namespaceLabel(w.namespace),
		labelVamp: vampGateway, labelVampLookup: routing.GatewayID(w.gateway.Name),
	}
	if value, ok := labelValue(w.gateway.Name); ok {
		all[labelGateway], all[labelVampGateway] = value, value
	}
	return all
}

// service returns the Service as it is made.
func (w want) service(s shape) *corev1.Service {
	made := &corev1.Service{ObjectMeta: metav1.ObjectMeta{Namespace: w.key.namespace, Name: w.key.name}}
	w.apply(made, s)
	return made
}

// apply has a Service be as it is to be, and leaves what is not ours to say:
// other labels, annotations, and the port of the nodes.
func (w want) apply(live *corev1.Service, s shape) {
	if live.Labels == nil {
		live.Labels = make(map[string]string)
	}
	maps.Copy(live.Labels, w.labels())
	port := corev1.ServicePort{
		Name: portName, Protocol: corev1.ProtocolTCP,
		Port: int32(w.gateway.Port.Number), TargetPort: intstr.FromInt32(int32(w.gateway.Port.Number)),
	}
	if len(live.Spec.Ports) > 0 && s.kind != corev1.ServiceTypeClusterIP {
		port.NodePort = live.Spec.Ports[0].NodePort
	}
	if s.kind == corev1.ServiceTypeClusterIP && live.Spec.Type != s.kind {
		live.Spec.ExternalTrafficPolicy, live.Spec.HealthCheckNodePort = "", 0
	}
	live.Spec.Type = s.kind
	live.Spec.Selector = maps.Clone(s.selector)
	live.Spec.Ports = []corev1.ServicePort{port}
	live.Spec.InternalTrafficPolicy = &s.traffic
}

// fits reports whether a Service is as it is to be.
func (w want) fits(live *corev1.Service, s shape) bool {
	for name, value := range w.labels() {
		if live.Labels[name] != value {
			return false
		}
	}
	if live.Spec.Type != s.kind || !maps.Equal(live.Spec.Selector, s.selector) || len(live.Spec.Ports) != 1 {
		return false
	}
	if p := live.Spec.InternalTrafficPolicy; p == nil || *p != s.traffic {
		return false
	}
	port := live.Spec.Ports[0]
	return port.Name == portName && port.Protocol == corev1.ProtocolTCP &&
		int(port.Port) == w.gateway.Port.Number && port.TargetPort == intstr.FromInt(w.gateway.Port.Number)
}

// isOurs reports whether a Service stands for a gateway of a namespace.
func isOurs(live *corev1.Service, namespace string) bool {
	return live.Labels[labelManagedBy] == managedByUs && live.Labels[labelNamespace] == namespaceLabel(namespace)
}

// trimService keeps of a Service what is looked at.
func trimService(live *corev1.Service) *corev1.Service {
	cut := &corev1.Service{ObjectMeta: metav1.ObjectMeta{
		Namespace: live.Namespace, Name: live.Name, UID: live.UID, ResourceVersion: live.ResourceVersion,
	}}
	if live.Labels[labelManagedBy] != managedByUs {
		return cut
	}
	cut.Labels = live.Labels
	cut.Spec = corev1.ServiceSpec{
		Type: live.Spec.Type, Selector: live.Spec.Selector, Ports: live.Spec.Ports, ClusterIP: live.Spec.ClusterIP,
		InternalTrafficPolicy: live.Spec.InternalTrafficPolicy,
	}
	cut.Status.LoadBalancer = live.Status.LoadBalancer
	return cut
}

// Address is where the Service of a gateway can be reached.
type Address struct {
	// Host and Port are what a client connects to: the address of a load
	// balancer where there is one, else that of the Service in the cluster.
	Host string
	Port int
	// NodePort is the port at each node; 0 if it has none.
	NodePort int
}

// addressOf returns where a Service can be reached; ok is false while that is
// not known.
func addressOf(live *corev1.Service) (a Address, ok bool) {
	if len(live.Spec.Ports) == 0 {
		return a, false
	}
	a.Port, a.NodePort = int(live.Spec.Ports[0].Port), int(live.Spec.Ports[0].NodePort)
	for _, in := range live.Status.LoadBalancer.Ingress {
		if in.IP != "" || in.Hostname != "" {
			a.Host = in.Hostname
			if in.IP != "" {
				a.Host = in.IP
			}
			return a, true
		}
	}
	a.Host = live.Spec.ClusterIP
	return a, net.ParseIP(a.Host) != nil
}
