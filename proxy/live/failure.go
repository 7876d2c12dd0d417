// SPDX-License-Identifier: Apache-2.0

package live

import (
	"context"
	"errors"
	"net/http"
	"os"
	"syscall"

	"github.com/sluice-mesh/sluice/proxy/upstream"
	"github.com/sluice-mesh/sluice/routing"
)

// Reason names one way in which the proxy itself fails an exchange. It is the
// metric label, the log field and the Sluice-Reason header alike.
type Reason uint8

// The reasons. They are stable: names are added, never changed.
const (
	None Reason = iota
	NoGateway
	NoRoute
	NoReadyInstance
	ConnectRefused
	ConnectTimeout
	ConnectFailed
	UpstreamReset
	UpstreamProtocol
	ResponseTimeout
	BadRequest
	RequestTimeout
	RequestAborted
	ResponseAborted
	HeadTooLarge
	TargetTooLong
	BodyTooLarge
	VersionNotSupported
	MethodNotAllowed
	CodingNotSupported
	ShuttingDown
	InternalError
	Overloaded
	ConnectionLimit
	AddressLimit
	ExchangeTimeout
	ClientTooSlow
	RateLimited
	CircuitOpen
	Misdirected
	PlainOnTLS
	TLSOnPlain
	ProxyHeader
	TLSUnavailable
	BadHello
	TLSFailed
	VersionRefused
	reasonCount
)

// failures holds what is known of each reason.
var failures = [reasonCount]struct {
	name   string
	status int
	text   string
}{
	None:                {"none", 0, ""},
	NoGateway:           {"no_gateway", 503, "no gateway takes traffic for this host or port"},
	NoRoute:             {"no_route", 503, "the gateway has no route that may take this request"},
	NoReadyInstance:     {"no_ready_instance", 503, "the chosen route has no instance that can serve"},
	ConnectRefused:      {"connect_refused", 502, "the instance refused the connection"},
	ConnectTimeout:      {"connect_timeout", 504, "the instance could not be reached in time"},
	ConnectFailed:       {"connect_failed", 502, "the instance could not be reached"},
	UpstreamReset:       {"upstream_reset", 502, "the instance closed the connection before it answered"},
	UpstreamProtocol:    {"upstream_protocol", 502, "the instance answered with something that is not HTTP"},
	ResponseTimeout:     {"response_timeout", 504, "the instance did not answer in time"},
	BadRequest:          {"bad_request", 400, "the request is malformed"},
	RequestTimeout:      {"request_timeout", 408, "the request did not arrive in time"},
	RequestAborted:      {"request_aborted", 400, "the client went away before the request was complete"},
	ResponseAborted:     {"response_aborted", 502, "the answer was cut short"},
	HeadTooLarge:        {"head_too_large", 431, "the header fields are too large or too many"},
	TargetTooLong:       {"target_too_long", 414, "the request target is too long"},
	BodyTooLarge:        {"body_too_large", 413, "the request body is too large"},
	VersionNotSupported: {"version_not_supported", 505, "only HTTP/1.0 and HTTP/1.1 are spoken here"},
	MethodNotAllowed:    {"method_not_allowed", 405, "this method is not forwarded"},
	CodingNotSupported:  {"coding_not_supported", 501, "the only transfer coding that is understood is chunked"},
	ShuttingDown:        {"shutting_down", 503, "this proxy is shutting down"},
	InternalError:       {"internal_error", 500, "a fault in the proxy"},
	ExchangeTimeout:     {"exchange_timeout", 504, "the exchange took longer than it may"},
	ClientTooSlow:       {"client_too_slow", 408, "the client took the answer too slowly"},
	Overloaded:          {"overloaded", 503, "too much is under way already"},
	ConnectionLimit:     {"connection_limit", 503, "as many connections are open as may be"},
	RateLimited:         {"rate_limited", 429, "more requests came than may come in this time"},
	CircuitOpen:         {"circuit_open", 503, "the route is left alone for a while, since too much went wrong on it"},
	AddressLimit:        {"address_limit", 429, "this address has as many connections open as it may"},
	Misdirected:         {"misdirected_request", 421, "this host asks more of a client's certificate than was asked when the connection began: ask for it on a connection of its own"},
	PlainOnTLS:          {"plain_on_tls", 400, "this port speaks TLS: begin the address with https://"},
	TLSOnPlain:          {"tls_on_plain", 400, "this port does not speak TLS"},
	ProxyHeader:         {"proxy_header", 400, "the connection does not begin with a whole PROXY header, as it must"},
	BadHello:            {"bad_hello", 400, "the connection begins with TLS, but with no ClientHello that can be read"},
	TLSUnavailable:      {"tls_unavailable", 503, "the gateway has no certificate that it could show"},
	TLSFailed:           {"tls_failed", 502, "the instance could not be spoken to by TLS"},
	VersionRefused:      {"version_refused", 421, "this gateway does not speak HTTP/2: come to it by HTTP/1.1, on a connection of its own"},
}

