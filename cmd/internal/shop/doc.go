// SPDX-License-Identifier: Apache-2.0

// Package shop is the small web shop that the lab puts behind its gateways:
// two versions, two instances each, with knobs to make a version slow or
// broken, and a load of gentle customers.
package shop
