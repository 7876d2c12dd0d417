// SPDX-License-Identifier: Apache-2.0

package upstream_test

import (
	"bufio"
	"bytes"
	"io"
	"net"
	"net/http"
	"net/netip"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/sluice-mesh/sluice/proxy/upstream"
	"github.com/sluice-mesh/sluice/routing"
	"github.com/sluice-mesh/sluice/test/freeport"
)

// speaker is a server that answers each connection's request with the same
// bytes and closes it; what was asked comes out of heads.
func speaker(t *testing.T, answer string) (at netip.AddrPort, heads chan string) {
	t.Helper()
	heads = make(chan string, 16)
	ln, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = ln.Close() })
	go func() {
		for {
			nc, err := ln.Accept()
			if err != nil {
				return
			}
			go func() {
				defer nc.Close()
				var head strings.Builder
				for r := bufio.NewReader(nc); !strings.HasSuffix(head.String(), "\r\n\r\n"); {
					line, err := r.ReadString('\n')
					if err != nil {
						return
					}
					head.WriteString(line)
				}
				heads <- head.String()
				_, _ = io.WriteString(nc, answer)
			}()
		}
	}()
	return ln.Addr().(*net.TCPAddr).AddrPort(), heads
}

func TestAskByTCP(t *testing.T) {
	h := routing.DefaultHealth(routing.HealthTCP)
	h.Timeout = patience
	silent := listen(t)
	if err := upstream.Ask(t.Context(), silent.addr, h); err != nil {
		t.Errorf("a server that accepts and says nothing: %v", err)
	}
	// The reset leaves nothing to read.
	if _, err := silent.next(t).Read(make([]byte, 1)); err == nil {
		t.Error("the check left its connection open")
	}
	nobody := netip.MustParseAddrPort("127.0.0.1:" + strconv.Itoa(freeport.One(t)))
	if err := upstream.Ask(t.Context(), nobody, h); err == nil {
		t.Error("nobody listens, and the check succeeds")
	}
}

func TestAskByHTTP(t *testing.T) {
	long := strings.Repeat("x", 1<<20)
	for _, tt := range []struct {
		name, answer string
		shape        func(*routing.Health)
		want         string // part of the error; empty for a success
	}{
		{"200", "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok", nil, ""},
		{"a redirect", "HTTP/1.1 302 Found\r\nContent-Length: 0\r\n\r\n", nil, ""},
		{"of an HTTP/1.0 server", "HTTP/1.0 204 No Content\r\n\r\n", nil, ""},
		{"500", "HTTP/1.1 500 Oops\r\nContent-Length: 2\r\n\r\nok", nil, "it answers 500"},
		{"a status that is asked for", "HTTP/1.1 503 Fine\r\nContent-Length: 0\r\n\r\n", status(503), ""},
		{"a status beside it", "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", status(503), "it answers 200"},
		{"answers before it", "HTTP/1.1 103 Early\r\nLink: a\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", nil, ""},
		{"answers before it without end", strings.Repeat("HTTP/1.1 103 Early\r\n\r\n", 100), nil, "no answer but"},
		{"a text in the answer", "HTTP/1.1 200 OK\r\nContent-Length: 11\r\n\r\nI am ready.", ready, ""},
		{"a text in chunks", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nrea\r\n2\r\ndy\r\n0\r\n\r\n", ready, ""},
		{"a text before the answer breaks off", "HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\nready", ready, ""},
		{"no text before the answer breaks off", "HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\nrea", ready, "unexpected EOF"},
		{"another text", "HTTP/1.1 200 OK\r\nContent-Length: 8\r\n\r\nstarting", ready, "the text is not in its answer"},
		{"a text too far behind", "HTTP/1.1 200 OK\r\n\r\n" + long + "ready", ready, "the text is not in its answer"},
		{"content that nobody asks for", "HTTP/1.1 200 OK\r\nContent-Length: 1048576\r\n\r\n" + long, nil, ""},
		{"a head without end", "HTTP/1.1 200 OK\r\nX: " + long + "\r\n\r\n", nil, "before the answer"},
		{"no answer", "", nil, "before the answer"},
		{"half a head", "HTTP/1.1 200 OK\r\nCon", nil, "missing colon"},
		{"no HTTP", "220 mail.example ESMTP\r\n\r\n", nil, "malformed"},
		{"HEAD", "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n", func(h *routing.Health) { h.Method = "HEAD" }, ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			h := routing.DefaultHealth(routing.HealthHTTP)
			h.Timeout = patience
			if tt.shape != nil {
				tt.shape(&h)
			}
			at, _ := speaker(t, tt.answer)
			err := upstream.Ask(t.Context(), at, h)
			if tt.want == "" && err != nil || tt.want != "" && (err == nil || !strings.Contains(err.Error(), tt.want)) {
				t.Errorf("error %v, want %q", err, tt.want)
			}
		})
	}
}

