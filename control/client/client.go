// SPDX-License-Identifier: Apache-2.0

package client

import (
	"bytes"
	"cmp"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"net/http/httptrace"
	"net/netip"
	"net/url"
	"strings"
	"sync/atomic"
	"time"
)

// DefaultServer is where a control plane serves its API if nobody says
// otherwise.
const DefaultServer = "http://127.0.0.1:8090"

// DefaultNamespace is the namespace of a Client that is given none.
const DefaultNamespace = "default/default"

// maxAnswerBytes bounds an answer that is read as a whole.
const maxAnswerBytes = 256 << 20

// Options say which control plane is spoken to, and as whom. The zero Options
// are those of a control plane on this machine.
type Options struct {
	// Server is the base of its URLs: http or https, a host, maybe a port and
	// a path. Empty means DefaultServer.
	Server string
	// Namespace is organisation/environment. Empty means DefaultNamespace.
	Namespace string
	// Token proves who asks. It is sent over TLS and to this machine only.
	// Empty means none.
	Token string
	// Author names the person who changes something, where the control plane
	// lets everybody on its machine in and knows nobody by name. Empty means
	// none.
	Author string
	// Roots are who vouches for the certificate of the server. Nil means the
	// authorities of the system.
	Roots *x509.CertPool
	// Timeout bounds a request, its body included, less the time that it asks
	// the server to wait. Backups and streams of events have no bound. Zero
	// means 30 s.
	Timeout time.Duration
	// Attempts is how often a GET is tried while no server answers or it is
	// not ready. Nothing else is ever tried twice. Zero means 3.
	Attempts int
	// Pause is the time before the second attempt; it doubles from then on.
	// Zero means 100 ms.
	Pause time.Duration
}

func (o Options) withDefaults() Options {
	o.Server = cmp.Or(o.Server, DefaultServer)
	o.Namespace = cmp.Or(o.Namespace, DefaultNamespace)
	o.Timeout = cmp.Or(o.Timeout, 30*time.Second)
	o.Attempts = cmp.Or(o.Attempts, 3)
	o.Pause = cmp.Or(o.Pause, 100*time.Millisecond)
	return o
}

// Client asks one control plane about one namespace. It is safe for
// concurrent use.
type Client struct {
	o    Options
	base string // of all URLs, without a slash at its end
	http *http.Client
}

// New returns a Client. It connects to nothing yet, and fails if Options
// cannot be right.
func New(o Options) (*Client, error) {
	o = o.withDefaults()
	server, err := parseServer(o.Server)
	if err != nil {
		return nil, err
	}
	if o.Token != "" && server.Scheme != "https" && !isLoopback(server.Hostname()) {
		return nil, fmt.Errorf("server %s: a token is sent over TLS or to this machine only; use https://", o.Server)
	}
	if strings.ContainsFunc(o.Token, func(r rune) bool { return r <= ' ' || r >= 0x7F }) {
		return nil, errors.New("the token has characters that no token has")
	}
	org, env, ok := strings.Cut(o.Namespace, "/")
	if !ok || org == "" || env == "" || strings.Contains(env, "/") {
		return nil, fmt.Errorf("namespace %.80q is not organisation/environment, such as acme/prod", o.Namespace)
	}
	base := strings.TrimSuffix(server.String(), "/")
	if o.Namespace != DefaultNamespace {
		base += "/" + url.PathEscape(org) + "/" + url.PathEscape(env)
	}
	transport := &http.Transport{
		Proxy:                  proxyOf,
		DialContext:            (&net.Dialer{Timeout: 5 * time.Second}).DialContext,
		TLSHandshakeTimeout:    5 * time.Second,
		TLSClientConfig:        &tls.Config{RootCAs: o.Roots, MinVersion: tls.VersionTLS12},
		ForceAttemptHTTP2:      true,
		MaxIdleConnsPerHost:    4,
		IdleConnTimeout:        30 * time.Second,
		MaxResponseHeaderBytes: 64 << 10,
	}
	return &Client{o: o, base: base + "/api/v1", http: &http.Client{
		Transport: transport,
		// An API does not send its callers elsewhere; a token must not follow.
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}}, nil
}

// Server returns the base of the control plane's URLs, as it was given.
func (c *Client) Server() string { return c.o.Server }

// Namespace returns the namespace that c asks about.
func (c *Client) Namespace() string { return c.o.Namespace }

// Close lets go of connections that are kept.
func (c *Client) Close() { c.http.CloseIdleConnections() }

func parseServer(text string) (*url.URL, error) {
	if !strings.Contains(text, "://") {
		text = "http://" + text
	}
	u, err := url.Parse(text)
	if err != nil || u.Host == "" || u.Hostname() == "" {
		return nil, fmt.Errorf("server %.80q is not a URL, such as %s", text, DefaultServer)
	}
	if u.Scheme != "http" && u.Scheme != "https" {
		return nil, fmt.Errorf("server %.80q: %s is neither http nor https", text, u.Scheme)
	}
	if u.User != nil || u.RawQuery != "" || u.Fragment != "" {
		return nil, fmt.Errorf("server %.80q: a host, maybe a port and a path, and nothing else", u.Redacted())
	}
	return u, nil
}

