// SPDX-License-Identifier: Apache-2.0

package proxy_test

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/sluice-mesh/sluice/proxy"
	"github.com/sluice-mesh/sluice/routing"
	"github.com/sluice-mesh/sluice/test/freeport"
)

// eventually waits until a claim holds that only the kernel or another
// goroutine can make true.
func eventually(t *testing.T, what string, claim func() bool) {
	t.Helper()
	for deadline := time.Now().Add(time.Minute); !claim(); runtime.Gosched() {
		if time.Now().After(deadline) {
			t.Fatalf("never: %s", what)
		}
	}
}

// gateway returns the text of a gateway with one route.
func gateway(name string, port int, address string) string {
	return fmt.Sprintf("---\nname: %s\nport: %d\nroutes: {\"[%s]\": {}}\n", name, port, address)
}

func local(port int) string { return fmt.Sprintf("http://127.0.0.1:%d", port) }

// refused reports whether nobody listens on a port.
func refused(t *testing.T, port int) bool {
	t.Helper()
	nc, err := new(net.Dialer).DialContext(t.Context(), "tcp", fmt.Sprintf("127.0.0.1:%d", port))
	if err == nil {
		_ = nc.Close()
		return false
	}
	return errors.Is(err, syscall.ECONNREFUSED)
}

// blocking is an origin that tells of each request and answers when it is
// released: with a body that takes many reads.
type blocking struct {
	address  string
	arrived  chan struct{}
	released chan struct{}
}

var longBody = strings.Repeat("0123456789abcdef", 64<<10)

func block(t *testing.T) *blocking {
	t.Helper()
	b := &blocking{arrived: make(chan struct{}, 100), released: make(chan struct{})}
	b.address = origin(t, func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/wait" {
			b.arrived <- struct{}{}
			select {
			case <-b.released:
			case <-r.Context().Done():
			}
		}
		_, _ = io.WriteString(w, longBody)
	})
	return b
}

// kept is a client connection on which requests are sent one by one.
type kept struct {
	net.Conn
	r *bufio.Reader
}

func keep(t *testing.T, url string) *kept {
	t.Helper()
	return keepOn(dial(t, url))
}

func keepOn(nc net.Conn) *kept { return &kept{nc, bufio.NewReader(nc)} }

func (k *kept) send(t *testing.T, path string) {
	t.Helper()
	if _, err := io.WriteString(k, "GET "+path+" HTTP/1.1\r\nHost: a\r\n\r\n"); err != nil {
		t.Fatal(err)
	}
}

