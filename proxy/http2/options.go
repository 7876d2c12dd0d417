// SPDX-License-Identifier: Apache-2.0

package http2

import (
	"cmp"
	"time"
)

// Options shape connections of one role. The zero Options are ready to use.
type Options struct {
	// Streams is how many streams a client may have open at a time. Zero means
	// 100.
	Streams int
	// HeaderList is how many bytes a header list may have, each field counted
	// with 32 more (RFC 9113 section 6.5.2). Zero means 32 KB.
	HeaderList int
	// StreamWindow and ConnWindow are how many bytes of content may be on their
	// way to us, of one stream and of all of a connection. What is kept unread of
	// a stream is within the first, and of all streams of a client within the
	// second. Zero means 256 KB, 128 KB from instances, and 1 MB.
	StreamWindow, ConnWindow int
	// FrameSize is the largest payload that is taken. Zero means 16 KB, the least
	// that there is.
	FrameSize int
	// MaxAge is how old a client's connection becomes, give or take a tenth of
	// it, before the client is asked to make another. Zero means any age.
	MaxAge time.Duration
	// MaxAgeGrace is how long the streams of a connection that is too old may
	// take. Zero means 30 s.
	MaxAgeGrace time.Duration
	// Idle is how long a client's connection may be without streams before it is
	// closed. Zero means for ever.
	Idle time.Duration
	// Ping is after how long without a frame, while streams are open, the peer is
	// asked whether it is there. Zero means never.
	Ping time.Duration
	// PingWait is how long one may be silent after that before it is gone. Zero
	// means 15 s.
	PingWait time.Duration
	// Greeting is how long a peer may take for its preface and its settings, and
	// to acknowledge ours. Zero means 10 s.
	Greeting time.Duration
	// WriteWait is how long a peer may take none of the bytes that it is sent,
	// whatever the streams are. Zero means 50 s.
	WriteWait time.Duration
	// Abuse bounds what costs a peer less than us.
	Abuse Abuse
	// Counters count what ends before its time. Nil means that nobody does.
	Counters *Counters
}

// Abuse says how often in a second a client may do what costs it less than us,
// and an instance ten times as often.
// The zero Abuse has the defaults.
type Abuse struct {
	// Resets are streams that the peer ends while they are served, or makes us
	// end by breaking the protocol. Zero means 200.
	Resets int
	// Refused are streams beyond those that it may open. Zero means 2,000.
	Refused int
	// Pings are PING frames beyond one for each frame of a message that was sent.
	// Zero means 100.
	Pings int
	// Settings are SETTINGS frames. Zero means 20.
	Settings int
	// Empty are frames of content or header lists that hold nothing and end
	// nothing. Zero means 200.
	Empty int
	// Priorities are PRIORITY frames. Zero means 1,000.
	Priorities int
	// Windows are WINDOW_UPDATE frames beyond two for each frame of a message that
	// was sent. Zero means 2,000.
	Windows int
	// Strays are frames of streams that are over, and of unknown types. Zero
	// means 2,000.
	Strays int
}

func (o *Options) withDefaults(stream int) Options {
	var d Options
	if o != nil {
		d = *o
	}
	d.Streams = cmp.Or(d.Streams, 100)
	d.HeaderList = cmp.Or(d.HeaderList, 32<<10)
	d.StreamWindow = min(cmp.Or(d.StreamWindow, stream), largestWindow)
	d.ConnWindow = min(max(cmp.Or(d.ConnWindow, 1<<20), usualWindow), largestWindow)
	d.FrameSize = min(max(d.FrameSize, smallestFrame), largestFrame)
	d.MaxAgeGrace = cmp.Or(d.MaxAgeGrace, 30*time.Second)
	d.PingWait = cmp.Or(d.PingWait, 15*time.Second)
	d.Greeting = cmp.Or(d.Greeting, 10*time.Second)
	d.WriteWait = cmp.Or(d.WriteWait, 50*time.Second)
	a := &d.Abuse
	for _, bound := range [...]struct {
		of    *int
		usual int
	}{
		{&a.Resets, 200},
		{&a.Refused, 2000},
		{&a.Pings, 100},
		{&a.Settings, 20},
		{&a.Empty, 200},
		{&a.Priorities, 1000},
		{&a.Windows, 2000},
		{&a.Strays, 2000},
	} {
		*bound.of = cmp.Or(*bound.of, bound.usual)
	}
	return d
}
