// SPDX-License-Identifier: Apache-2.0

package metrics

import (
	"cmp"
	"runtime"
)

// Kind is the kind of a family.
type Kind uint8

// The kinds.
const (
	KindCounter Kind = iota
	KindGauge
	KindHistogram
)

// String returns the kind as the exposition names it.
func (k Kind) String() string {
	return [...]string{"counter", "gauge", "histogram"}[k]
}

// Family describes the series of one name.
type Family struct {
	Name   string
	Help   string
	Kind   Kind
	Labels []string // in order; nil if there are none

	perSeries bool // counted for gateways, routes or conditions, not as a process-wide value
}

func family(kind Kind, name, help string, labels ...string) Family {
	return Family{Name: name, Help: help, Kind: kind, Labels: labels}
}

func perSeries(kind Kind, name, help string, labels ...string) Family {
	f := family(kind, name, help, labels...)
	f.perSeries = true
	return f
}

// What routes count.
var (
	Requests = perSeries(KindCounter, "sluice_requests_total",
		"Exchanges that ended, by route and class of the status sent.", "code", "gateway", "route")
	RequestDuration = perSeries(KindHistogram, "sluice_request_duration_seconds",
		"Time from the first byte of the request to the last byte of the answer, by route.", "gateway", "route")
	UpstreamDuration = perSeries(KindHistogram, "sluice_upstream_duration_seconds",
		"Time that the instance took of it, by route.", "gateway", "route")
	RequestBytes = perSeries(KindCounter, "sluice_request_bytes_total",
		"Size of the requests, heads included, by route.", "gateway", "route")
	ResponseBytes = perSeries(KindCounter, "sluice_response_bytes_total",
		"Size of the answers, heads included, by route.", "gateway", "route")
	RequestsInFlight = perSeries(KindGauge, "sluice_requests_in_flight",
		"Exchanges that began and did not end yet, by route.", "gateway", "route")
	RouteDecided = perSeries(KindCounter, "sluice_route_decided_total",
		"Exchanges that began, by route and by what gave them to it.", "by", "gateway", "route")
	ProxyErrors = perSeries(KindCounter, "sluice_proxy_errors_total",
		"Answers of the proxy's own making, by route and reason.", "gateway", "reason", "route")
	RouteWeight = perSeries(KindGauge, "sluice_route_weight_ratio",
		"Share of the requests decided by weight: asked for, and achieved since the weights changed.", "gateway", "kind", "route")
)

// What routes count of tunnels: connections that changed their protocol, and
// those of tcp gateways.
var (
	TunnelsOpen = perSeries(KindGauge, "sluice_tunnels_open",
		"Tunnels that are open, by route.", "gateway", "route")
	TunnelsEnded = perSeries(KindCounter, "sluice_tunnels_ended_total",
		"Tunnels that ended, by route and by what ended them.", "end", "gateway", "route")
	TunnelBytes = perSeries(KindCounter, "sluice_tunnel_bytes_total",
		"Bytes moved through tunnels so far, by route and direction: in from clients, out to them.", "direction", "gateway", "route")
)

// GRPCResponses is what routes count of calls of gRPC.
var GRPCResponses = perSeries(KindCounter, "sluice_grpc_responses_total",
	"Calls of gRPC that ended with a status, by route and status.", "gateway", "grpc_status", "route")

// What those count who bound how much there is to do on a route.
var (
	RequestsQueued = perSeries(KindGauge, "sluice_requests_queued",
		"Exchanges that wait since as many are under way as may, by route.", "gateway", "route")
	BreakerState = perSeries(KindGauge, "sluice_breaker_state",
		"State of the breaker of a route: 0 it is closed, 1 open, 2 half open.", "gateway", "route")
	BreakerOpened = perSeries(KindCounter, "sluice_breaker_opened_total",
		"How often the breaker of a route opened.", "gateway", "route")
)

