// SPDX-License-Identifier: Apache-2.0

// Package siege proves, with the real binary, that a gateway stays available
// when clients are slow, many, or ask for more than there is: what it takes of
// memory and descriptors is bounded and comes back, and what it answers under
// overload is nearly all that its instances can answer.
//
// The tests are short and small as part of make test. With the build tag slow
// they last as long, and take as many clients, as is promised; make test-slow
// runs them so, and slowhttptest besides.
package siege
