// SPDX-License-Identifier: Apache-2.0

// Package chaos holds what clients see while everything behind the proxy goes
// wrong. The binary stands in front of three origins, processes of their own,
// which are restarted in order, killed, and which stall, break off and talk
// nonsense, while clients go on asking and the weights keep changing.
//
// Clients know each answer byte by byte before it comes, and origins note on
// disk what they acted on. So it is known of every single request whether it
// was answered, failed for a reason, or was acted on twice; in the end the
// books of clients, of origins and of the proxy's metrics must agree.
//
// A run takes some seconds; -chaos.time makes it longer, -chaos.seed repeats
// the choices of another one.
package chaos