// What routes count of requests that were tried again.
var (
	RouteRetriesTotal = perSeries(KindCounter, "sluice_route_retries_total",
		"Attempts at another instance, by route and outcome: begun, or not allowed since the budget was spent.", "gateway", "outcome", "route")
	RetryBudget = perSeries(KindGauge, "sluice_retry_budget_ratio",
		"Share of the retries that may be under way on a route that is.", "gateway", "route")
)

// What those count who look after the instances of a route.
var (
	InstancesKnown = perSeries(KindGauge, "sluice_instances",
		"Instances of a route, by state.", "gateway", "route", "state")
	InstanceEjections = perSeries(KindCounter, "sluice_instance_ejections_total",
		"Instances of a route that were left alone for a while, by what they did.", "cause", "gateway", "route")
	HealthChecks = perSeries(KindCounter, "sluice_health_checks_total",
		"Health checks that were made of instances of a route, by result.", "gateway", "result", "route")
	InstancesPanic = perSeries(KindGauge, "sluice_instances_panic",
		"Whether all instances of a route are used since too few are usable: 1 if so.", "gateway", "route")
	InstancesPanics = perSeries(KindCounter, "sluice_instances_panics_total",
		"How often it came to that, by route.", "gateway", "route")
)

// What gateways count.
var (
	GatewayRequests = perSeries(KindCounter, "sluice_gateway_requests_total",
		"Exchanges that ended, by gateway and class of the status sent.", "code", "gateway")
	GatewayRequestDuration = perSeries(KindHistogram, "sluice_gateway_request_duration_seconds",
		"Time from the first byte of the request to the last byte of the answer, by gateway.", "gateway")
	GatewayRequestBytes = perSeries(KindCounter, "sluice_gateway_request_bytes_total",
		"Size of the requests, heads included, by gateway.", "gateway")
	GatewayResponseBytes = perSeries(KindCounter, "sluice_gateway_response_bytes_total",
		"Size of the answers, heads included, by gateway.", "gateway")
	GatewayRequestsInFlight = perSeries(KindGauge, "sluice_gateway_requests_in_flight",
		"Exchanges that began and did not end yet, by gateway.", "gateway")
	GatewayProxyErrors = perSeries(KindCounter, "sluice_gateway_proxy_errors_total",
		"Answers of the proxy's own making, by gateway and reason.", "gateway", "reason")
)

// What conditions count.
var (
	ConditionEvaluations = perSeries(KindCounter, "sluice_condition_evaluations_total",
		"Requests for which the condition was asked.", "condition", "gateway", "route")
	ConditionMatches = perSeries(KindCounter, "sluice_condition_matches_total",
		"Requests for which the condition held.", "condition", "gateway", "route")
	ConditionSelected = perSeries(KindCounter, "sluice_condition_selected_total",
		"Requests that the condition took for its route.", "condition", "gateway", "route")
)

