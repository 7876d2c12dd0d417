// SPDX-License-Identifier: Apache-2.0

// Package controlpb holds the messages between the control plane and its
// proxies, generated from control.proto. What they mean in the vocabulary of
// routing is in control/wire.
package controlpb

//go:generate ./generate.sh
