// SPDX-License-Identifier: Apache-2.0

package upstream

import (
	"cmp"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"slices"
	"strings"
	"syscall"
	"time"
)

// TLSError reports that an instance was reached and could not be spoken to by
// TLS. Its text says to people what is wrong and what they can do, and names
// files, never what is in them but names.
type TLSError struct {
	Instance string // address and port
	Way      Way
	Err      error

	known bool // the one before said the same
	late  bool // it came behind the handshake
}

func (e *TLSError) Error() string {
	return "TLS with " + e.Instance + ": " + e.Why()
}

func (e *TLSError) Unwrap() error { return e.Err }

// Why is Error without the address.
func (e *TLSError) Why() string {
	if errors.Is(e.Err, errNoHTTP2) {
		return noHTTP2
	}
	for _, told := range [...]func() string{e.ofCertificate, e.ofAlert, e.ofBytes} {
		if why := told(); why != "" {
			return why
		}
	}
	return e.Err.Error()
}

const noHTTP2 = "it does not agree to speak HTTP/2 by TLS (h2 in ALPN): have it offer that, or set protocol to http1"

// ofCertificate tells what is wrong with the certificate of the instance.
func (e *TLSError) ofCertificate() string {
	if x, ok := errors.AsType[x509.HostnameError](e.Err); ok {
		return fmt.Sprintf("its certificate is for %s, not for %s: set name to what it is for, or give it another one",
			names(x.Certificate), cmp.Or(x.Host, "an empty name"))
	}
	if x, ok := errors.AsType[x509.UnknownAuthorityError](e.Err); ok {
		return fmt.Sprintf("nobody in %s vouches for its certificate%s: set ca to the file of who does",
			e.authority(), issuer(x.Cert))
	}
	if x, ok := errors.AsType[x509.CertificateInvalidError](e.Err); ok {
		return ofInvalid(&x)
	}
	if _, ok := errors.AsType[x509.SystemRootsError](e.Err); ok {
		return "the system has no list of who may vouch for certificates: set ca"
	}
	return ""
}

// authority names those who may vouch for instances.
func (e *TLSError) authority() string {
	if e.Way.TLS.CA == "" {
		return "the list of the system"
	}
	return e.Way.TLS.CA
}

func issuer(c *x509.Certificate) string {
	if c == nil {
		return ""
	}
	return ", which " + cmp.Or(c.Issuer.String(), "nobody") + " issued"
}

func ofInvalid(x *x509.CertificateInvalidError) string {
	subject := "its certificate"
	if x.Cert != nil && x.Cert.IsCA {
		subject = "the certificate of " + x.Cert.Subject.String()
	}
	switch {
	case x.Reason == x509.Expired && x.Cert != nil && time.Now().Before(x.Cert.NotBefore):
		return fmt.Sprintf("%s does not hold before %s: compare the clocks", subject, x.Cert.NotBefore.UTC().Format(time.RFC3339))
	case x.Reason == x509.Expired && x.Cert != nil:
		return fmt.Sprintf("%s expired at %s: give it a new one", subject, x.Cert.NotAfter.UTC().Format(time.RFC3339))
	case x.Reason == x509.IncompatibleUsage:
		return "its certificate is not one for servers: give it one with the extended key usage serverAuth"
	default:
		return "its certificate is not valid: " + strings.TrimPrefix(x.Error(), "x509: ")
	}
}

// maxNames bounds the names that are told of a certificate.
const maxNames = 5

// names tells whom a certificate is for.
func names(c *x509.Certificate) string {
	if c == nil {
		return "others"
	}
	all := slices.Clone(c.DNSNames)
	for _, ip := range c.IPAddresses {
		all = append(all, ip.String())
	}
	switch {
	case len(all) == 0:
		return "nobody by name (" + cmp.Or(c.Subject.String(), "no subject") + ")"
	case len(all) > maxNames:
		return strings.Join(all[:maxNames], ", ") + fmt.Sprintf(" and %d more", len(all)-maxNames)
	default:
		return strings.Join(all, ", ")
	}
}

