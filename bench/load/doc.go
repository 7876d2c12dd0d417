// SPDX-License-Identifier: Apache-2.0

// Package load offers requests to a server through real connections and
// measures what comes back.
//
// # Closed and open loop
//
// In a closed loop each connection sends its next request when it has the
// answer to the last. That finds the highest rate a server reaches, and says
// little about latency: a server that stalls for a second stops the generator
// for that second, so the requests that would have suffered are never sent and
// the stall shows as one slow request a connection. This is called coordinated
// omission.
//
// An open loop sends by the clock, as independent clients do. The k-th request
// is due at start + k/rate, whatever became of those before it; it goes out on
// the connection that has been free for longest, and when none is free it
// waits. Its latency counts from when it was due, so that the wait counts. The
// requests still without an answer at the end are counted with the time they
// have waited by then, which is less than they would have waited: a server that
// hangs until the end does not look fast.
//
// # What is counted
//
// A run opens its connections, warms up, and then measures. A closed loop
// counts the answers that arrive in the measured time, so that its rate is
// exact; an open loop counts the requests that are due in it, so that each of
// them is answered, failed, unanswered or unsent:
//
//	Scheduled == Requests + Failed() + Unanswered + Unsent
//
// What has no answer at the end is not an error. Latencies are those of
// answers, of any status; failures have none. No request is sent twice: one
// that goes out on a connection which the server ends at that moment has
// failed. A connection that ends while no request is out is replaced when the
// next one needs it, and so is one on which the server speaks unasked.
//
// # Precision
//
// On Linux, without TLS, all connections belong to one loop over epoll on one
// locked thread, which makes its socket calls without telling Go's scheduler
// and allocates nothing for a request. It sleeps by epoll_pwait2, which takes
// nanoseconds, with the thread's timer slack set to 1 ns; on a kernel before
// 5.11 it sleeps whole milliseconds and spins for the rest. Elsewhere, and over
// TLS, each connection has a goroutine. [Result.Behind] says how late the
// generator itself has been at worst; where it is not small against the
// latencies, the generator lacked CPU and the figures are its own.
package load