// receive reads an answer and reports whether it is the connection's last.
func (k *kept) receive(t *testing.T) (a answer, last bool) {
	t.Helper()
	r, err := http.ReadResponse(k.r, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Body.Close()
	b, err := io.ReadAll(r.Body)
	if err != nil {
		t.Fatal(err)
	}
	return answer{r.StatusCode, r.Header, string(b)}, r.Close
}

// expectEnd checks that the connection ends in order, with nothing more.
func (k *kept) expectEnd(t *testing.T) {
	t.Helper()
	if b, err := io.ReadAll(k.r); len(b) > 0 || err != nil {
		t.Errorf("got %.60q, %v; want the end of the connection", b, err)
	}
}

func TestTakenPortIsTriedAgain(t *testing.T) {
	p, q := freeport.One(t), freeport.One(t)
	taken, err := new(net.ListenConfig).Listen(t.Context(), "tcp", fmt.Sprintf("127.0.0.1:%d", p))
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	a := origin(t, named("a"))
	bed := start(t, nil)
	bed.apply(gateway("blocked", p, a) + gateway("free", q, a))
	if got := get(t, client(t), local(q)); got.body != "a" {
		t.Errorf("the other gateway answers %q, want a", got.body)
	}
	for _, st := range bed.server.Status() {
		if st.Deployed != (st.Name == "free") || st.Deployed != (st.Reason == "") {
			t.Errorf("status of %s: deployed %v, reason %q", st.Name, st.Deployed, st.Reason)
		}
	}
	all := bed.server.Status()
	for i, st := range bed.server.Outline() {
		of := all[i]
		if st.Name != of.Name || st.Port != of.Port || st.Type != of.Type || st.Deployed != of.Deployed || st.Reason != of.Reason || st.Routes != nil {
			t.Errorf("outline of %s: %+v, want that of %+v", of.Name, st, of)
		}
	}
	if ready, why := bed.server.Ready(); ready || !strings.Contains(why, "in use") {
		t.Errorf("Ready() = %v, %q; want the address in use as the reason", ready, why)
	}
	if all := bed.server.Unserved(); len(all) != 1 || all["blocked"] == nil || !strings.Contains(all["blocked"].Error(), "in use") {
		t.Errorf("Unserved() = %v, want the blocked one with the reason", all)
	}
	bed.apply(gateway("blocked", p, a)) // which changes nothing about it
	if ready, _ := bed.server.Ready(); ready {
		t.Error("ready though the port is still taken")
	}
	_ = taken.Close()
	eventually(t, "the port is bound", func() bool { ready, _ := bed.server.Ready(); return ready })
	if got := get(t, client(t), local(p)); got.body != "a" {
		t.Errorf("the healed gateway answers %q, want a", got.body)
	}
	if st := bed.server.Status(); !st[0].Deployed || st[0].Reason != "" {
		t.Errorf("status = %+v, want it deployed", st[0])
	}
	if all := bed.server.Unserved(); all != nil {
		t.Errorf("Unserved() = %v, want none", all)
	}
}

func TestTakenPortThatIsNoLongerWanted(t *testing.T) {
	p, q := listen(t).Addr().(*net.TCPAddr).Port, freeport.One(t)
	a := origin(t, named("a"))
	bed := start(t, nil)
	bed.apply(gateway("g", p, a))
	bed.apply(gateway("g", q, a))
	if ready, why := bed.server.Ready(); !ready {
		t.Errorf("not ready: %s", why)
	}
}

// Where it takes long to let go of what is not used any more it is put off, and
// done all the same: without a further table.
func TestWhatIsNotUsedGoesWhenItWasPutOff(t *testing.T) {
	p := freeport.One(t)
	bed := start(t, nil)
	text := func(to string) string {
		return fmt.Sprintf("---\nname: g\nport: %d\nsluice: {timeouts: {upstream_keep_alive: 1h}}\nroutes: {\"[%s]\": {}}\n", p, to)
	}
	open := func() int64 { return bed.registry.ConnectionsOpen("upstream").Value() }
	bed.apply(text(origin(t, named("a"))))
	if got := get(t, client(t), local(p)); got.body != "a" {
		t.Fatalf("the gateway answers %q, want a", got.body)
	}
	bed.server.PutOff(time.Hour)
	bed.apply(text(origin(t, named("b"))))
	if !bed.server.HasPutOff() || open() != 1 {
		t.Errorf("%d connections are open, put off: %t; want the one that is not used any more", open(), bed.server.HasPutOff())
	}
	bed.server.PutOff(0)
	eventually(t, "the connection is closed", func() bool { return open() == 0 && !bed.server.HasPutOff() })
}

// banner is a TCP server that greets and ends.
func banner(t *testing.T) string {
	t.Helper()
	ln := listen(t)
	var all sync.WaitGroup
	all.Go(func() {
		for {
			nc, err := ln.Accept()
			if err != nil {
				return
			}
			_, _ = io.WriteString(nc, "hello")
			_ = nc.Close()
		}
	})
	t.Cleanup(func() {
		_ = ln.Close()
		all.Wait()
	})
	return ln.Addr().String()
}

func TestPortChangesItsKind(t *testing.T) {
	p := freeport.One(t)
	web := gateway("g", p, origin(t, named("a")))
	plain := fmt.Sprintf("name: g\nport: %d/tcp\nroutes: {\"[%s]\": {}}\n", p, banner(t))
	bed := start(t, nil)
	for range 20 {
		bed.apply(web)
		k := keep(t, local(p))
		k.send(t, "/")
		if a, last := k.receive(t); a.body != "a" || last {
			t.Fatalf("got %q, last %v; want a kept connection", a.body, last)
		}
		bed.apply(plain)
		if ready, why := bed.server.Ready(); !ready {
			t.Fatalf("not ready right after the change: %s", why)
		}
		k.expectEnd(t)
		if b, err := io.ReadAll(dial(t, local(p))); string(b) != "hello" || err != nil {
			t.Fatalf("got %q, %v; want the greeting of the TCP server", b, err)
		}
	}
}

func TestMovedGatewayFinishesItsExchanges(t *testing.T) {
	p, q := freeport.One(t), freeport.One(t)
	o := block(t)
	bed := start(t, nil)
	bed.apply(gateway("g", p, o.address))
	busy, idle := keep(t, local(p)), keep(t, local(p))
	idle.send(t, "/")
	idle.receive(t)
	busy.send(t, "/wait")
	<-o.arrived
	bed.apply(gateway("g", q, o.address))
	idle.expectEnd(t)
	if !refused(t, p) {
		t.Error("the old port still listens")
	}
	if got := get(t, client(t), local(q)); got.body != longBody {
		t.Errorf("the new port answers %d bytes, want %d", len(got.body), len(longBody))
	}
	close(o.released)
	if a, last := busy.receive(t); a.body != longBody || !last {
		t.Errorf("the exchange under way got %d bytes, last %v; want all %d, and the end announced", len(a.body), last, len(longBody))
	}
	busy.expectEnd(t)
}

func TestRemovedGatewayFinishesItsExchanges(t *testing.T) {
	p := freeport.One(t)
	o := block(t)
	bed := start(t, nil)
	bed.apply(gateway("g", p, o.address))
	var busy []*kept
	for range 5 {
		k := keep(t, local(p))
		k.send(t, "/wait")
		busy = append(busy, k)
		<-o.arrived
	}
	bed.apply(gateway("other", freeport.One(t), o.address))
	if !refused(t, p) {
		t.Error("the port of the removed gateway still listens")
	}
	bed.apply(gateway("g", p, o.address)) // it comes back while they are still there
	close(o.released)
	for _, k := range busy {
		if a, last := k.receive(t); a.body != longBody || !last {
			t.Errorf("an exchange under way got %d bytes, last %v; want all %d, and the end announced", len(a.body), last, len(longBody))
		}
		k.expectEnd(t)
	}
	if got := get(t, client(t), local(p)); got.body != longBody {
		t.Error("the gateway that came back does not serve")
	}
}

// What was sent before the removal is answered, also if the connection was
// not accepted yet.
func TestConnectThenRemove(t *testing.T) {
	p, q := freeport.One(t), freeport.One(t)
	a := origin(t, named("a"))
	bed := start(t, nil)
	for i := range 200 {
		bed.apply(gateway("g", p, a))
		nc := dial(t, local(p))
		if _, err := io.WriteString(nc, "GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"); err != nil {
			t.Fatal(err)
		}
		bed.apply(gateway("other", q, a))
		b, err := io.ReadAll(nc)
		if err != nil || !bytes.HasPrefix(b, []byte("HTTP/1.1 200 ")) && !bytes.Contains(b, []byte("Sluice-Reason: no_gateway\r\n")) {
			t.Fatalf("try %d: got %.80q, %v; want an answer", i, b, err)
		}
		_ = nc.Close()
	}
}

func TestSilentConnectionsOfARemovedGateway(t *testing.T) {
	p := freeport.One(t)
	a := origin(t, named("a"))
	bed := start(t, nil)
	bed.apply(gateway("g", p, a) + "sluice: {timeouts: {head: 100ms}}\n")
	var silent []net.Conn
	for range 100 {
		silent = append(silent, dial(t, local(p)))
	}
	bed.apply(gateway("other", freeport.One(t), a))
	for _, nc := range silent {
		if b, err := io.ReadAll(nc); len(b) > 0 || err != nil {
			t.Fatalf("got %q, %v; want an orderly end", b, err)
		}
	}
}

func TestPortOfVirtualHosts(t *testing.T) {
	p, q := freeport.One(t), freeport.One(t)
	own := gateway("own", p, origin(t, named("own")))
	shop := gateway("shop", q, origin(t, named("shop"))) + "virtual_hosts: [shop.example]\n"
	bed := start(t, func(o *proxy.Options) { o.VirtualHostsPort = p })
	ask := func(port int, host string) string {
		t.Helper()
		r := request(t, http.MethodGet, local(port), http.NoBody)
		r.Host = host
		got, err := client(t).Do(r)
		if err != nil {
			t.Fatal(err)
		}
		defer got.Body.Close()
		b, _ := io.ReadAll(got.Body)
		if got.StatusCode != http.StatusOK {
			return got.Header.Get("Sluice-Reason")
		}
		return string(b)
	}
	for _, tt := range []struct {
		name, text        string
		known, other, via string // what is reached by the known host, another one, and the other port
	}{
		{"it also serves the gateway that asks for it", own + shop, "shop", "own", "shop"},
		{"it serves by host alone", shop, "shop", "no_gateway", "shop"},
		{"and the gateway comes back", own + shop, "shop", "own", "shop"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			bed.apply(tt.text)
			for _, c := range []struct {
				port       int
				host, want string
			}{{p, "shop.example", tt.known}, {p, "SHOP.example:99", tt.known}, {p, "other.example", tt.other}, {q, "other.example", tt.via}} {
				if got := ask(c.port, c.host); got != c.want {
					t.Errorf("host %s on port %d leads to %q, want %q", c.host, c.port, got, c.want)
				}
			}
		})
	}
	bed.apply(own)
	if got := ask(p, "shop.example"); got != "own" {
		t.Errorf("the host of a removed gateway leads to %q, want own", got)
	}
	bed.apply(gateway("shop", q, origin(t, named("shop"))))
	if !refused(t, p) {
		t.Error("the port of virtual hosts listens though there are none")
	}
}

