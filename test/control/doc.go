// SPDX-License-Identifier: Apache-2.0

// Package control proves, with the binary as users run it, what a mesh
// promises of its control plane: whatever becomes of it, traffic does not
// fail, and what proxies serve changes only by rule. Control planes are
// killed, stopped, parted from their proxies, replaced by ones that talk
// nonsense, restored, emptied and filled up, while clients with kept and with
// new connections count every request that fails. There are only tests here.
package control