// What the process counts.
var (
	TableVersion = family(KindGauge, "sluice_table_version",
		"Revision of the table that serves.")
	TableAge = family(KindGauge, "sluice_table_age_seconds",
		"Time since the table that serves was received.")
	TableRejected = family(KindCounter, "sluice_table_rejected_total",
		"Changes that were not taken over, by reason.", "reason")
	ConnectionsOpen = family(KindGauge, "sluice_connections_open",
		"Connections that are open, by kind.", "kind")
	ConnectionsRefused = family(KindCounter, "sluice_connections_refused_total",
		"Connections that were refused when they came, by reason.", "reason")
	TLSHandshakes = family(KindCounter, "sluice_tls_handshakes_total",
		"Handshakes of TLS, by who the other side is, how they ended, and why they failed.", "kind", "reason", "result")
	TLSCertificateNotAfter = family(KindGauge, "sluice_tls_certificate_not_after_seconds",
		"Time at which a certificate that is in use ends, in seconds since 1970, by the name of its file.", "certificate")
	TLSCertificateReloads = family(KindCounter, "sluice_tls_certificate_reloads_total",
		"Files of certificates and keys that were read anew, by result.", "result")
	HTTP2StreamsRefused = family(KindCounter, "sluice_http2_streams_refused_total",
		"Requests by HTTP/2 that were refused before they were one for a gateway, by reason.", "reason")
	HTTP2ConnectionsEnded = family(KindCounter, "sluice_http2_connections_ended_total",
		"Connections of HTTP/2 from clients that the proxy ended, by reason.", "reason")
	OverloadLevel = family(KindGauge, "sluice_overload_level",
		"How short memory is: 0 it is not, 1 connections are not kept, 2 new connections and requests are refused.")
	RequestsRefused = family(KindCounter, "sluice_requests_refused_total",
		"Requests that reached no gateway, by reason.", "reason")
	Retries = family(KindCounter, "sluice_retries_total",
		"Attempts at another instance, or on a fresh connection, by outcome.", "outcome")
	EditsSkipped = family(KindCounter, "sluice_edits_skipped_total",
		"Rewrites and header fields that were left out since a request made no valid one of them, by kind.", "kind")
	Panics = family(KindCounter, "sluice_panics_total",
		"Faults in the proxy that ended one exchange.")
	Unaccounted = family(KindGauge, "sluice_exchanges_unaccounted",
		"Exchanges that are over for the connections which carried them and for no gateway; below 0: that ended more than once. Always 0.")
	SeriesOverflow = family(KindCounter, "sluice_series_overflow_total",
		"Times that a gateway or route above the limit of series was bound to the series \"other\".")
	RateKeysForgotten = family(KindCounter, "sluice_rate_keys_forgotten_total",
		"Keys that a rate forgot while they still counted, since there were too many.")
	BuildInfo = family(KindGauge, "sluice_build_info",
		"What this binary was built from; always 1.", "goversion", "revision", "version")
)

// Families returns the families of this package.
func Families() []Family {
	return []Family{
		Requests, RequestDuration, UpstreamDuration, RequestBytes, ResponseBytes,
		RequestsInFlight, RouteDecided, ProxyErrors, RouteWeight, RequestsQueued, BreakerState, BreakerOpened,
		RouteRetriesTotal, RetryBudget,
		TunnelsOpen, TunnelsEnded, TunnelBytes, GRPCResponses,
		InstancesKnown, InstanceEjections, HealthChecks, InstancesPanic, InstancesPanics,
		GatewayRequests, GatewayRequestDuration, GatewayRequestBytes, GatewayResponseBytes,
		GatewayRequestsInFlight, GatewayProxyErrors,
		ConditionEvaluations, ConditionMatches, ConditionSelected,
		TableVersion, TableAge, TableRejected, ConnectionsOpen, ConnectionsRefused, TLSHandshakes, TLSCertificateNotAfter, TLSCertificateReloads, HTTP2StreamsRefused, HTTP2ConnectionsEnded, OverloadLevel, RequestsRefused, Retries, EditsSkipped, RateKeysForgotten, Panics, Unaccounted, SeriesOverflow, BuildInfo,
		ControlProxies, ControlSessionsEnded, ControlSessionsRefused, ControlMessagesDropped, ControlUpdates, ControlUpdateBytes, ControlConvergence,
		ControlConnected, ControlReconnects, TableStale, TableIgnored, TableHeldBack, TableDiskWrites, TableDiskDamaged,
		ControlSeries, ControlSeriesLeftOut, ControlEvents, ControlEventStreams, ControlEventStreamsEnded,
		DiscoveryObjects, DiscoveryHeldBack, DiscoveryStale,
		KubernetesLeader, KubernetesWrites,
	}
}

// TableVersion returns the gauge of the serving table's revision.
func (r *Registry) TableVersion() *Gauge {
	return r.Gauge(TableVersion.Name, TableVersion.Help)
}

// TableAge makes seconds the age of the serving table.
func (r *Registry) TableAge(seconds func() float64) {
	r.GaugeFunc(TableAge.Name, TableAge.Help, seconds)
}

// TableRejected returns the counter of changes refused for a reason. Reasons
// are words of the program, never texts of a user.
func (r *Registry) TableRejected(reason string) *Counter {
	return r.Counter(TableRejected.Name, TableRejected.Help, Label{"reason", reason})
}