func TestReady(t *testing.T) {
	bed := start(t, nil)
	if ready, why := bed.server.Ready(); ready || why != "no table yet" {
		t.Errorf("Ready() = %v, %q before the first table", ready, why)
	}
	bed.apply(gateway("g", freeport.One(t), origin(t, named("a"))))
	if ready, why := bed.server.Ready(); !ready || why != "" {
		t.Errorf("Ready() = %v, %q with a table that serves", ready, why)
	}
	if err := bed.end(); err != nil {
		t.Error(err)
	}
	if ready, why := bed.server.Ready(); ready || why != "draining" {
		t.Errorf("Ready() = %v, %q after the end", ready, why)
	}
}

// snapshots compiles texts, each on the one before.
func snapshots(t *testing.T, texts ...string) []*routing.Snapshot {
	t.Helper()
	var list []*routing.Snapshot
	var last *routing.Snapshot
	for i, text := range texts {
		docs, faults := routing.Read("test.yaml", []byte(text))
		table, more := routing.Resolve(docs)
		table.Version = routing.Version{Epoch: 1, Revision: uint64(i + 1)}
		next, most := routing.Compile(last, table, routing.CompileOptions{Seed: 1})
		for _, f := range slices.Concat(faults, more, most) {
			if f.Severity == routing.Refused {
				t.Fatalf("fault: %v", f)
			}
		}
		list = append(list, next)
		last = next
	}
	return list
}