// String returns the stable name, such as no_route.
func (r Reason) String() string { return failures[r].name }

// Status returns the status that is answered.
func (r Reason) Status() int { return failures[r].status }

// GRPCUnavailable is the status UNAVAILABLE of gRPC: the call may be made again.
const GRPCUnavailable = 14

// GRPC returns the status by which calls of gRPC are told of the reason, where
// others get an HTTP status, which may be another than Status.
func (r Reason) GRPC(status int) uint8 {
	switch r {
	case RequestAborted:
		return 1 // CANCELLED
	case RateLimited:
		return 8 // RESOURCE_EXHAUSTED: to come again at once is of no use
	default:
		return grpcStatus(status)
	}
}

// grpcStatus maps what the proxy answers. What a client has done wrong below
// gRPC is INTERNAL there.
func grpcStatus(status int) uint8 {
	switch status {
	case http.StatusUnauthorized:
		return 16 // UNAUTHENTICATED
	case http.StatusForbidden:
		return 7 // PERMISSION_DENIED
	case http.StatusNotFound, http.StatusMethodNotAllowed:
		return 12 // UNIMPLEMENTED
	case http.StatusRequestTimeout, http.StatusGatewayTimeout:
		return 4 // DEADLINE_EXCEEDED
	case http.StatusRequestEntityTooLarge, http.StatusRequestURITooLong, http.StatusRequestHeaderFieldsTooLarge:
		return 8 // RESOURCE_EXHAUSTED
	case http.StatusMisdirectedRequest, http.StatusTooManyRequests, http.StatusBadGateway, http.StatusServiceUnavailable:
		return GRPCUnavailable
	default:
		return 13 // INTERNAL
	}
}

// CallStatus is GRPC of the reason with that name.
func CallStatus(reason string, status int) uint8 {
	for r := range failures {
		if failures[r].name == reason {
			return Reason(r).GRPC(status)
		}
	}
	return InternalError.GRPC(status)
}

// Text tells a person what happened.
func (r Reason) Text() string { return failures[r].text }

// Reasons returns the names of all reasons, in order.
func Reasons() []string {
	names := make([]string, reasonCount)
	for i := range names {
		names[i] = failures[i].name
	}
	return names
}

// DecisionFailure maps why nothing was decided.
func DecisionFailure(r routing.Reason) Reason {
	switch r {
	case routing.ReasonNone:
		return None
	case routing.ReasonNoRoute:
		return NoRoute
	case routing.ReasonNoInstance:
		return NoReadyInstance
	default:
		return InternalError
	}
}

// ConnectFailure maps why an instance could not be reached.
func ConnectFailure(err error) Reason {
	switch {
	case errors.Is(err, upstream.ErrFull), errors.Is(err, syscall.EMFILE), errors.Is(err, syscall.ENFILE):
		return Overloaded
	case errors.Is(err, syscall.ECONNREFUSED), errors.Is(err, upstream.ErrDeclined), errors.Is(err, upstream.ErrLeft):
		return ConnectRefused
	case errors.Is(err, os.ErrDeadlineExceeded), errors.Is(err, context.DeadlineExceeded), errors.Is(err, syscall.ETIMEDOUT):
		return ConnectTimeout
	case IsTLS(err), errors.Is(err, upstream.ErrSettings):
		return TLSFailed
	case isProtocol(err):
		return UpstreamProtocol
	default:
		return ConnectFailed
	}
}

func isProtocol(err error) bool {
	_, ok := errors.AsType[*upstream.ProtocolError](err)
	return ok
}

// IsTLS reports whether an error is that an instance could not be spoken to by
// TLS.
func IsTLS(err error) bool {
	_, ok := errors.AsType[*upstream.TLSError](err)
	return ok
}
