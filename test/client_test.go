// SPDX-License-Identifier: Apache-2.0

package test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/rogpeppe/go-internal/testscript"
)

// ask is one request, as bytes, and where it is sent.
type ask struct {
	addr   string // host:port
	method string
	bytes  []byte
	host   string  // of the URL or the Host field
	https  bool    // the URL is of https
	secure *secure // what comes before HTTP; nil: nothing
	url    string
	fields []string
	spoken spoken
}

// newAsk makes a request for a URL. A field named Host replaces the URL's. A
// request that is the last of its connection says so.
func newAsk(method, rawURL string, fields []string, last bool) (*ask, error) {
	u, err := url.Parse(rawURL)
	if err != nil {
		return nil, err
	}
	host := u.Host
	var rest strings.Builder
	for _, f := range fields {
		name, value, ok := strings.Cut(f, ":")
		if !ok {
			return nil, fmt.Errorf("%q is no header field", f)
		}
		if strings.EqualFold(name, "host") {
			host = strings.TrimSpace(value)
			continue
		}
		rest.WriteString(f + "\r\n")
	}
	if last {
		rest.WriteString("Connection: close\r\n")
	}
	text := fmt.Sprintf("%s %s HTTP/1.1\r\nHost: %s\r\n%s\r\n", method, u.RequestURI(), host, rest.String())
	return &ask{addr: u.Host, method: method, bytes: []byte(text), host: host, https: u.Scheme == "https", url: rawURL, fields: fields}, nil
}

// client sends requests over one connection at a time, each exactly once: what
// goes wrong is never hidden by trying again. (The client of net/http sends
// some requests anew.)
type client struct {
	conn   net.Conn // nil if there is none
	r      *bufio.Reader
	h2     *http.ClientConn   // over conn; nil if HTTP/1 is spoken
	cancel context.CancelFunc // ends the request of HTTP/2 that was made last; nil if there is none
}

// answer is what came back.
type answer struct {
	status  int
	header  http.Header
	trailer http.Header
	body    string
}

// label names an answer: by its body, and by status and reason if it is not a
// good one.
func (a *answer) label() string {
	if a.status == http.StatusOK && a.header.Get("Content-Type") == grpcType {
		label, err := a.callLabel()
		if err != nil {
			return "failed(" + err.Error() + ")"
		}
		return label
	}
	if a.status == http.StatusOK {
		return strings.TrimSpace(a.body)
	}
	label := strconv.Itoa(a.status)
	if reason := a.header.Get("Sluice-Reason"); reason != "" {
		label += ":" + reason
	}
	return label
}

func (c *client) dial(ctx context.Context, addr string) error {
	var d net.Dialer
	conn, err := d.DialContext(ctx, "tcp", addr)
	if err != nil {
		return err
	}
	c.conn, c.r = conn, bufio.NewReader(conn)
	return nil
}

// do sends a request over the connection, or over a new one if the server
// announced that the last answer was its last.
func (c *client) do(ctx context.Context, q *ask) (*answer, error) {
	resp, err := c.send(ctx, q)
	if err != nil {
		c.close()
		return nil, err
	}
	body, err := io.ReadAll(resp.Body)
	_ = resp.Body.Close()
	if err != nil {
		c.close()
		return nil, fmt.Errorf("body: %w", err)
	}
	if resp.Close && c.h2 == nil {
		// Nothing may follow the last answer.
		n, err := c.r.WriteTo(io.Discard)
		c.close()
		if err != nil {
			return nil, fmt.Errorf("after the last answer: %w", err)
		}
		if n > 0 {
			return nil, fmt.Errorf("%d bytes after the last answer", n)
		}
	}
	return &answer{status: resp.StatusCode, header: resp.Header, trailer: resp.Trailer, body: string(body)}, nil
}

// send sends a request and returns the head of the answer.
func (c *client) send(ctx context.Context, q *ask) (*http.Response, error) {
	if q.spoken.http2 {
		return c.sendHTTP2(ctx, q)
	}
	if c.conn == nil {
		if err := c.open(ctx, q); err != nil {
			return nil, err
		}
	}
	if err := c.conn.SetDeadline(time.Now().Add(patience)); err != nil {
		return nil, err
	}
	if _, err := c.conn.Write(q.bytes); err != nil {
		return nil, err
	}
	return http.ReadResponse(c.r, &http.Request{Method: q.method})
}

// open makes a connection, and does what comes before HTTP.
func (c *client) open(ctx context.Context, q *ask) error {
	if err := c.dial(ctx, q.addr); err != nil || q.secure == nil {
		return err
	}
	conn, err := q.secure.secure(ctx, c.conn)
	if err != nil {
		c.close()
		return err
	}
	c.conn, c.r = conn, bufio.NewReader(conn)
	return conn.SetDeadline(time.Time{}) // requests set theirs
}