func TestPublishFromManyGoroutines(t *testing.T) {
	p, q := freeport.One(t), freeport.One(t)
	a := origin(t, named("a"))
	list := snapshots(t, gateway("g", p, a), gateway("g", p, a)+gateway("other", q, a), gateway("g", q, a))
	bed := start(t, nil)
	var all sync.WaitGroup
	for i := range 8 {
		all.Go(func() {
			for k := range 20 {
				bed.server.Publish(list[(i+k)%len(list)])
				bed.server.Ready()
				bed.server.Status()
				bed.server.Connections()
			}
		})
	}
	all.Wait()
	bed.server.Publish(list[0])
	if got := get(t, client(t), local(p)); got.body != "a" {
		t.Errorf("got %q, want the last table to serve", got.body)
	}
	if !refused(t, q) {
		t.Error("a port of a former table still listens")
	}
}

func TestPublishAfterTheEnd(t *testing.T) {
	p := freeport.One(t)
	bed := start(t, nil)
	list := snapshots(t, gateway("g", p, origin(t, named("a"))))
	if err := bed.end(); err != nil {
		t.Error(err)
	}
	bed.server.Publish(list[0])
	if !refused(t, p) {
		t.Error("a table that came after the end is served")
	}
}

// load sends requests until stop is closed, and counts those that failed.
type load struct {
	all          sync.WaitGroup
	stop         chan struct{}
	sent, failed atomic.Int64
	first        sync.Once
}

