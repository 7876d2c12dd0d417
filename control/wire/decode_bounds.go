// SPDX-License-Identifier: Apache-2.0

package wire

import (
	"math"
	"slices"
	"time"

	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/sluice-mesh/sluice/control/controlpb"
	"github.com/sluice-mesh/sluice/routing"
)

const (
	maxNumber         = math.MaxInt32
	maxPort           = math.MaxUint16
	maxInstanceWeight = 1_000_000
	// maxAmount bounds what is counted in 64 bits, far above what may be
	// written and far below where sums overflow.
	maxAmount = 1 << 50
	minTime   = time.Millisecond
	maxTime   = 10 * 365 * 24 * time.Hour

	firstRetried = 400
	lastRetried  = 599
	lastStatus   = 639 // of a routing.StatusSet
)

// reader collects the faults of a message while it is read. What has one is
// read as if it were absent.
type reader struct {
	faults

	known *known // never nil
}

// number reads a number from 0 to most.
func (r *reader) number(p *path, field string, n, most uint32) int {
	if n > most {
		r.fault(p, field, "%d is out of bounds; at most %d is allowed", n, most)
		return 0
	}
	return int(n)
}

// amount reads a number from 0 to maxAmount, or one of a few others.
func (r *reader) amount(p *path, field string, n int64, others ...int64) int64 {
	if (n < 0 || n > maxAmount) && !slices.Contains(others, n) {
		r.fault(p, field, "%d is out of bounds; 0 to %d is allowed", n, int64(maxAmount))
		return 0
	}
	return n
}

// share reads a share in hundredths of a percent.
func (r *reader) share(p *path, field string, n uint32) routing.Weight {
	return routing.Weight(r.number(p, field, n, uint32(routing.FullWeight)))
}

// time reads a time that is not so short that a loop over it would do nothing
// else, nor so long that adding it to a moment overflows; 0, or one of a few
// others.
func (r *reader) time(p *path, field string, ns int64, others ...time.Duration) time.Duration {
	d := time.Duration(ns)
	if d != 0 && (d < minTime || d > maxTime) && !slices.Contains(others, d) {
		r.fault(p, field, "%d is out of bounds; 0 or %d to %d is allowed", ns, int64(minTime), int64(maxTime))
		return 0
	}
	return d
}

// moment reads a moment; nil is the zero time.
func (r *reader) moment(p *path, field string, t *timestamppb.Timestamp) time.Time {
	if t == nil {
		return time.Time{}
	}
	if err := t.CheckValid(); err != nil {
		r.fault(p, field, "it is no time between the years 1 and 9999")
		return time.Time{}
	}
	return t.AsTime()
}

// missing notes a fault if what is there cannot do without a field.
func (r *reader) missing(p *path, field string, is bool) {
	if is {
		r.fault(p, field, "it is missing")
	}
}

func (r *reader) limits(up *path, m *controlpb.Limits) routing.Limits {
	if m == nil {
		return routing.Limits{}
	}
	p := path{up: up, name: "limits"}
	return routing.Limits{
		Head:        r.size(&p, "head_bytes", m.GetHeadBytes()),
		Fields:      r.size(&p, "fields", m.GetFields()),
		Target:      r.size(&p, "target_bytes", m.GetTargetBytes()),
		Body:        r.amount(&p, "body_bytes", m.GetBodyBytes(), routing.Unlimited),
		AnswerHead:  r.size(&p, "answer_head_bytes", m.GetAnswerHeadBytes()),
		MinRate:     r.rate(&p, m.GetMinRate()),
		Connections: r.amount(&p, "connections", m.GetConnections()),
	}
}

// size reads a number of what is kept in memory.
func (r *reader) size(p *path, field string, n int64) int64 {
	if n < 0 || n > maxNumber>>1 {
		r.fault(p, field, "%d is out of bounds; 0 to %d is allowed", n, maxNumber>>1)
		return 0
	}
	return n
}

func (r *reader) rate(up *path, m *controlpb.Rate) routing.Rate {
	if m == nil {
		return routing.Rate{}
	}
	p := path{up: up, name: "min_rate"}
	rate := routing.Rate{
		Bytes:  r.amount(&p, "bytes", m.GetBytes(), routing.Any.Bytes),
		Window: r.time(&p, "window_ns", m.GetWindowNs()),
	}
	r.missing(&p, "window_ns", rate.Judges() && rate.Window == 0)
	return rate
}

