// SPDX-License-Identifier: Apache-2.0

package kubernetes

import (
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"net"
	"slices"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"

	"github.com/sluice-mesh/sluice/routing"
)

// maxCertificates is how many certificates a gateway may have.
const maxCertificates = 100

// tlsSecret is what counts of a Secret with a certificate.
type tlsSecret struct {
	*routing.Secret // nil if it cannot be used

	problem  string // why; empty if it can be
	filed    bool   // it cannot, but proxies may have files of it that serve on
	names    []string
	ips      []net.IP
	notAfter time.Time
}

// readSecret cuts a Secret to what counts.
func readSecret(s *corev1.Secret) *tlsSecret {
	certificate, key := s.Data[corev1.TLSCertKey], s.Data[corev1.TLSPrivateKeyKey]
	cut := &tlsSecret{}
	switch {
	case len(certificate) == 0:
		cut.problem = "has no " + corev1.TLSCertKey
	case len(key) == 0:
		cut.problem = "has no " + corev1.TLSPrivateKeyKey
	default:
		pair, err := tls.X509KeyPair(certificate, key)
		switch {
		case err == nil:
			leaf := pair.Leaf
			cut.names, cut.ips, cut.notAfter = leaf.DNSNames, leaf.IPAddresses, leaf.NotAfter
		case strings.Contains(err.Error(), "does not match"):
			cut.problem = "has a key that is not that of its certificate"
		default: // nothing of what it holds is repeated
			cut.problem = "has no certificate and key in PEM that can be used"
		}
	}
	if cut.problem == "" {
		cut.Secret = &routing.Secret{
			Namespace: s.Namespace, Name: s.Name, Certificate: certificate, Key: key, CA: s.Data["ca.crt"],
		}
	}
	return cut
}

// is reports whether the certificate is for a host, which may be a wildcard.
func (s *tlsSecret) is(host string) bool {
	host = strings.Replace(host, "*.", "any.", 1)
	return (&x509.Certificate{DNSNames: s.names, IPAddresses: s.ips}).VerifyHostname(host) == nil
}

// tls takes over the Secrets of an Ingress: for those of its hosts for which
// they are named, or all of them.
func (m *ingressMerger) tls(i *networkingv1.Ingress, fallback *ingressTarget) {
	for k := range i.Spec.TLS {
		t := &i.Spec.TLS[k]
		at := fmt.Sprintf("spec.tls[%d]", k)
		hosts := m.tlsHosts(i, t, fallback, at)
		if len(hosts) == 0 {
			continue
		}
		secret := name{i.Namespace, t.SecretName}
		usable := m.checkSecret(i, secret, hosts, at)
		for _, called := range hosts {
			h := m.hosts[m.wildcard(called)]
			if h == nil {
				h = m.host(called, i)
				if len(h.secure) == 0 { // the oldest decides, as it does of paths
					h.plain = i.Annotations[nginxPrefix+"ssl-redirect"] == "false"
				}
				h.secure[nameOf(&i.ObjectMeta)] = true
			}
			switch {
			case !usable || slices.Contains(h.secrets, secret):
			case len(h.secrets) == maxCertificates:
				m.fault(i, routing.Refused, codeSecret, at, "the host has too many certificates", fmt.Sprintf("at most %d are allowed", maxCertificates))
			default:
				h.secrets = append(h.secrets, secret)
			}
		}
	}
}

// tlsHosts returns the hosts of an Ingress that an entry is for.
func (m *ingressMerger) tlsHosts(i *networkingv1.Ingress, t *networkingv1.IngressTLS, fallback *ingressTarget, at string) []string {
	own := make([]string, 0, len(i.Spec.Rules))
	for k := range i.Spec.Rules {
		own = append(own, hostOf(i.Spec.Rules[k].Host))
	}
	if len(t.Hosts) == 0 {
		if len(own) == 0 && i.Spec.DefaultBackend != nil {
			own = append(own, anyHost)
		}
		return own
	}
	var hosts []string
	for k, called := range t.Hosts {
		called = strings.ToLower(called)
		found := false
		for _, host := range own {
			if host == called || below(host, called) {
				hosts, found = append(hosts, host), true
			}
		}
		switch {
		case found:
		case fallback != nil:
			// The default backend has it, and TLS takes a gateway of its own; but
			// a wildcard has it before.
			if m.wildcard(called) == "" {
				m.host(called, i).fall(fallback)
			}
			hosts = append(hosts, called)
		default:
			m.fault(i, routing.Warning, codeTLSHost, fmt.Sprintf("%s.hosts[%d]", at, k), "no rule of the Ingress is for "+called, "write a rule, or leave the host out")
		}
	}
	return hosts
}

// wildcard returns the wildcard that has a host of which nobody says anything
// else; empty if there is none.
func (m *ingressMerger) wildcard(host string) string {
	_, domain, _ := strings.Cut(host, ".")
	if wild := "*." + domain; m.hosts[host] == nil && m.hosts[wild] != nil && below(host, wild) {
		return wild
	}
	return ""
}

// below reports whether a wildcard stands for a host.
func below(host, wildcard string) bool {
	domain, wild := strings.CutPrefix(wildcard, "*")
	label, is := strings.CutSuffix(host, domain)
	return wild && is && label != "" && !strings.ContainsAny(label, ".*")
}

// checkSecret tells what is wrong with a Secret, and reports whether it may be
// used.
func (m *ingressMerger) checkSecret(i *networkingv1.Ingress, n name, hosts []string, at string) bool {
	const until = "a Secret of type kubernetes.io/tls is needed; until there is one, requests are answered 503"
	if n.name == "" {
		m.fault(i, routing.Refused, codeSecret, at, "no Secret is named", until)
		return false
	}
	at += ".secretName"
	s := m.around.secret(n)
	switch {
	case s != nil && s.filed:
		m.fault(i, routing.Warning, codeSecret, at, "the Secret "+n.name+" "+s.problem, "proxies that have it serve on with it")
		return true
	case s == nil:
		m.fault(i, routing.Refused, codeSecret, at, "there is no Secret "+n.name, until)
		return false
	case s.problem != "" && s.Secret != nil:
		m.fault(i, routing.Warning, codeSecret, at, "the Secret "+n.name+" "+s.problem, "what was in it before serves on")
	case s.problem != "":
		m.fault(i, routing.Refused, codeSecret, at, "the Secret "+n.name+" "+s.problem, until)
		return false
	}
	for _, host := range hosts {
		if host != anyHost && !s.is(host) {
			m.fault(i, routing.Warning, codeSecret, at, "the certificate in the Secret "+n.name+" is not for "+host, "clients will refuse it")
		}
	}
	return true
}

// closed reports whether a target takes nothing: its Ingress asks for TLS, for
// which there is no certificate.
func (h *ingressHost) closed(t *ingressTarget) bool {
	return h.secure[t.of] && len(h.secrets) == 0 && !h.plain
}
