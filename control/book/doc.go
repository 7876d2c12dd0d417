// SPDX-License-Identifier: Apache-2.0

// Package book adds up what all proxies count: the series of one gateway or
// route, as if one proxy had carried all of its traffic.
//
// # Merging
//
// Proxies tell what they counted since they started. Of each the book keeps
// what it was told last, and takes the difference as new: a message that was
// lost is made up by the next one, a proxy that comes back goes on where it
// was, and one that started anew begins at 0. So the totals never fall.
// What stands at one moment, such as exchanges in flight, is the sum over the
// proxies that are connected.
//
// # Windows
//
// Rates and quantiles are of the last 10 s, minute or 5 min. A window is a
// ring of steps, of 2 s, 10 s and 60 s, and what it covers is between its
// length and one step more. Times are those of this process, when messages
// came; clocks of proxies are only compared with themselves. What a proxy
// counted while nobody heard it is spread over that time.
//
// # Memory
//
// A series that counted nothing costs nothing. Series, proxies and what is
// remembered of each proxy are bounded, see [Options]; what is above a bound
// is left out of the figures and counted.
package book