func (r *reader) timeouts(up *path, m *controlpb.Timeouts) routing.Timeouts {
	if m == nil {
		return routing.Timeouts{}
	}
	p := path{up: up, name: "timeouts"}
	return routing.Timeouts{
		Head:              r.time(&p, "head_ns", m.GetHeadNs()),
		Connect:           r.time(&p, "connect_ns", m.GetConnectNs()),
		FirstByte:         r.time(&p, "first_byte_ns", m.GetFirstByteNs()),
		Idle:              r.time(&p, "idle_ns", m.GetIdleNs()),
		KeepAlive:         r.time(&p, "keep_alive_ns", m.GetKeepAliveNs()),
		UpstreamKeepAlive: r.time(&p, "upstream_keep_alive_ns", m.GetUpstreamKeepAliveNs()),
		Tunnel:            r.time(&p, "tunnel_ns", m.GetTunnelNs()),
		Total:             r.time(&p, "total_ns", m.GetTotalNs(), routing.Never),
		HalfClosed:        r.halfClosed(&p, m.GetHalfClosedNs()),
	}
}

// halfClosed is read apart: any time down to a nanosecond may be written.
func (r *reader) halfClosed(p *path, ns int64) time.Duration {
	if ns > 0 && ns < int64(minTime) {
		return time.Duration(ns)
	}
	return r.time(p, "half_closed_ns", ns, routing.Never, routing.AtOnce)
}

func (r *reader) load(up *path, m *controlpb.Load) routing.Load {
	if m == nil {
		return routing.Load{}
	}
	p := path{up: up, name: "load"}
	l := routing.Load{
		Requests:         r.amount(&p, "requests", m.GetRequests(), routing.Unlimited),
		InstanceRequests: r.amount(&p, "instance_requests", m.GetInstanceRequests(), routing.Unlimited),
		Queue:            r.amount(&p, "queue", m.GetQueue(), routing.NoQueue),
		QueueTime:        r.time(&p, "queue_time_ns", m.GetQueueTimeNs()),
	}
	if n := len(m.GetRates()); n > len(l.Rates) {
		r.fault(&p, "rates", "there are %d; at most %d are allowed", n, len(l.Rates))
	} else {
		for i, one := range m.GetRates() {
			l.Rates[i] = r.requestRate(&path{up: &p, name: "rates", index: i + 1}, one)
		}
	}
	l.Breaker = r.breaker(&p, m.GetBreaker())
	return l
}

func (r *reader) requestRate(p *path, m *controlpb.RequestRate) routing.RequestRate {
	key := path{up: p, name: "key"}
	rate := routing.RequestRate{
		Requests: r.amount(p, "requests", m.GetRequests()),
		Per:      r.time(p, "per_ns", m.GetPerNs()),
		Burst:    r.amount(p, "burst", m.GetBurst()),
		Key: routing.ClientKey{
			Source: word(r, &key, "source", m.GetKey().GetSource(), keySources),
			Name:   m.GetKey().GetName(),
		},
	}
	r.missing(p, "requests", rate.Requests == 0)
	r.missing(p, "per_ns", rate.Per == 0)
	r.missing(p, "burst", rate.Burst == 0)
	return rate
}

func (r *reader) breaker(up *path, m *controlpb.Breaker) routing.Breaker {
	if m == nil {
		return routing.Breaker{}
	}
	p := path{up: up, name: "breaker"}
	b := routing.Breaker{
		Never:      m.GetNever(),
		Errors:     r.share(&p, "errors_cp", m.GetErrorsCp()),
		Slow:       r.share(&p, "slow_cp", m.GetSlowCp()),
		SlowerThan: time.Duration(r.amount(&p, "slower_than_ns", m.GetSlowerThanNs())),
		Over:       r.time(&p, "over_ns", m.GetOverNs()),
		AtLeast:    r.amount(&p, "at_least", m.GetAtLeast()),
		OpenFor:    r.time(&p, "open_for_ns", m.GetOpenForNs()),
		Trials:     r.amount(&p, "trials", m.GetTrials()),
	}
	r.missing(&p, "over_ns", b.Breaks() && b.Over == 0)
	r.missing(&p, "at_least", b.Breaks() && b.AtLeast == 0)
	r.missing(&p, "open_for_ns", b.Breaks() && b.OpenFor == 0)
	r.missing(&p, "trials", b.Breaks() && b.Trials == 0)
	return b
}

