// SPDX-License-Identifier: Apache-2.0

package metrics

// What a control plane counts of the proxies that it hands tables to.
var (
	ControlProxies = family(KindGauge, "sluice_control_proxies",
		"Proxies that are connected to this control plane, by state.", "state")
	ControlSessionsEnded = family(KindCounter, "sluice_control_sessions_ended_total",
		"Sessions of proxies that ended, by reason.", "reason")
	ControlSessionsRefused = family(KindCounter, "sluice_control_sessions_refused_total",
		"Proxies that were not let in, by reason.", "reason")
	ControlMessagesDropped = family(KindCounter, "sluice_control_messages_dropped_total",
		"Messages of proxies that were not taken in, by reason.", "reason")
	ControlUpdates = family(KindCounter, "sluice_control_updates_total",
		"Updates of tables that were sent to proxies.")
	ControlUpdateBytes = family(KindCounter, "sluice_control_update_bytes_total",
		"Size of the updates of tables that were sent to proxies.")
	ControlConvergence = family(KindHistogram, "sluice_control_convergence_seconds",
		"Time from a change until all proxies of its namespace served it, by kind of change.", "kind")
	ControlSeries = family(KindGauge, "sluice_control_series",
		"Gateways, routes and conditions of which figures of all proxies are kept.")
	ControlSeriesLeftOut = family(KindCounter, "sluice_control_series_left_out_total",
		"Numbers of proxies that were left out of the figures since there was no room.")
	ControlEvents = family(KindCounter, "sluice_control_events_total",
		"Events that were to be stored, by result.", "result")
	ControlEventStreams = family(KindGauge, "sluice_control_event_streams",
		"Streams of events that are open.")
	ControlEventStreamsEnded = family(KindCounter, "sluice_control_event_streams_ended_total",
		"Streams of events that ended, or were not begun, by reason.", "reason")
	KubernetesLeader = family(KindGauge, "sluice_kubernetes_leader",
		"Whether this control plane is the one that writes to Kubernetes: 1 or 0.")
	KubernetesWrites = family(KindCounter, "sluice_kubernetes_writes_total",
		"Writes to Kubernetes, by kind of object and result.", "object", "result")
)

// ControlProxies makes each what tells how many proxies are in which state.
func (r *Registry) ControlProxies(each func(yield func(state string, proxies int) bool)) {
	r.GaugeEach(ControlProxies.Name, ControlProxies.Help, func(yield func(float64, ...Label) bool) {
		each(func(state string, proxies int) bool { return yield(float64(proxies), Label{"state", state}) })
	})
}

// ControlSessionsEnded returns the counter of sessions that ended for a
// reason, such as closed.
func (r *Registry) ControlSessionsEnded(reason string) *Counter {
	return r.Counter(ControlSessionsEnded.Name, ControlSessionsEnded.Help, Label{"reason", reason})
}

// ControlSessionsRefused returns the counter of proxies that were not let in
// for a reason, such as identity.
func (r *Registry) ControlSessionsRefused(reason string) *Counter {
	return r.Counter(ControlSessionsRefused.Name, ControlSessionsRefused.Help, Label{"reason", reason})
}

// ControlMessagesDropped returns the counter of messages of proxies that were
// not taken in for a reason, such as rate.
func (r *Registry) ControlMessagesDropped(reason string) *Counter {
	return r.Counter(ControlMessagesDropped.Name, ControlMessagesDropped.Help, Label{"reason", reason})
}

// ControlUpdates returns the counter of updates that were sent.
func (r *Registry) ControlUpdates() *Counter {
	return r.Counter(ControlUpdates.Name, ControlUpdates.Help)
}

// ControlUpdateBytes returns the counter of their bytes.
func (r *Registry) ControlUpdateBytes() *Counter {
	return r.Counter(ControlUpdateBytes.Name, ControlUpdateBytes.Help)
}

// ControlConvergence returns the histogram of how long changes of a kind,
// config or endpoints, took until all proxies served them.
func (r *Registry) ControlConvergence(kind string) *Durations {
	return r.Durations(ControlConvergence.Name, ControlConvergence.Help, Label{"kind", kind})
}

// ControlSeries makes series what tells of how many gateways, routes and
// conditions there are figures.
func (r *Registry) ControlSeries(series func() float64) {
	r.GaugeFunc(ControlSeries.Name, ControlSeries.Help, series)
}

// ControlSeriesLeftOut returns the counter of numbers that were left out of
// the figures.
func (r *Registry) ControlSeriesLeftOut() *Counter {
	return r.Counter(ControlSeriesLeftOut.Name, ControlSeriesLeftOut.Help)
}

// ControlEvents returns the counter of events that came to a result: stored,
// dropped since too many waited, or failed.
func (r *Registry) ControlEvents(result string) *Counter {
	return r.Counter(ControlEvents.Name, ControlEvents.Help, Label{"result", result})
}

// ControlEventStreams returns the gauge of open streams of events.
func (r *Registry) ControlEventStreams() *Gauge {
	return r.Gauge(ControlEventStreams.Name, ControlEventStreams.Help)
}

// ControlEventStreamsEnded returns the counter of streams of events that ended
// for a reason, such as slow.
func (r *Registry) ControlEventStreamsEnded(reason string) *Counter {
	return r.Counter(ControlEventStreamsEnded.Name, ControlEventStreamsEnded.Help, Label{"reason", reason})
}

// KubernetesLeader returns the gauge of whether this control plane writes to
// Kubernetes.
func (r *Registry) KubernetesLeader() *Gauge {
	return r.Gauge(KubernetesLeader.Name, KubernetesLeader.Help)
}

// KubernetesWrites returns the counter of writes to a kind of objects, such as
// service, that came to a result: done or failed.
func (r *Registry) KubernetesWrites(object, result string) *Counter {
	return r.Counter(KubernetesWrites.Name, KubernetesWrites.Help, Label{"object", object}, Label{"result", result})
}