func (l *load) run(t *testing.T, send func() error) {
	t.Helper()
	l.all.Go(func() {
		for {
			select {
			case <-l.stop:
				return
			default:
			}
			l.sent.Add(1)
			if err := send(); err != nil {
				l.failed.Add(1)
				l.first.Do(func() { t.Errorf("the first request that failed: %v", err) })
			}
		}
	})
}

// post sends a body and wants it back.
func post(t *testing.T, c *http.Client, url, body string) error {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, url, strings.NewReader(body))
	if err != nil {
		return err
	}
	req.GetBody = nil // so that nothing is sent twice
	r, err := c.Do(req)
	if err != nil {
		return err
	}
	defer r.Body.Close()
	b, err := io.ReadAll(r.Body)
	if err == nil && (r.StatusCode != http.StatusOK || string(b) != body) {
		err = fmt.Errorf("status %d with %d bytes, want %d back", r.StatusCode, len(b), len(body))
	}
	return err
}

func TestPublishUnderLoad(t *testing.T) {
	publishes := 500
	if testing.Short() {
		publishes = 50
	}
	p, q := freeport.One(t), freeport.One(t)
	a, b := origin(t, echo), origin(t, echo)
	bed := start(t, nil)
	table := func(i int) string {
		text := fmt.Sprintf("---\nname: g\nport: %d\nroutes: {\"[%s]\": {weight: %d%%}, \"[%s]\": {weight: %d%%, condition: has header X-%d}}\n",
			p, a, i%101, b, 100-i%101, i%3)
		if i%2 == 0 {
			text += gateway("other", q, a)
		}
		return text
	}
	bed.apply(table(0))
	url := local(p)
	l := &load{stop: make(chan struct{})}
	kept, fresh := client(t), client(t)
	fresh.Transport.(*http.Transport).DisableKeepAlives = true
	large := strings.Repeat("0123456789abcdef", 20<<10)
	l.run(t, func() error { return post(t, kept, url, "small") })
	l.run(t, func() error { return post(t, fresh, url, "small") })
	l.run(t, func() error { return post(t, kept, url, large) })
	for i := range publishes {
		bed.apply(table(i + 1))
		eventually(t, "requests go on", func() bool { return l.sent.Load() > 2*int64(i) })
	}
	close(l.stop)
	l.all.Wait()
	if l.failed.Load() > 0 {
		t.Errorf("%d of %d requests failed in %d changes, want none", l.failed.Load(), l.sent.Load(), publishes)
	}
}
