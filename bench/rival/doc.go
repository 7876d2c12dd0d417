// SPDX-License-Identifier: Apache-2.0

// Package rival starts the proxies that are measured, all of them alike: each
// does the same work for the same two instances, on one processor, with a
// configuration of which its authors would approve. The configurations are in
// the folder configs.
//
// The work: a request with X-Canary: yes goes to a route for it, all others to
// three routes by the weights 60, 30 and 10. Each route has the instances a
// and b, which take turns. Connections are kept on both sides, the client's
// address is told in X-Forwarded-For, each request gets an X-Request-Id of its
// own, and nothing is logged.
//
// Two other modes vary it. Over TLS the same is done, with a whole handshake
// for each connection unless the client resumes one; key exchange, cipher and
// kind of certificate are the same for all. Forwarding connections, nobody looks
// into them: each goes to one of the three routes, and all that it carries with
// it.
//
// It is not quite the same: Sluice also tells X-Forwarded-Proto, -Port and
// -Host, and counts and times every request for its metrics. HAProxy counts
// them, nginx does not. Sluice's weights are exact, those of the others are
// drawn.
//
// Programs are found where they are installed and stopped with who started
// them, by whatever that ends. Pinning and accounting need Linux.
package rival
