// SPDX-License-Identifier: Apache-2.0

package marathon

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"
)

const (
	// answerTimeout is how long Marathon may take to begin an answer: during an
	// election it takes seconds, and a large cluster's snapshot as long.
	answerTimeout = 46 * time.Second
	// bodyTimeout is how long an answer may stop in the middle.
	bodyTimeout = 30 * time.Second
	// wholeTimeout bounds an answer from the question to its end.
	wholeTimeout = 5 * time.Minute
	// maxRedirects is how often an answer may lead elsewhere.
	maxRedirects = 3
	// maxComplaint bounds what is read of an answer that is none.
	maxComplaint = 4 << 10
)

// client asks Marathon. Of several bases it asks the one first that answered
// last, and the others, each once, where that fails. All methods are safe for
// concurrent use.
type client struct {
	bases   []*url.URL
	origins map[string]bool // to which credentials may go
	auth    *authenticator
	trust   trust
	limit   int64 // of an answer, in bytes

	mu   sync.Mutex // guards last
	last int        // the base that answered last
}

// newClient returns a client as options say, which have their defaults.
func newClient(o Options) (*client, error) {
	bases, err := o.bases()
	if err != nil {
		return nil, err
	}
	if err := o.Credentials.check(); err != nil {
		return nil, err
	}
	c := &client{bases: bases, origins: make(map[string]bool), limit: o.MaxAnswer}
	for _, b := range bases {
		c.origins[originOf(b)] = true
	}
	c.auth = &authenticator{from: o.Credentials, send: c.send}
	c.trust = trust{file: o.CAFile, transport: o.transport}
	return c, c.trust.load()
}

// originOf returns scheme, host and port of an address.
func originOf(u *url.URL) string {
	port := u.Port()
	if port == "" {
		port = map[string]string{"http": "80", "https": "443"}[u.Scheme]
	}
	return u.Scheme + "://" + strings.ToLower(u.Hostname()) + ":" + port
}

// shown returns an address as it may be shown.
func shown(u *url.URL) string {
	return (&url.URL{Scheme: u.Scheme, Host: u.Host, Path: u.Path}).String()
}

// everywhere is why none of several bases would do.
type everywhere []error

// Error implements error.
func (e everywhere) Error() string {
	texts := make([]string, len(e))
	for i, err := range e {
		texts[i] = err.Error()
	}
	return strings.Join(texts, "; ")
}

// Unwrap lets errors.Is and errors.As see each.
func (e everywhere) Unwrap() []error { return e }

// each calls attempt with one base after the other until one does.
func (c *client) each(ctx context.Context, attempt func(base *url.URL) error) error {
	c.mu.Lock()
	first := c.last
	c.mu.Unlock()
	var all everywhere
	for i := range c.bases {
		at := (first + i) % len(c.bases)
		err := attempt(c.bases[at])
		if err != nil && c.trust.renew(err) {
			err = attempt(c.bases[at])
		}
		if err == nil {
			c.mu.Lock()
			c.last = at
			c.mu.Unlock()
			return nil
		}
		if ctx.Err() != nil {
			return ctx.Err()
		}
		all = append(all, fmt.Errorf("%s: %w", shown(c.bases[at]), err))
	}
	return all
}

// ask asks each base until read is content with what one answers.
func (c *client) ask(ctx context.Context, path, query string, read func(io.Reader) error) error {
	return c.each(ctx, func(base *url.URL) error {
		ctx, cancel := context.WithTimeoutCause(ctx, wholeTimeout, errTooSlow)
		defer cancel()
		body, err := c.open(ctx, base, path, query, "application/json")
		if err != nil {
			return err
		}
		defer body.Close()
		body.patience(bodyTimeout)
		return body.explain(read(body))
	})
}

// snapshotQuery has everything inside that counts.
const snapshotQuery = "embed=apps.tasks&embed=apps.deployments&embed=apps.readiness"

// snapshot has read called with the answer that holds all apps.
func (c *client) snapshot(ctx context.Context, read func(io.Reader) error) error {
	return c.ask(ctx, "/v2/apps", snapshotQuery, read)
}

// errAbsent is that an app is no more, as Marathon itself says.
var errAbsent = errors.New("there is no such app")

// one has read called with the answer that holds one app, whose id isID knows, or
// returns errAbsent.
func (c *client) one(ctx context.Context, id string, read func(io.Reader) error) error {
	err := c.ask(ctx, "/v2/apps"+id, snapshotQuery, read)
	if said, ok := errors.AsType[*statusError](err); ok && said.saysAbsent(id) {
		return errAbsent
	}
	return err
}