func (c *client) close() {
	c.finish()
	if c.h2 != nil {
		_ = c.h2.Close()
		c.h2 = nil
	}
	if c.conn != nil {
		_ = c.conn.Close()
		c.conn = nil
	}
}

// tally counts labels. It is safe for concurrent use.
type tally struct {
	mu     sync.Mutex // guards counts
	counts map[string]int
}

func newTally() *tally { return &tally{counts: make(map[string]int)} }

func (t *tally) add(label string, n int) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.counts[label] += n
}

// String returns the counts, sorted by label: a=900 b=100.
func (t *tally) String() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	parts := make([]string, 0, len(t.counts))
	for _, label := range slices.Sorted(maps.Keys(t.counts)) {
		parts = append(parts, label+"="+strconv.Itoa(t.counts[label]))
	}
	return strings.Join(parts, " ")
}

// sorted returns counts in the order of String.
func sorted(want []string) string {
	want = slices.Clone(want)
	slices.Sort(want)
	return strings.Join(want, " ")
}

// asking are the flags that say how requests are sent.
type asking struct {
	clients int
	fresh   bool // each request over a connection of its own
	head    bool // the head of the answer is wanted too, whatever its status
	method  string
	fields  []string
	secure  securing
	spoken  spoken
}

// apply has a request sent as the flags say.
func (a *asking) apply(b *bed, q *ask) {
	a.secure.apply(b, q)
	a.spoken.apply(q)
}

// parseAsking takes the flags off args: -c CLIENTS, -new, -i, -X METHOD, -H
// FIELD (any number), -2 for HTTP/2, -call for a call of gRPC, and those of
// securing.
func parseAsking(ts *testscript.TestScript, args []string) (asking, []string) {
	a := asking{clients: 1, method: http.MethodGet}
	for len(args) > 0 && strings.HasPrefix(args[0], "-") {
		flag := args[0]
		args = args[1:]
		if flag == "-new" || flag == "-i" {
			a.fresh, a.head = a.fresh || flag == "-new", a.head || flag == "-i"
			continue
		}
		if flag == "-2" || flag == "-call" {
			a.spoken.http2, a.spoken.call = true, a.spoken.call || flag == "-call"
			continue
		}
		if len(args) == 0 {
			ts.Fatalf("%s needs a value", flag)
		}
		switch flag {
		case "-c":
			n, err := strconv.Atoi(args[0])
			ts.Check(err)
			a.clients = n
		case "-X":
			a.method = args[0]
		case "-H":
			a.fields = append(a.fields, args[0])
		default:
			if !a.secure.flag(ts, flag, args[0]) {
				ts.Fatalf("unknown flag %s", flag)
			}
		}
		args = args[1:]
	}
	return a, args
}

// cmdRequests sends exactly N requests and checks how often each answer came:
// requests [-c CLIENTS] [-new] [-X METHOD] [-H FIELD]... N URL LABEL=COUNT....
// A label is the body of a 200, or STATUS:REASON; of a call the message, or
// grpc-STATUS:REASON.
func cmdRequests(ts *testscript.TestScript, neg bool, args []string) {
	a, args := parseAsking(ts, args)
	if neg || len(args) < 3 {
		ts.Fatalf("usage: requests [-c CLIENTS] [-new] [-X METHOD] [-H FIELD]... N URL LABEL=COUNT...")
	}
	n, err := strconv.Atoi(args[0])
	ts.Check(err)
	q, err := newAsk(a.method, args[1], a.fields, a.fresh)
	ts.Check(err)
	b, got := bedOf(ts), newTally()
	a.apply(b, q)
	b.sendAll(a, q, n, got)
	if want := sorted(args[2:]); got.String() != want {
		ts.Fatalf("%d requests: got %s, want %s", n, got, want)
	}
}

// cmdGet sends one request and prints the answer's body: [!] get [-i] [-X
// METHOD] [-H FIELD]... URL. With -i it prints the head before it, whatever the
// status. Negated, it expects that there is no answer, and prints why.
func cmdGet(ts *testscript.TestScript, neg bool, args []string) {
	a, args := parseAsking(ts, args)
	if len(args) != 1 {
		ts.Fatalf("usage: [!] get [-i] [-X METHOD] [-H FIELD]... URL")
	}
	q, err := newAsk(a.method, args[0], a.fields, true)
	ts.Check(err)
	b := bedOf(ts)
	a.apply(b, q)
	var c client
	defer c.close()
	ans, err := c.do(b.ctx, q)
	if neg {
		if err == nil {
			ts.Fatalf("%s: answered with %s, want no answer", args[0], ans.label())
		}
		fmt.Fprintln(ts.Stderr(), err)
		return
	}
	ts.Check(err)
	if a.head {
		var head strings.Builder
		_ = ans.header.Write(&head) // it cannot fail
		_ = ans.trailer.Write(&head)
		fmt.Fprintf(ts.Stdout(), "%d\n%s", ans.status, strings.ReplaceAll(head.String(), "\r\n", "\n"))
	}
	fmt.Fprint(ts.Stdout(), ans.body)
	if !a.head && ans.status != http.StatusOK {
		ts.Fatalf("%s: %s", args[0], ans.label())
	}
}

