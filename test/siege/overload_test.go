// SPDX-License-Identifier: Apache-2.0

package siege

import (
	"bytes"
	"fmt"
	"net"
	"strconv"
	"testing"
	"time"

	"github.com/sluice-mesh/sluice/bench/load"
)

const (
	// slots and service make the capacity of the origin: 400 requests a
	// second, which is little next to what this machine can do, whatever else
	// it does.
	slots   = 10
	service = 25 * time.Millisecond
	// bound is what the proxy lets be under way: enough to keep the slots busy.
	bound = 4 * slots
	// excess is how many times the capacity is offered.
	excess = 3
	// crowd is how many connections offer it: as many requests could wait, and
	// would for two seconds and a half, if nothing were refused.
	crowd = 1000
	// tries is how often it is measured: others may have the machine meanwhile.
	tries = 4
)

const small = "GET / HTTP/1.1\r\nHost: a\r\n\r\n"

// slotted starts an origin that serves so many requests at a time, each for
// the service time; the others wait in line, whether their clients still do or
// not.
func slotted(t *testing.T) (address string) {
	t.Helper()
	ln, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = ln.Close() })
	free := make(chan struct{}, slots)
	go func() {
		for {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			go serveSlowly(c, free)
		}
	}()
	return ln.Addr().String()
}

func serveSlowly(c net.Conn, free chan struct{}) {
	defer c.Close()
	buf := make([]byte, 4<<10)
	busy := time.NewTimer(0)
	<-busy.C
	for n := 0; ; {
		m, err := c.Read(buf[n:])
		if err != nil {
			return
		}
		n += m
		end := bytes.Index(buf[:n], []byte("\r\n\r\n"))
		if end < 0 {
			continue
		}
		n = copy(buf, buf[end+4:n])
		free <- struct{}{}
		busy.Reset(service)
		<-busy.C
		<-free
		if _, err := c.Write([]byte("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")); err != nil {
			return
		}
	}
}

func offer(t *testing.T, p load.Plan) *load.Result {
	t.Helper()
	p.Mix = []load.Request{{Weight: 1, Wire: []byte(small)}}
	r, err := load.Run(t.Context(), p, nil)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// goodput is what was answered well in a second.
func goodput(r *load.Result) float64 { return float64(r.Status[2]) / r.Elapsed.Seconds() }

// Three times the requests that the origin can answer change little for those
// that are let in, and nothing once there are fewer.
func TestOverloadIsRefusedNotSuffered(t *testing.T) {
	s := start(t, slotted(t), "--max-requests", strconv.Itoa(bound))
	for n := 1; ; n++ {
		suffered := s.overload()
		if suffered == "" || t.Failed() {
			return
		}
		if n == tries {
			t.Fatal(suffered)
		}
		t.Log("once more: " + suffered)
	}
}

// overload overloads the gateway once, and tells what suffered; nothing if all
// is as it should be. What depends on no time fails the test.
func (s *sluice) overload() (suffered string) {
	t := s.t
	t.Helper()
	refusedBefore := s.metric("sluice_requests_refused_total")
	peak := offer(t, load.Plan{Address: s.gateway, Connections: 2 * slots, Warmup: 200 * time.Millisecond, Duration: time.Second})
	idle := offer(t, load.Plan{Address: s.gateway, Connections: 2 * slots, Rate: goodput(peak) / 2, Duration: time.Second})
	if idle.Status[2] != idle.Requests || idle.Failed() > 0 {
		t.Fatalf("at half its capacity: %v by class of status, failed %v", idle.Status, idle.Errors)
	}
	over := offer(t, load.Plan{
		Address: s.gateway, Connections: crowd, Rate: excess * goodput(peak),
		Warmup: time.Second, Duration: overloadTime, Timeout: patience,
	})
	// Of all answers, the slowest part that is a hundredth of those accepted
	// holds a hundredth of them at most: beyond it, the bound is on the safe
	// side, since refusals count as if they were slow.
	accepted := float64(over.Status[2]) / float64(over.Requests)
	p99 := time.Duration(over.Latency.ValueAtQuantile(100 - accepted))
	t.Logf("capacity %.0f a second; offered %.0f, of which %.0f answered well; p99 %v idle, at most %v accepted; refused %d, failed %v, unsent %d, generator behind %v",
		goodput(peak), excess*goodput(peak), goodput(over), time.Duration(idle.Latency.ValueAtQuantile(99)), p99, over.Status[5], over.Errors, over.Unsent, over.Behind)
	if got, want := goodput(over), 0.8*goodput(peak); got < want {
		suffered = fmt.Sprintf("%.0f a second answered well, want at least %.0f, four fifths of what was without overload", got, want)
	}
	if over.Status[5] == 0 || over.Failed() > 0 {
		t.Errorf("%d refused, failed: %v; want some refused and none failed", over.Status[5], over.Errors)
	}
	if half := crowd * service / slots / 2; p99 > half {
		suffered += fmt.Sprintf(" 99 %% of those accepted took up to %v, want %v at most: half of what waiting for all would take", p99, half)
	}
	if refused := s.metric("sluice_requests_refused_total") - refusedBefore; refused < float64(over.Status[5]) {
		t.Errorf("%v refusals counted, want at least the %d that clients saw", refused, over.Status[5])
	}
	s.eventually("all is well again", func() bool {
		r := offer(t, load.Plan{Address: s.gateway, Connections: 2 * slots, Rate: goodput(peak) / 2, Duration: 500 * time.Millisecond})
		return r.Status[2] == r.Requests && r.Failed() == 0
	})
	return suffered
}