func isLoopback(host string) bool {
	if strings.EqualFold(host, "localhost") {
		return true
	}
	ip, err := netip.ParseAddr(host)
	return err == nil && ip.IsLoopback()
}

// proxyOf returns the proxy that the environment names for a request. There is
// none to this machine, however it is spelled: a token may be in plain text.
func proxyOf(r *http.Request) (*url.URL, error) {
	if isLoopback(r.URL.Hostname()) {
		return nil, nil //nolint:nilnil // as http.Transport has it
	}
	return http.ProxyFromEnvironment(r)
}

// call is one request, and what its answer has to be like.
type call struct {
	method string
	path   string // below /api/v1, with its slash, escaped
	query  url.Values
	header http.Header
	body   []byte
	waits  time.Duration // asked of the server
	accept string        // empty: JSON
}

// answer is an answer of the 200s, read to its end.
type answer struct {
	status int
	header http.Header
	body   []byte
}

// do makes a call and reads the answer. Statuses of 300 and above are errors.
func (c *Client) do(ctx context.Context, call call) (*answer, error) {
	for attempt := 1; ; attempt++ {
		a, err := c.once(ctx, call)
		if err == nil || call.method != http.MethodGet || attempt >= c.o.Attempts || !passing(err) {
			return a, err
		}
		if pause(ctx, c.o.Pause<<(attempt-1)) != nil {
			return nil, err
		}
	}
}

// pause waits, and returns the error of ctx if that ends first.
func pause(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-t.C:
		return nil
	}
}

// passing reports whether a GET that failed may well succeed a little later.
func passing(err error) bool {
	if _, ok := errors.AsType[*UnreachableError](err); ok {
		return !errors.Is(err, context.Canceled) && !errors.Is(err, context.DeadlineExceeded)
	}
	e, ok := errors.AsType[*Error](err)
	return ok && (e.Status == http.StatusBadGateway || e.Status == http.StatusServiceUnavailable || e.Status == http.StatusGatewayTimeout)
}

func (c *Client) once(ctx context.Context, call call) (*answer, error) {
	ctx, cancel := context.WithTimeout(ctx, c.o.Timeout+call.waits)
	defer cancel()
	resp, err := c.send(ctx, call)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswerBytes+1))
	if err != nil {
		return nil, &UnreachableError{Server: c.o.Server, Err: err, Written: call.method != http.MethodGet}
	}
	if len(body) > maxAnswerBytes {
		return nil, fmt.Errorf("%s %s: the answer is longer than %d bytes", call.method, call.path, maxAnswerBytes)
	}
	return &answer{resp.StatusCode, resp.Header, body}, nil
}

// maxErrorBytes bounds the body of an answer that is an error.
const maxErrorBytes = 4 << 20

// send makes a call and returns the answer with its body still to be read.
func (c *Client) send(ctx context.Context, call call) (*http.Response, error) {
	target := c.base + call.path
	if len(call.query) > 0 {
		target += "?" + call.query.Encode()
	}
	var body io.Reader = http.NoBody
	if call.body != nil {
		body = bytes.NewReader(call.body)
	}
	var sent atomic.Bool // maybe
	traced := httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{
		GotConn: func(httptrace.GotConnInfo) { sent.Store(true) },
	})
	r, err := http.NewRequestWithContext(traced, call.method, target, body)
	if err != nil {
		return nil, err
	}
	r.Header.Set("Accept", cmp.Or(call.accept, "application/json"))
	if c.o.Token != "" {
		r.Header.Set("Authorization", "Bearer "+c.o.Token)
	} else if c.o.Author != "" {
		r.Header.Set("Sluice-Author", c.o.Author)
	}
	maps.Copy(r.Header, call.header)
	resp, err := c.http.Do(r)
	if err != nil {
		if cause := ctx.Err(); cause != nil {
			err = cause
		}
		return nil, &UnreachableError{Server: c.o.Server, Err: withoutURL(err), Written: sent.Load() && call.method != http.MethodGet}
	}
	if resp.StatusCode >= http.StatusMultipleChoices {
		defer resp.Body.Close()
		text, _ := io.ReadAll(io.LimitReader(resp.Body, maxErrorBytes))
		return nil, readError(call.method, target, resp, text)
	}
	return resp, nil
}

// withoutURL takes away what is said in other words already.
func withoutURL(err error) error {
	if u, ok := errors.AsType[*url.Error](err); ok {
		return u.Err
	}
	return err
}

// escape makes one segment of a path of a name, slashes and all.
func escape(name string) string { return url.PathEscape(name) }
