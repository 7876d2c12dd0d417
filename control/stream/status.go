// SPDX-License-Identifier: Apache-2.0

package stream

import (
	"errors"
	"fmt"
	"io"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/sluice-mesh/sluice/control/auth"
)

// Why sessions do not begin, as the metric names it.
const (
	refusedIdentity  = "identity"
	refusedTaken     = "taken"
	refusedNamespace = "namespace"
	refusedProtocol  = "protocol"
	refusedFull      = "full"
	refusedLate      = "late"
	refusedStrangers = "strangers"
)

// Why sessions end, and some do not begin.
const (
	endClosed    = "closed"
	endLost      = "lost"
	endAsked     = "asked"
	endTakenOver = "taken_over"
	endStopped   = "stopped"
	endSilent    = "silent"
	endStalled   = "stalled"
	endExpired   = "expired"
	endRevoked   = "revoked"
	endMalformed = "malformed"
	endTooLarge  = "too_large"
	endPanic     = "panic"
)

// ending is why a session ended or did not begin, and what the proxy is told.
type ending struct {
	reason string // for the metric
	code   codes.Code
	text   string // for people
}

// Error returns the text.
func (e *ending) Error() string { return e.text }

// GRPCStatus is what gRPC sends.
func (e *ending) GRPCStatus() *status.Status { return status.New(e.code, e.text) }

func endf(reason string, code codes.Code, format string, args ...any) *ending {
	return &ending{reason, code, fmt.Sprintf(format, args...)}
}

// result is what the handler of a stream returns.
func (e *ending) result() error {
	if e.code == codes.OK {
		return nil
	}
	return e
}

// endOfReceiving says why nothing more can be received.
func endOfReceiving(err error) *ending {
	switch code := status.Code(err); {
	case errors.Is(err, io.EOF):
		return endf(endClosed, codes.OK, "the proxy closed the session")
	case code == codes.ResourceExhausted:
		return endf(endTooLarge, code, "a message is too large: at most %d bytes are allowed", maxMessage)
	case code == codes.Internal || code == codes.Unimplemented:
		return malformed("a message cannot be read: %v", status.Convert(err).Message())
	default:
		return endf(endLost, codes.Unavailable, "the connection was lost")
	}
}

func malformed(format string, args ...any) *ending {
	return endf(endMalformed, codes.InvalidArgument, format, args...)
}

// refuseIdentity says what is wrong with who a proxy says it is.
func refuseIdentity(err error) *ending {
	code := codes.Unauthenticated
	if _, beyond := errors.AsType[*auth.ScopeError](err); beyond {
		code = codes.PermissionDenied
	}
	return endf(refusedIdentity, code, "%v", err)
}