func (r *reader) retries(up *path, m *controlpb.Retries) routing.Retries {
	if m == nil {
		return routing.Retries{}
	}
	p := path{up: up, name: "retries"}
	all := routing.Retries{
		Attempts: r.number(&p, "attempts", m.GetAttempts(), maxNumber),
		Budget:   r.share(&p, "budget_cp", m.GetBudgetCp()),
		Spare:    r.amount(&p, "spare", m.GetSpare()),
		Written:  m.GetWritten(),
	}
	r.statuses(&p, "statuses", m.GetStatuses(), firstRetried, lastRetried, all.Statuses.Add)
	if n := len(m.GetMethods()); n > len(all.Methods) {
		r.fault(&p, "methods", "there are %d; at most %d are allowed", n, len(all.Methods))
		return all
	}
	for i, method := range m.GetMethods() {
		if method == "" {
			r.fault(&path{up: &p, name: "methods", index: i + 1}, "", "it is empty")
		}
		all.Methods[i] = method
	}
	return all
}

func (r *reader) health(up *path, m *controlpb.HealthCheck) routing.Health {
	if m == nil {
		return routing.Health{}
	}
	p := path{up: up, name: "health"}
	h := routing.Health{
		Kind:    word(r, &p, "kind", m.GetKind(), healthKinds),
		Every:   r.time(&p, "every_ns", m.GetEveryNs()),
		Timeout: r.time(&p, "timeout_ns", m.GetTimeoutNs()),
		Fall:    r.number(&p, "fall", m.GetFall(), maxNumber),
		Rise:    r.number(&p, "rise", m.GetRise(), maxNumber),
		Panic:   r.share(&p, "panic_cp", m.GetPanicCp()),
		Service: m.GetService(),
		Method:  m.GetMethod(),
		Path:    m.GetPath(),
		Host:    m.GetHost(),
		Fields:  m.GetFields(),
		Body:    m.GetBody(),
	}
	r.statuses(&p, "status", m.GetStatus(), 0, lastStatus, adder(&h.Status))
	if h.Kind != routing.HealthUnwritten && h.Kind != routing.HealthNone {
		r.missing(&p, "every_ns", h.Every == 0)
		r.missing(&p, "timeout_ns", h.Timeout == 0)
		r.missing(&p, "fall", h.Fall == 0)
		r.missing(&p, "rise", h.Rise == 0)
	}
	return h
}

func (r *reader) ejection(up *path, m *controlpb.Ejection) routing.Ejection {
	if m == nil {
		return routing.Ejection{}
	}
	p := path{up: up, name: "ejection"}
	e := routing.Ejection{
		Off:      m.GetOff(),
		Failures: r.number(&p, "failures", m.GetFailures(), maxNumber),
		Connects: r.number(&p, "connects", m.GetConnects(), maxNumber),
		Errors:   r.share(&p, "errors_cp", m.GetErrorsCp()),
		Over:     r.time(&p, "over_ns", m.GetOverNs()),
		AtLeast:  r.number(&p, "at_least", m.GetAtLeast(), maxNumber),
		Time:     r.time(&p, "time_ns", m.GetTimeNs()),
		MostTime: r.time(&p, "most_time_ns", m.GetMostTimeNs()),
		Most:     r.share(&p, "most_cp", m.GetMostCp()),
	}
	r.statuses(&p, "statuses", m.GetStatuses(), 0, lastStatus, adder(&e.Statuses))
	if !e.Off {
		r.missing(&p, "over_ns", e.Errors > 0 && e.Over == 0)
		r.missing(&p, "time_ns", e.Time == 0)
		r.missing(&p, "most_time_ns", e.MostTime == 0)
	}
	return e
}

// adder returns what adds a status to a set.
func adder(s *routing.StatusSet) func(int) {
	return func(code int) { s[code>>6] |= 1 << (code & 63) }
}

// statuses reads ranges of statuses in their one form: ascending, with gaps
// between them.
func (r *reader) statuses(up *path, field string, ranges []*controlpb.Range, first, last uint32, add func(int)) {
	next := first
	for i, one := range ranges {
		from, to := one.GetFrom(), one.GetTo()
		if from < next || to < from || to > last {
			r.fault(&path{up: up, name: field, index: i + 1}, "", "%d-%d is out of bounds or order; %d-%d is left", from, to, next, last)
			return
		}
		for code := from; code <= to; code++ {
			add(int(code))
		}
		next = to + 2
	}
}