// sendAll sends n requests by so many clients.
func (b *bed) sendAll(a asking, q *ask, n int, got *tally) {
	var left atomic.Int64
	left.Store(int64(n))
	var wg sync.WaitGroup
	for range a.clients {
		wg.Go(func() {
			var c client
			defer c.close()
			for left.Add(-1) >= 0 {
				if a.fresh && a.spoken.http2 {
					c.close() // HTTP/1 says it in the request
				}
				ans, err := c.do(b.ctx, q)
				if err != nil {
					got.add("failed("+err.Error()+")", 1)
					continue
				}
				got.add(ans.label(), 1)
			}
		})
	}
	wg.Wait()
}

// cmdLive sends requests until one is answered with LABEL: live [-within TIME]
// URL LABEL. It tells how long after the last put that was, which may be no
// more than TIME.
func cmdLive(ts *testscript.TestScript, neg bool, args []string) {
	var within time.Duration
	if len(args) > 1 && args[0] == "-within" {
		d, err := time.ParseDuration(args[1])
		ts.Check(err)
		within, args = d, args[2:]
	}
	if neg || len(args) != 2 {
		ts.Fatalf("usage: live [-within TIME] URL LABEL")
	}
	b := bedOf(ts)
	q, err := newAsk(http.MethodGet, args[0], nil, true)
	ts.Check(err)
	(&securing{}).apply(b, q)
	var c client
	defer c.close()
	ts.Check(b.poll(func(ctx context.Context) error {
		ans, err := c.do(ctx, q)
		if err == nil && ans.label() != args[1] {
			err = fmt.Errorf("got %s, want %s", ans.label(), args[1])
		}
		return err
	}))
	if within == 0 {
		return
	}
	took := time.Since(b.written)
	ts.Logf("seen by a request after %v", took.Round(time.Millisecond))
	if took > within {
		ts.Fatalf("the change was seen after %v, want %v at most", took, within)
	}
}

// cmdRefuses waits until nothing listens on an address any more: refuses
// HOST:PORT.
func cmdRefuses(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 1 {
		ts.Fatalf("usage: refuses HOST:PORT")
	}
	b := bedOf(ts)
	ts.Check(b.poll(func(ctx context.Context) error {
		var c client
		err := c.dial(ctx, args[0])
		c.close()
		if !errors.Is(err, syscall.ECONNREFUSED) {
			return fmt.Errorf("connecting to %s: got %v, want that it is refused", args[0], err) //nolint:errorlint // it may be nil
		}
		return nil
	}))
}

// exchange is a request under way.
type exchange struct {
	client client
	resp   *http.Response
}

// cmdBegin sends a request and waits for the head and the first part of the
// answer: begin [-2] [-H FIELD]... NAME URL
// PART.
func cmdBegin(ts *testscript.TestScript, neg bool, args []string) {
	a, args := parseAsking(ts, args)
	if neg || len(args) != 3 {
		ts.Fatalf("usage: begin [-2] [-H FIELD]... NAME URL PART")
	}
	b := bedOf(ts)
	q, err := newAsk(http.MethodGet, args[1], a.fields, false)
	ts.Check(err)
	a.apply(b, q)
	x := &exchange{}
	x.resp, err = x.client.send(b.ctx, q) //nolint:bodyclose // cmdFinish closes it
	ts.Check(err)
	part := make([]byte, len(args[2]))
	_, err = io.ReadFull(x.resp.Body, part)
	ts.Check(err)
	if string(part) != args[2] {
		ts.Fatalf("the answer begins with %q, want %q", part, args[2])
	}
	b.begun[args[0]] = x
}

// cmdFinish waits for the end of an answer and checks the rest of it: finish
// NAME REST.
func cmdFinish(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 2 {
		ts.Fatalf("usage: finish NAME REST")
	}
	b := bedOf(ts)
	x := b.begun[args[0]]
	if x == nil {
		ts.Fatalf("%s was not begun", args[0])
	}
	delete(b.begun, args[0])
	defer x.client.close()
	rest, err := io.ReadAll(x.resp.Body)
	_ = x.resp.Body.Close()
	ts.Check(err)
	if string(rest) != args[1] {
		ts.Fatalf("the answer ends with %q, want %q", rest, args[1])
	}
}
