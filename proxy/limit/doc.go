// SPDX-License-Identifier: Apache-2.0

// Package limit says which exchanges may begin while there are too many of
// them: Slots bound how many are under way at once, a Rate how many begin in a
// time, and a Breaker keeps them from what fails anyway.
//
// All of it is atomic numbers: no exchange waits for another one's lock, no
// goroutine and no timer runs while nobody waits for a slot, and none of it
// grows with the number of clients. Times are handed in, in nanoseconds on any
// clock that never goes back.
package limit
