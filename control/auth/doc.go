// SPDX-License-Identifier: Apache-2.0

// Package auth says who a peer of the control plane is, and what a person may
// ask of it.
//
// # Peers
//
// Proxies and control planes are told apart by certificates of an [Authority]
// of our own. A certificate names its [Identity] by URIs, one a namespace:
//
//	sluice://ORGANISATION/ENVIRONMENT/proxy/NODE
//	sluice://ORGANISATION/ENVIRONMENT/control/NODE
//	sluice:///control/NODE                          a control plane of all namespaces
//
// Other URIs in a certificate do not count. [Credentials] are the files of one
// peer, and speak TLS 1.3 with them, always by what the files hold at present.
// They share nothing with the files of gateways: those are many, counted and
// chosen by the name that a client asks for, and what is left in common is to
// read a file and to compare it.
//
// A proxy that has no certificate yet shows a join token instead, over TLS
// alone.
//
// # People
//
// Whoever uses the API shows a token that grants a [Rank] in each of some
// namespaces. What is not granted is denied.
//
// [Tokens] issues both kinds. A token is shown once, when it is made: what is
// kept is its SHA-256, which is as good as a slow hash here, since 256 random
// bits cannot be guessed. Nothing in this package writes a key or a token to an
// error or a log.
package auth
