// SPDX-License-Identifier: Apache-2.0

package metrics

import "sync/atomic"

// GRPCStatus is how a call of gRPC ended: its grpc-status, or GRPCOther.
type GRPCStatus uint8

const (
	// GRPCOther stands for every status that gRPC does not define.
	GRPCOther GRPCStatus = 17
	// GRPCStatuses is the number of statuses, GRPCOther included.
	GRPCStatuses GRPCStatus = 18
)

// String returns the status as the label "grpc_status" shows it: by the name
// that gRPC gives it, such as OK or UNAVAILABLE, or Other.
func (s GRPCStatus) String() string { return grpcStatuses[min(s, GRPCOther)] }

var grpcStatuses = [GRPCStatuses]string{
	"OK", "CANCELLED", "UNKNOWN", "INVALID_ARGUMENT", "DEADLINE_EXCEEDED", "NOT_FOUND", "ALREADY_EXISTS",
	"PERMISSION_DENIED", "RESOURCE_EXHAUSTED", "FAILED_PRECONDITION", "ABORTED", "OUT_OF_RANGE", "UNIMPLEMENTED",
	"INTERNAL", "UNAVAILABLE", "DATA_LOSS", "UNAUTHENTICATED", GRPCOther: Other,
}

// calls counts the calls of gRPC that ended on a route, by shard. Most routes
// have none, so they are made for the first one.
type calls []callCell

// callCell is two lines of 128 bytes long; see line.
type callCell struct {
	ended [GRPCStatuses]atomic.Uint64
	_     [14]uint64
}

// called counts how a call of gRPC ended; answered is one more than its
// status.
func (t *Route) called(shard uint32, answered uint8) {
	c := t.calls.Load()
	if c == nil {
		fresh := make(calls, t.mask+1)
		t.calls.CompareAndSwap(nil, &fresh)
		c = t.calls.Load()
	}
	status := min(GRPCStatus(answered-1), GRPCOther)
	(*c)[shard&t.mask].ended[status].Add(1)
}

// ReadGRPC returns how the calls of gRPC on the route ended, by status, and
// whether there ever was one.
func (t *Route) ReadGRPC() (ended [GRPCStatuses]uint64, ever bool) {
	c := t.calls.Load()
	if c == nil {
		return ended, false
	}
	for i := range *c {
		for s := range ended {
			ended[s] += (*c)[i].ended[s].Load()
		}
	}
	return ended, true
}