// remoteAlert returns the alert that the peer sent. crypto/tls hands it out as
// an error of a type of its own, of which only the text can be had.
func remoteAlert(err error) (tls.AlertError, bool) {
	op, ok := errors.AsType[*net.OpError](err)
	if !ok || op.Op != "remote error" || op.Err == nil {
		return 0, false
	}
	said := op.Err.Error()
	for a := range 256 {
		if alert := tls.AlertError(a); alert.Error() == said {
			return alert, true
		}
	}
	return 0, false
}

// Alerts by which an instance says what it does not like (RFC 8446 section
// 6.2).
const (
	alertHandshakeFailure = 40
	alertBadCertificate   = 42
	alertIllegalParameter = 47
	alertUnknownAuthority = 48
	alertAccessDenied     = 49
	alertProtocolVersion  = 70
	alertUnrecognizedName = 112
	alertCertRequired     = 116
	alertNoProtocol       = 120
)

// aboutCertificate reports whether an alert refuses the certificate that a
// client showed, or that it showed none.
func aboutCertificate(alert tls.AlertError) bool {
	return alert >= alertBadCertificate && alert <= alertAccessDenied && alert != alertIllegalParameter || alert == alertCertRequired
}

// ofAlert tells what the instance said.
func (e *TLSError) ofAlert() string {
	alert, ok := remoteAlert(e.Err)
	if !ok {
		return ""
	}
	shown := e.Way.TLS.KeyPair.Certificate
	switch {
	case aboutCertificate(alert) && shown == "", alert == alertCertRequired:
		return "it asks for a certificate of the proxy: set certificate and key to one that it accepts"
	case alert == alertUnknownAuthority && shown != "":
		return "it does not know who issued " + shown + ": show it a certificate of somebody that it trusts"
	case aboutCertificate(alert):
		return fmt.Sprintf("it does not accept the certificate in %s (%s)", shown, said(alert))
	case alert == alertProtocolVersion:
		return "it speaks no version of TLS that may be used: " + least(e.Way.TLS.MinVersion) + " and later ones may"
	case alert == alertUnrecognizedName:
		return fmt.Sprintf("it serves no %s: set name to what it serves", cmp.Or(e.Way.TLS.Name, "client that names no server"))
	case alert == alertNoProtocol && e.Way.Protocol.HTTP2():
		return noHTTP2
	case alert == alertNoProtocol:
		return "it does not speak HTTP/1.1 by TLS, only other protocols"
	case alert == alertHandshakeFailure:
		return "it found nothing in common with what the proxy offers: TLS 1.2 and 1.3 with the usual ciphers, and " + shows(shown)
	default:
		return "it refuses the connection (" + said(alert) + ")"
	}
}

// shows says what is shown to an instance that asks for a certificate: one
// that speaks TLS 1.2 has no better word for wanting one.
func shows(certificate string) string {
	if certificate == "" {
		return "no certificate"
	}
	return "the certificate in " + certificate
}

func said(alert tls.AlertError) string { return strings.TrimPrefix(alert.Error(), "tls: ") }

func least(version uint16) string {
	return tls.VersionName(max(version, tls.VersionTLS12))
}

// ofBytes tells what there was instead of TLS.
func (e *TLSError) ofBytes() string {
	switch e.trouble() {
	case troubleNotTLS:
		return "it does not speak TLS on this port: lead the route to its port for TLS, or leave tls out"
	case troubleGone:
		return "it ended the connection in the middle of the handshake: see whether it speaks TLS on this port"
	default:
		return ""
	}
}

// trouble sorts the error.
func (e *TLSError) trouble() trouble {
	if errors.Is(e.Err, ErrSettings) {
		return troubleSettings
	}
	if _, ok := errors.AsType[tls.RecordHeaderError](e.Err); ok {
		return troubleNotTLS
	}
	if _, ok := errors.AsType[*tls.CertificateVerificationError](e.Err); ok {
		return troubleCertificate
	}
	if _, ok := remoteAlert(e.Err); ok {
		return troubleRefused
	}
	if errors.Is(e.Err, errNoHTTP2) {
		return troubleRefused
	}
	if ended(e.Err) {
		return troubleGone
	}
	return troubleOther
}

// ended reports whether an error says that the peer ended the connection.
func ended(err error) bool {
	for _, end := range []error{io.EOF, io.ErrUnexpectedEOF, net.ErrClosed, syscall.ECONNRESET, syscall.EPIPE} {
		if errors.Is(err, end) {
			return true
		}
	}
	return false
}