func status(code int) func(*routing.Health) {
	return func(h *routing.Health) {
		h.Status = routing.StatusSet{}
		h.Status[code/64] |= 1 << (code % 64)
	}
}

func ready(h *routing.Health) { h.Body = "ready" }

func TestAskSendsWhatIsWritten(t *testing.T) {
	at, heads := speaker(t, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
	h := routing.DefaultHealth(routing.HealthHTTP)
	h.Timeout = patience
	for _, tt := range []struct {
		shape func(*routing.Health)
		want  string
	}{
		{func(*routing.Health) {}, "GET / HTTP/1.1\r\nHost: " + at.String() + "\r\nUser-Agent: sluice-health\r\nConnection: close\r\n\r\n"},
		{func(h *routing.Health) {
			h.Method, h.Path, h.Host, h.Fields = "OPTIONS", "/up?full", "shop.example", "X-A: 1\r\nx-b: 2\r\n"
		}, "OPTIONS /up?full HTTP/1.1\r\nHost: shop.example\r\nUser-Agent: sluice-health\r\nConnection: close\r\nX-A: 1\r\nx-b: 2\r\n\r\n"},
	} {
		tt.shape(&h)
		if err := upstream.Ask(t.Context(), at, h); err != nil {
			t.Fatal(err)
		}
		if got := <-heads; got != tt.want {
			t.Errorf("asked\n%q, want\n%q", got, tt.want)
		}
	}
}

func TestAskEndsInItsTime(t *testing.T) {
	h := routing.DefaultHealth(routing.HealthHTTP)
	h.Timeout = 50 * time.Millisecond
	if err := upstream.Ask(t.Context(), listen(t).addr, h); err == nil || err.Error() != "no answer in time" {
		t.Errorf("a server that says nothing: %v", err)
	}
}

// An instance that dies and returns is noticed over real connections, too.
func TestAnInstanceDiesAndReturns(t *testing.T) {
	steady := listen(t)
	port := strconv.Itoa(freeport.One(t))
	serve := func() *http.Server {
		ln, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:"+port)
		if err != nil {
			t.Fatal(err)
		}
		s := &http.Server{Handler: http.NotFoundHandler(), ReadHeaderTimeout: patience}
		go func() { _ = s.Serve(ln) }()
		t.Cleanup(func() { _ = s.Close() })
		return s
	}
	p, _ := newPool(nil)
	runPool(t, p)
	w := watch()
	w.Health.Every = 20 * time.Millisecond
	origin := serve()
	target := lead(p, append(fixed(port), fixed(steady.addr.String()[len("127.0.0.1:"):])...), w, nil)
	eventually(t, "both are healthy", func() bool { return strings.Count(states(target), " healthy") == 2 })
	_ = origin.Close()
	eventually(t, "it is unhealthy", func() bool { return strings.HasPrefix(states(target), port+" unhealthy") })
	eventually(t, "it gets nothing", func() bool { return !strings.Contains(shares(target, 10), port) })
	if why := target.States()[0].Why; why != "connection refused" {
		t.Errorf("why: %q", why)
	}
	serve()
	eventually(t, "it has its share again", func() bool { return strings.HasPrefix(shares(target, 10), port+" 5") })
}

// FuzzJudge holds that no answer, however odd, breaks a check, and that none
// passes that does not begin like one.
func FuzzJudge(f *testing.F) {
	for _, seed := range []string{"", "HTTP/1.1 200 OK\r\n\r\nok", "HTTP/1.1 103 A\r\n\r\nHTTP/1.0 404 B\r\n\r\n", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n"} {
		f.Add([]byte(seed), "ok")
	}
	f.Fuzz(func(t *testing.T, answer []byte, text string) {
		h := routing.DefaultHealth(routing.HealthHTTP)
		h.Body = text
		if err := upstream.Judge(bytes.NewReader(answer), &h); err == nil {
			if !bytes.HasPrefix(answer, []byte("HTTP/")) {
				t.Errorf("%q passes", answer)
			}
			if h.Status = (routing.StatusSet{}); upstream.Judge(bytes.NewReader(answer), &h) == nil {
				t.Errorf("%q passes where no status does", answer)
			}
		}
	})
}
