// SPDX-License-Identifier: Apache-2.0

package metrics

// What a proxy counts that follows a control plane.
var (
	ControlConnected = family(KindGauge, "sluice_control_connected",
		"Whether this proxy has a session with its control plane in which a table came: 1 or 0.")
	ControlReconnects = family(KindCounter, "sluice_control_reconnects_total",
		"Attempts of this proxy at a session with its control plane after the first.")
	TableStale = family(KindGauge, "sluice_table_stale_seconds",
		"Time since the table that serves was known to be the newest; 0 while this proxy is connected.")
	TableIgnored = family(KindCounter, "sluice_table_ignored_total",
		"Tables and sessions that this proxy did not believe, by reason.", "reason")
	TableHeldBack = family(KindGauge, "sluice_table_held_back",
		"Gateways that seem to be gone and are kept.")
	TableDiskWrites = family(KindCounter, "sluice_table_disk_writes_total",
		"Attempts to write the last good table to disk, by result.", "result")
	TableDiskDamaged = family(KindGauge, "sluice_table_disk_damaged",
		"Files with tables that could not be used when this proxy started.")
)

// ControlConnected returns the gauge of whether there is a session.
func (r *Registry) ControlConnected() *Gauge {
	return r.Gauge(ControlConnected.Name, ControlConnected.Help)
}

// ControlReconnects returns the counter of attempts after the first.
func (r *Registry) ControlReconnects() *Counter {
	return r.Counter(ControlReconnects.Name, ControlReconnects.Help)
}

// TableStale makes seconds tell how long the table that serves may be stale.
func (r *Registry) TableStale(seconds func() float64) {
	r.GaugeFunc(TableStale.Name, TableStale.Help, seconds)
}

// TableIgnored returns the counter of what was not believed for a reason, such
// as older.
func (r *Registry) TableIgnored(reason string) *Counter {
	return r.Counter(TableIgnored.Name, TableIgnored.Help, Label{"reason", reason})
}

// TableHeldBack returns the gauge of gateways that are held back.
func (r *Registry) TableHeldBack() *Gauge {
	return r.Gauge(TableHeldBack.Name, TableHeldBack.Help)
}

// TableDiskWrites returns the counter of writes with a result, "ok" or
// "failed".
func (r *Registry) TableDiskWrites(result string) *Counter {
	return r.Counter(TableDiskWrites.Name, TableDiskWrites.Help, Label{"result", result})
}

// TableDiskDamaged returns the gauge of files that could not be used.
func (r *Registry) TableDiskDamaged() *Gauge {
	return r.Gauge(TableDiskDamaged.Name, TableDiskDamaged.Help)
}