// ConnectionsOpen returns the gauge of open connections of a kind, such as
// client or upstream. Those of clients that speak HTTP/2 are of kind h2 as
// well.
func (r *Registry) ConnectionsOpen(kind string) *Gauge {
	return r.Gauge(ConnectionsOpen.Name, ConnectionsOpen.Help, Label{"kind", kind})
}

// ConnectionsRefused returns the counter of connections that were refused for
// a reason, such as connection_limit.
func (r *Registry) ConnectionsRefused(reason string) *Counter {
	return r.Counter(ConnectionsRefused.Name, ConnectionsRefused.Help, Label{"reason", reason})
}

// TLSHandshakes returns the counter of handshakes with clients or instances,
// kind "client" or "upstream", that ended in a result, "ok", "resumed" or
// "failed". The reason is "none" unless they failed.
func (r *Registry) TLSHandshakes(kind, result, reason string) *Counter {
	return r.Counter(TLSHandshakes.Name, TLSHandshakes.Help, Label{"kind", kind}, Label{"result", result}, Label{"reason", reason})
}

// TLSCertificateNotAfter makes each what tells of the certificates in use when
// they end.
func (r *Registry) TLSCertificateNotAfter(each func(yield func(file string, seconds float64) bool)) {
	r.GaugeEach(TLSCertificateNotAfter.Name, TLSCertificateNotAfter.Help, func(yield func(float64, ...Label) bool) {
		each(func(file string, seconds float64) bool { return yield(seconds, Label{"certificate", file}) })
	})
}

// TLSCertificateReloads returns the counter of files that were read anew with
// a result, "ok" or "failed".
func (r *Registry) TLSCertificateReloads(result string) *Counter {
	return r.Counter(TLSCertificateReloads.Name, TLSCertificateReloads.Help, Label{"result", result})
}

// HTTP2StreamsRefused returns the counter of streams that were refused for a
// reason.
func (r *Registry) HTTP2StreamsRefused(reason string) *Counter {
	return r.Counter(HTTP2StreamsRefused.Name, HTTP2StreamsRefused.Help, Label{"reason", reason})
}

// HTTP2ConnectionsEnded returns the counter of connections of clients that
// the proxy ended for a reason, such as age.
func (r *Registry) HTTP2ConnectionsEnded(reason string) *Counter {
	return r.Counter(HTTP2ConnectionsEnded.Name, HTTP2ConnectionsEnded.Help, Label{"reason", reason})
}

// OverloadLevel makes level what tells how short memory is: 0, 1 or 2.
func (r *Registry) OverloadLevel(level func() float64) {
	r.GaugeFunc(OverloadLevel.Name, OverloadLevel.Help, level)
}

// RequestsRefused returns the counter of requests that reached no gateway for
// a reason, such as no_gateway.
func (r *Registry) RequestsRefused(reason string) *Counter {
	return r.Counter(RequestsRefused.Name, RequestsRefused.Help, Label{"reason", reason})
}

// Retries returns the counter of further attempts with an outcome.
func (r *Registry) Retries(outcome string) *Counter {
	return r.Counter(Retries.Name, Retries.Help, Label{"outcome", outcome})
}

// EditsSkipped returns the counter of edits of a kind that were left out.
func (r *Registry) EditsSkipped(kind string) *Counter {
	return r.Counter(EditsSkipped.Name, EditsSkipped.Help, Label{"kind", kind})
}

// Panics returns the counter of faults that ended one exchange.
func (r *Registry) Panics() *Counter {
	return r.Counter(Panics.Name, Panics.Help)
}

// BuildInfo says what the binary was built from. Empty texts read "unknown".
func (r *Registry) BuildInfo(version, revision string) {
	r.Gauge(BuildInfo.Name, BuildInfo.Help,
		Label{"version", cmp.Or(version, "unknown")},
		Label{"revision", cmp.Or(revision, "unknown")},
		Label{"goversion", runtime.Version()},
	).Set(1)
}
