// SPDX-License-Identifier: Apache-2.0

package tlsconf

import (
	"crypto/tls"
	"errors"
	"io"
	"net"
	"strings"
	"syscall"

	"github.com/sluice-mesh/sluice/metrics"
	"github.com/sluice-mesh/sluice/proxy/socket"
)

// Failure says why a handshake with a client failed.
type Failure uint8

const (
	// FailureOther is all that is not told apart.
	FailureOther Failure = iota
	// FailureTimeout says that the client took too long.
	FailureTimeout
	// FailureGone says that the client ended the connection.
	FailureGone
	// FailureNotTLS says that what came was no TLS.
	FailureNotTLS
	// FailureVersion says that the client speaks only versions that are not served.
	FailureVersion
	// FailureCipher says that there is no cipher or key exchange that both know.
	FailureCipher
	// FailureProtocol says that the client wants to speak another protocol inside.
	FailureProtocol
	// FailureRefused says that the client did not accept ours, mostly the certificate.
	FailureRefused
	// FailureNoClientCertificate says that the client did not show a certificate.
	FailureNoClientCertificate
	// FailureClientCertificate says that nobody who is trusted vouches for it.
	FailureClientCertificate
	// FailureNoCertificate says that there is none for the gateway that the client wants.
	FailureNoCertificate

	failures
)

// String returns the label of metrics.
func (f Failure) String() string {
	return [failures]string{
		"other", "timeout", "gone", "not_tls", "version", "cipher", "protocol", "refused",
		"no_client_certificate", "client_certificate", "no_certificate",
	}[f]
}

// ErrNoCertificate ends the handshake of a client that wants to reach a gateway
// whose certificates cannot be used.
var ErrNoCertificate = errors.New("the gateway has no certificate that it could show")

// FailureOf tells why a handshake as a server failed.
func FailureOf(err error) Failure {
	if f, ok := failureOfEnd(err); ok {
		return f
	}
	if _, ok := errors.AsType[tls.RecordHeaderError](err); ok {
		return FailureNotTLS
	}
	if _, ok := errors.AsType[*tls.CertificateVerificationError](err); ok {
		return FailureClientCertificate
	}
	if e, ok := errors.AsType[*net.OpError](err); ok && e.Op == "remote error" {
		return FailureRefused
	}
	return failureOfText(err.Error())
}

// failureOfEnd tells how the connection ended below TLS.
func failureOfEnd(err error) (Failure, bool) {
	switch {
	case errors.Is(err, socket.ErrExpired):
		return FailureTimeout, true
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF),
		errors.Is(err, syscall.ECONNRESET), errors.Is(err, syscall.EPIPE), errors.Is(err, net.ErrClosed):
		return FailureGone, true
	case errors.Is(err, ErrNoCertificate):
		return FailureNoCertificate, true
	}
	return FailureOther, false
}

// failureOfText tells apart what crypto/tls has only words for; TestFailures
// sees to it that these are still the words.
func failureOfText(text string) Failure {
	for _, known := range []struct {
		words string
		why   Failure
	}{
		{"unsupported versions", FailureVersion},
		{"no cipher suite supported", FailureCipher},
		{"no key exchanges supported", FailureCipher},
		{"no ECDHE", FailureCipher},
		{"unsupported application protocols", FailureProtocol},
		{"didn't provide a certificate", FailureNoClientCertificate},
		{"client certificate", FailureClientCertificate},
	} {
		if strings.Contains(text, known.words) {
			return known.why
		}
	}
	return FailureOther
}

// handshakes counts the handshakes with clients.
type handshakes struct {
	ok, resumed *metrics.Counter
	failed      [failures]*metrics.Counter
}

func newHandshakes(r *metrics.Registry) handshakes {
	h := handshakes{
		ok:      r.TLSHandshakes("client", "ok", "none"),
		resumed: r.TLSHandshakes("client", "resumed", "none"),
	}
	for f := range failures {
		h.failed[f] = r.TLSHandshakes("client", "failed", f.String())
	}
	return h
}

// Shaken counts a handshake with a client: what was agreed on, or why it
// failed.
func (s *Store) Shaken(state *tls.ConnectionState, err error) {
	switch {
	case err != nil:
		s.handshakes.failed[FailureOf(err)].Add(0, 1)
	case state.DidResume:
		s.handshakes.resumed.Add(0, 1)
	default:
		s.handshakes.ok.Add(0, 1)
	}
}
