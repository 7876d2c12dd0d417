// SPDX-License-Identifier: Apache-2.0

// Package boot holds what every process of the project does before its own
// work starts: it names its version, opens its log, reads its settings and
// turns signals into contexts.
package boot