// stream begins a stream of events, which lasts until it is closed.
func (c *client) stream(ctx context.Context) (s *body, err error) {
	q := url.Values{"plan-format": {"light"}, "event_type": slices.Concat([]string{attachedEvent}, appEvents, deploymentEvents)}
	err = c.each(ctx, func(base *url.URL) (err error) {
		s, err = c.open(ctx, base, "/v2/events", q.Encode(), "text/event-stream")
		return err
	})
	return s, err
}

// open asks one base, as often as it takes to follow redirects and to log in
// again, and returns the answer if it is of the type that was accepted. It is
// to be closed.
func (c *client) open(ctx context.Context, base *url.URL, path, query, accept string) (*body, error) {
	to := base.JoinPath(path)
	to.RawQuery = query
	retried := false
	for range maxRedirects + 2 {
		b, header, err := c.get(ctx, to, accept)
		if err != nil {
			return nil, err
		}
		switch {
		case b.status == http.StatusOK:
			if err = b.typeOf(accept); err == nil {
				return b, nil
			}
		case b.status == http.StatusUnauthorized && !retried && c.auth.refused(header):
			retried = true
		case b.status >= 300 && b.status < 400:
			to, err = c.redirect(to, b)
		default:
			err = b.complaint()
		}
		b.Close()
		if err != nil {
			return nil, err
		}
	}
	return nil, errors.New("it redirects in a circle: the masters do not agree on which of them leads")
}

// get sends one request, and returns the header of the credentials that it had.
func (c *client) get(ctx context.Context, to *url.URL, accept string) (*body, string, error) {
	ctx, cancel := context.WithCancelCause(ctx)
	header, err := c.auth.header(ctx)
	if err != nil {
		cancel(nil)
		return nil, "", err
	}
	q, err := http.NewRequestWithContext(ctx, http.MethodGet, to.String(), http.NoBody)
	if err != nil {
		cancel(nil)
		return nil, "", err
	}
	if header != "" {
		q.Header.Set("Authorization", header)
	}
	q.Header.Set("Accept", accept)
	q.Header.Set("User-Agent", "sluice")
	if accept != "application/json" {
		q.Header.Set("Accept-Encoding", "identity") // events are not to wait until a block is full
	}
	r, err := c.send(q) //nolint:bodyclose // whoever gets the answer closes it
	if err != nil {
		cancel(nil)
		return nil, "", err
	}
	return &body{r: r.Body, status: r.StatusCode, header: r.Header, ctx: ctx, cancel: cancel}, header, nil
}

// send sends a request. Errors leave out where to, which may hold what is not
// to be shown.
func (c *client) send(q *http.Request) (*http.Response, error) {
	r, err := c.trust.client().Do(q)
	if of, ok := errors.AsType[*url.Error](err); ok {
		err = of.Err
	}
	if err != nil && q.Context().Err() != nil {
		err = context.Cause(q.Context())
	}
	return r, err
}

// redirect returns where an answer leads. Only what is configured is followed:
// whoever can answer could otherwise have credentials sent anywhere.
func (c *client) redirect(from *url.URL, b *body) (*url.URL, error) {
	to, err := from.Parse(b.header.Get("Location"))
	if err != nil || b.header.Get("Location") == "" {
		return nil, fmt.Errorf("status %d leads nowhere", b.status)
	}
	if !c.origins[originOf(to)] || to.User != nil {
		return nil, fmt.Errorf("it redirects to %s, which is not followed: add that address to those of Marathon if it is one of its masters", strconv.Quote(clip(originOf(to))))
	}
	return to, nil
}

// statusError is an answer that is none.
type statusError struct {
	status  int
	message string // of Marathon; empty if it has none
}

// Error implements error.
func (e *statusError) Error() string {
	text := "what answers says no more"
	switch {
	case e.status == http.StatusUnauthorized:
		text = "Marathon wants credentials, or refuses those that it got"
	case e.status == http.StatusForbidden:
		text = "Marathon does not let these credentials see this"
	case e.message != "":
		text = strconv.Quote(clip(e.message))
	case e.status == http.StatusNotFound:
		text = "there is no Marathon at this address: is a path missing, such as /service/marathon?"
	}
	return fmt.Sprintf("status %d: %s", e.status, text)
}

