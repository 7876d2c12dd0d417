// SPDX-License-Identifier: Apache-2.0

package proxy_test

import (
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/sluice-mesh/sluice/proxy"
	"github.com/sluice-mesh/sluice/test/freeport"
)

// limitDescriptors leaves n descriptors free until the returned function is
// called.
func limitDescriptors(t *testing.T, n int) (lift func()) {
	t.Helper()
	var was unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &was); err != nil {
		t.Fatal(err)
	}
	lift = sync.OnceFunc(func() {
		if err := unix.Setrlimit(unix.RLIMIT_NOFILE, &was); err != nil {
			t.Error(err)
		}
	})
	t.Cleanup(lift)
	// The lowest free number, n times: the limit bounds the numbers.
	var held []int
	for range n {
		fd, err := unix.FcntlInt(0, unix.F_DUPFD_CLOEXEC, 0)
		if err != nil {
			t.Fatal(err)
		}
		held = append(held, fd)
	}
	limit := was
	limit.Cur = uint64(held[n-1] + 1)
	err := unix.Setrlimit(unix.RLIMIT_NOFILE, &limit)
	for _, fd := range held {
		_ = unix.Close(fd)
	}
	if err != nil {
		t.Fatal(err)
	}
	return lift
}

func TestConnectionsWaitWhileDescriptorsAreShort(t *testing.T) {
	var log lines
	p := freeport.One(t)
	bed := start(t, func(o *proxy.Options) { o.Log = slog.New(slog.NewTextHandler(&log, nil)) })
	bed.apply(fmt.Sprintf("{name: g, port: %d, routes: {}}", p)) // answers by itself
	lift := limitDescriptors(t, 1)                               // for the client's end
	nc, err := new(net.Dialer).DialContext(t.Context(), "tcp", strings.TrimPrefix(local(p), "http://"))
	if err != nil {
		t.Fatal(err)
	}
	defer nc.Close()
	k := keepOn(nc)
	k.send(t, "/")
	eventually(t, "accepting fails", func() bool {
		// A descriptor that another test let go of may have let the connection
		// in: one more client takes the next.
		if fd, err := unix.FcntlInt(0, unix.F_DUPFD_CLOEXEC, 0); err == nil {
			_ = unix.Close(fd)
			if more, err := new(net.Dialer).DialContext(t.Context(), "tcp", nc.RemoteAddr().String()); err == nil {
				t.Cleanup(func() { _ = more.Close() })
			}
		}
		return log.count("cannot accept connections") > 0
	})
	lift()
	if a, _ := k.receive(t); a.header.Get("Sluice-Reason") != "no_route" {
		t.Errorf("got %q, want the answer once there are descriptors", a.body)
	}
	// A descriptor that another test left may have let the connection in
	// before accepting failed: one more tells that it works again.
	_ = dial(t, local(p))
	eventually(t, "the log tells that it is over", func() bool { return log.count("accepting connections again") == 1 })
	if n := log.count("cannot accept connections"); n != 1 {
		t.Errorf("%d log entries of one failure, want 1", n)
	}
}

func TestConnectionsAreToldIfDescriptorsStayShort(t *testing.T) {
	p := freeport.One(t)
	bed := start(t, nil)
	bed.apply(fmt.Sprintf("{name: g, port: %d, routes: {}}", p))
	lift := limitDescriptors(t, 1) // for the client's end
	k := keep(t, local(p))
	k.send(t, "/")
	a, last := k.receive(t)
	for a.header.Get("Sluice-Reason") == "no_route" {
		// It was let in by a descriptor that another test let go of: that is
		// held from now on.
		_ = k.Close()
		eventually(t, "both ends are closed", func() bool { return bed.server.Connections() == 0 })
		fd, err := unix.FcntlInt(0, unix.F_DUPFD_CLOEXEC, 0)
		if err != nil {
			t.Fatal(err)
		}
		defer unix.Close(fd)
		k = keep(t, local(p))
		k.send(t, "/")
		a, last = k.receive(t)
	}
	if a.status != http.StatusServiceUnavailable || a.header.Get("Sluice-Reason") != "overloaded" || !last {
		t.Errorf("got %d, Sluice-Reason %q, last %v; want 503, overloaded, true", a.status, a.header.Get("Sluice-Reason"), last)
	}
	eventually(t, "it is counted", func() bool { return bed.registry.ConnectionsRefused("overloaded").Value() == 1 })
	lift()
	k = keep(t, local(p))
	k.send(t, "/")
	if a, _ := k.receive(t); a.header.Get("Sluice-Reason") != "no_route" {
		t.Errorf("got %q, want the gateway's own answer once there are descriptors", a.body)
	}
}
