// SPDX-License-Identifier: Apache-2.0

package upstream

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/netip"
	"net/url"
	"strconv"
	"strings"

	"google.golang.org/protobuf/encoding/protowire"

	"github.com/sluice-mesh/sluice/routing"
)

// A check by gRPC calls Check of grpc.health.v1.Health. Its two messages are so
// small that they are written and read here:
//
//	message HealthCheckRequest  { string service = 1; }
//	message HealthCheckResponse { ServingStatus status = 1; }

// fieldService and fieldStatus are the numbers of the fields.
const (
	fieldService = 1
	fieldStatus  = 1
)

// servingStatus is the state of a service.
type servingStatus uint64

const (
	stateUnknown        servingStatus = 0
	stateServing        servingStatus = 1
	stateNotServing     servingStatus = 2
	stateServiceUnknown servingStatus = 3
)

// String returns the name that the protocol gives the state, or its number.
func (s servingStatus) String() string {
	switch s {
	case stateUnknown:
		return "UNKNOWN"
	case stateServing:
		return "SERVING"
	case stateNotServing:
		return "NOT_SERVING"
	case stateServiceUnknown:
		return "SERVICE_UNKNOWN"
	default:
		return strconv.FormatUint(uint64(s), 10)
	}
}

// callPrefix is what stands before each message: whether it is compressed, and
// its length in four bytes.
const callPrefix = 5

// callOf returns the call of a check by gRPC. The instance is told how long it
// has.
func callOf(at netip.AddrPort, way *Way, h *routing.Health) []byte {
	message := make([]byte, callPrefix)
	if h.Service != "" {
		message = protowire.AppendTag(message, fieldService, protowire.BytesType)
		message = protowire.AppendString(message, h.Service)
	}
	binary.BigEndian.PutUint32(message[1:], uint32(len(message)-callPrefix))
	b := fmt.Appendf(nil, "POST /grpc.health.v1.Health/Check HTTP/1.1\r\nHost: %s\r\nUser-Agent: sluice-health\r\n"+
		"Content-Type: application/grpc\r\nTE: trailers\r\nGrpc-Timeout: %s\r\nContent-Length: %d\r\n\r\n",
		authority(at, way, h), timeLeft(h), len(message))
	return append(b, message...)
}

// timeLeft returns the time of a check as gRPC writes it: 8 digits at most.
func timeLeft(h *routing.Health) string {
	if ms := h.Timeout.Milliseconds(); ms < 1e8 {
		return strconv.FormatInt(max(ms, 1), 10) + "m"
	}
	return strconv.FormatInt(min(int64(h.Timeout.Seconds()), 1e8-1), 10) + "S"
}

// The codes of gRPC of which a check knows what they mean here.
const (
	codeNotFound      = 5
	codeUnimplemented = 12
)

// serving says what is wrong with the answer to a check by gRPC.
func serving(answer *http.Response, h *routing.Health) error {
	if answer.StatusCode != http.StatusOK {
		return fmt.Errorf("it answers %d", answer.StatusCode)
	}
	if kind := answer.Header.Get("Content-Type"); !strings.HasPrefix(kind, "application/grpc") {
		return fmt.Errorf("it does not answer by gRPC, but with %q", kind)
	}
	body, err := io.ReadAll(io.LimitReader(answer.Body, checkBody))
	if err != nil {
		return err
	}
	from := answer.Trailer
	if from.Get(nameStatus) == "" {
		from = answer.Header // nothing but trailers
	}
	if err := succeeded(from, h); err != nil {
		return err
	}
	status, err := parseServing(body)
	switch {
	case err != nil:
		return err
	case status != stateServing:
		return fmt.Errorf("it says that it is %s", status)
	default:
		return nil
	}
}

const (
	nameStatus  = "Grpc-Status"
	nameMessage = "Grpc-Message"
)

// succeeded says what is wrong with the status of a call.
func succeeded(fields http.Header, h *routing.Health) error {
	text := fields.Get(nameStatus)
	code, err := strconv.ParseUint(text, 10, 32)
	switch {
	case text == "":
		return errors.New("its answer has no grpc-status")
	case err != nil:
		return fmt.Errorf("its grpc-status is %q", text)
	case code == 0:
		return nil
	case code == codeUnimplemented:
		return errors.New("it has no service grpc.health.v1.Health: register it, or check by tcp")
	case code == codeNotFound && h.Service != "":
		return fmt.Errorf("it does not know of a service %s", h.Service)
	}
	message := fields.Get(nameMessage)
	if plain, err := url.PathUnescape(message); err == nil {
		message = plain
	}
	if message == "" {
		return fmt.Errorf("it answers with grpc-status %d", code)
	}
	return fmt.Errorf("it answers with grpc-status %d: %q", code, message)
}

// errNoMessage reports an answer to a check that cannot be read.
var errNoMessage = errors.New("its answer is not one to a health check")

// parseServing reads the one message of an answer. Fields that are not known
// are passed over; of one that stands twice the last one counts.
func parseServing(body []byte) (servingStatus, error) {
	if len(body) < callPrefix || body[0] != 0 || uint64(binary.BigEndian.Uint32(body[1:])) != uint64(len(body)-callPrefix) {
		return 0, errNoMessage
	}
	status := stateUnknown
	for b := body[callPrefix:]; len(b) > 0; {
		number, kind, n := protowire.ConsumeTag(b)
		if n < 0 {
			return 0, errNoMessage
		}
		b = b[n:]
		if number == fieldStatus && kind == protowire.VarintType {
			v, n := protowire.ConsumeVarint(b)
			if n < 0 {
				return 0, errNoMessage
			}
			status, b = servingStatus(v), b[n:]
			continue
		}
		if n = protowire.ConsumeFieldValue(number, kind, b); n < 0 {
			return 0, errNoMessage
		}
		b = b[n:]
	}
	return status, nil
}