// saysAbsent reports whether Marathon itself says that there is no such app: it
// names the app then, while a wrong address is not found either.
func (e *statusError) saysAbsent(id string) bool {
	return e.status == http.StatusNotFound && strings.Contains(e.message, "'"+id+"'") && strings.Contains(e.message, "does not exist")
}

// clip cuts what others wrote to a length that can be shown.
func clip(text string) string {
	const most = 200
	if len(text) > most {
		return text[:most] + "..."
	}
	return text
}

var (
	errTooSlow = errors.New("the answer takes too long")
	errSilent  = errors.New("nothing more was heard of the answer")
)

// body is an answer with its body. One goroutine reads it.
type body struct {
	r      io.ReadCloser
	status int
	header http.Header
	ctx    context.Context //nolint:containedctx // it is that of the request, which the body is a part of
	cancel context.CancelCauseFunc
	timer  *time.Timer   // nil while it may be silent for any time
	wait   time.Duration // which it may be silent for
}

// typeOf refuses an answer of another type than was asked for.
func (b *body) typeOf(accept string) error {
	got := strings.ToLower(b.header.Get("Content-Type"))
	switch {
	case strings.Contains(got, "html"):
		return errors.New("an HTML page is not what Marathon answers: is the address right, or does a log-in page stand before it?")
	case accept == "text/event-stream" && !strings.HasPrefix(got, accept):
		return fmt.Errorf("the stream of events is of type %q, not text/event-stream: what answers is no Marathon", clip(got))
	}
	return nil
}

// complaint returns what is wrong according to an answer that is none.
func (b *body) complaint() error {
	b.patience(bodyTimeout)
	data, _ := io.ReadAll(io.LimitReader(b, maxComplaint)) // what can be had of it
	var said struct {
		Message string `json:"message"`
	}
	_ = json.Unmarshal(data, &said) // most are no JSON
	return &statusError{b.status, said.Message}
}

// patience has the body fail once nothing is heard of it for a time.
func (b *body) patience(wait time.Duration) {
	b.wait = wait
	if b.timer == nil {
		b.timer = time.AfterFunc(wait, func() { b.cancel(errSilent) })
		return
	}
	b.timer.Reset(wait)
}

// Read implements io.Reader.
func (b *body) Read(p []byte) (int, error) {
	n, err := b.r.Read(p)
	if n > 0 && b.timer != nil {
		b.timer.Reset(b.wait)
	}
	if err != nil && err != io.EOF { //nolint:errorlint // io.Reader returns it as it is
		err = b.explain(err)
	}
	return n, err
}

// explain returns why reading was ended, if it was from here.
func (b *body) explain(err error) error {
	if err != nil && b.ctx.Err() != nil {
		return context.Cause(b.ctx)
	}
	return err
}

// Close implements io.Closer.
func (b *body) Close() error {
	if b.timer != nil {
		b.timer.Stop()
	}
	b.cancel(nil)
	return b.r.Close()
}

// trust holds the HTTP client that trusts the authorities of a file as they
// were when it was read last.
type trust struct {
	file      string
	transport func() *http.Transport

	mu   sync.Mutex // guards the fields below
	text string     // of the file
	http *http.Client
}

func (t *trust) client() *http.Client {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.http
}

// load makes the client anew, with the authorities that the file now names.
func (t *trust) load() error {
	config := &tls.Config{MinVersion: tls.VersionTLS12}
	text := ""
	if t.file != "" {
		data, err := os.ReadFile(t.file)
		if err != nil {
			return fmt.Errorf("authorities of Marathon: %w", err)
		}
		text = string(data)
		if config.RootCAs, err = x509.SystemCertPool(); err != nil {
			config.RootCAs = x509.NewCertPool()
		}
		if !config.RootCAs.AppendCertsFromPEM(data) {
			return fmt.Errorf("authorities of Marathon: %s has no certificate in PEM", t.file)
		}
	}
	transport := t.transport()
	transport.TLSClientConfig = config
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.http != nil {
		t.http.CloseIdleConnections()
	}
	t.text = text
	t.http = &http.Client{
		Transport:     transport,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	return nil
}

// renew reads the file again if an error says that a certificate is not
// trusted, and reports whether the file has changed. One that cannot be read is
// left for later: what it said last counts.
func (t *trust) renew(err error) bool {
	if _, refused := errors.AsType[*tls.CertificateVerificationError](err); t.file == "" || !refused {
		return false
	}
	data, err := os.ReadFile(t.file)
	t.mu.Lock()
	same := string(data) == t.text
	t.mu.Unlock()
	return err == nil && !same && t.load() == nil
}
