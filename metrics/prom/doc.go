// SPDX-License-Identifier: Apache-2.0

// Package prom shows a metrics.Registry to Prometheus and what understands
// its formats: the text format, OpenMetrics and protobuf, negotiated by the
// Accept header. Text carries classic histograms with two buckets in a
// doubling; protobuf carries native ones as well, with all four.
package prom
