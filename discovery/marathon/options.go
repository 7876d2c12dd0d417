// SPDX-License-Identifier: Apache-2.0

package marathon

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"strings"
	"time"
)

// Origin is the origin of what a Source tells.
const Origin = "marathon"

// Options shape a Source. All but URLs may be zero.
type Options struct {
	// URLs are where Marathon is reached, such as http://10.0.0.2:8080 or
	// https://master.mesos/service/marathon: any of its masters, in the order in
	// which they are asked. There must be one. They name all hosts to which
	// credentials may go, and to which an answer may redirect.
	URLs []string
	// Credentials say who asks. The zero Credentials are nobody's.
	Credentials Credentials
	// CAFile has the certificates, PEM, of the authorities that are trusted
	// beside those of the system. It is read again when a certificate is
	// refused. Empty means that there are none.
	CAFile string
	// Groups are the groups of marathon-lb whose apps become gateways; "*"
	// means all. None means that labels make no gateways.
	Groups []string
	// LBCertificates are PEM files, certificate and key in one, for all virtual
	// hosts that labels ask for.
	LBCertificates []string
	// Environments tell by group, such as /shop/eu, whose is what stands in it,
	// organisation/environment; the longest group counts. What stands elsewhere
	// is of whoever runs the source.
	Environments map[string]string
	// KeepLost says whether tasks that Marathon has lost sight of are used.
	KeepLost KeepLost
	// IPIndex is which of the addresses of a task is used that has several,
	// counted from 0 among those of IPv4, or all if none is.
	IPIndex int
	// Patience is how long the first listing waits for Marathon. What it has
	// not told by then is told as File remembers it, and later as it is.
	// Zero means 10 s.
	Patience time.Duration
	// Hold is how long an absence that only seems so is held back.
	// Zero means 60 s.
	Hold time.Duration
	// Quiet is how long after an event another one is waited for before
	// Marathon is asked what has changed, at most 2 s after the first.
	// Zero means 100 ms.
	Quiet time.Duration
	// Resync is how often everything is asked for, whatever events say.
	// Zero means 5 min.
	Resync time.Duration
	// MaxAnswer bounds an answer of Marathon in bytes. Zero means 64 MiB.
	MaxAnswer int64
	// File remembers what was told, for a start while Marathon does not answer.
	// It is made if it is not there; empty means that nothing is remembered.
	File string
	// Lookup finds the addresses of a host of tasks that has a name. Nil means
	// the system's resolver.
	Lookup func(ctx context.Context, host string) ([]netip.Addr, error)
	// Dial makes connections to Marathon. Nil means a net.Dialer that gives up
	// after 3 s.
	Dial func(ctx context.Context, network, address string) (net.Conn, error)
	// Log takes what concerns the watching itself; what is wrong with apps is
	// told to the sink. Nil discards it.
	Log *slog.Logger
}

// Credentials say who asks Marathon. At most one of the files is named; each is
// read when it is needed, so that one that changes counts at once. What is in
// them is never shown or logged.
type Credentials struct {
	// BasicAuthFile has user:password on its first line, as Marathon's own
	// authentication takes it.
	BasicAuthFile string
	// TokenFile has a token of DC/OS.
	TokenFile string
	// ServiceAccountFile has a service account of DC/OS, JSON with uid,
	// private_key (RSA, PEM) and login_endpoint, from which tokens are had.
	ServiceAccountFile string
}

// KeepLost says whether tasks are used that Marathon has lost sight of
// (TASK_LOST, TASK_UNREACHABLE), but which may well live.
type KeepLost uint8

const (
	// LostLast uses them while the app has no other task that can be used.
	LostLast KeepLost = iota
	// LostNever does not.
	LostNever
	// LostAlways does, like any other task.
	LostAlways
)

// String returns last, never or always.
func (k KeepLost) String() string {
	switch k {
	case LostNever:
		return "never"
	case LostAlways:
		return "always"
	default:
		return "last"
	}
}

// ParseKeepLost reads last, never or always; the empty text is last.
func ParseKeepLost(text string) (KeepLost, error) {
	for _, k := range []KeepLost{LostLast, LostNever, LostAlways} {
		if k.String() == cmp.Or(text, LostLast.String()) {
			return k, nil
		}
	}
	return 0, fmt.Errorf("%q is not last, never or always", text)
}

const (
	defaultMaxAnswer = 64 << 20
	connectTimeout   = 3 * time.Second
)

func (o Options) withDefaults() Options {
	o.Patience = cmp.Or(o.Patience, 10*time.Second)
	o.Hold = cmp.Or(o.Hold, time.Minute)
	o.Quiet = cmp.Or(o.Quiet, 100*time.Millisecond)
	o.Resync = cmp.Or(o.Resync, 5*time.Minute)
	o.MaxAnswer = cmp.Or(o.MaxAnswer, defaultMaxAnswer)
	o.Log = cmp.Or(o.Log, slog.New(slog.DiscardHandler))
	if o.Lookup == nil {
		o.Lookup = func(ctx context.Context, host string) ([]netip.Addr, error) {
			return net.DefaultResolver.LookupNetIP(ctx, "ip", host)
		}
	}
	if o.Dial == nil {
		o.Dial = (&net.Dialer{Timeout: connectTimeout}).DialContext
	}
	return o
}

// Check reports what is wrong: addresses that are none, or files that cannot be
// read.
func (o Options) Check() error {
	_, err := newClient(o.withDefaults())
	return err
}

// bases reads URLs.
func (o Options) bases() ([]*url.URL, error) {
	if len(o.URLs) == 0 {
		return nil, errors.New("no address of Marathon is given, such as http://10.0.0.2:8080")
	}
	var all []*url.URL
	for _, text := range o.URLs {
		u, err := parseBase(text)
		if err != nil {
			return nil, err
		}
		all = append(all, u)
	}
	return all, nil
}

// parseBase reads one of URLs. It shows nothing of a text that may hold a
// password.
func parseBase(text string) (*url.URL, error) {
	u, err := url.Parse(text)
	switch {
	case err != nil && strings.Contains(text, "@"), err == nil && u.User != nil:
		return nil, errors.New("an address of Marathon has no user and no password in it: they belong in a file")
	case err != nil:
		return nil, fmt.Errorf("%q is no address of Marathon: %w", text, err)
	case u.Scheme != "http" && u.Scheme != "https", u.Host == "", u.RawQuery != "", u.Fragment != "":
		return nil, fmt.Errorf("%q is no address of Marathon, such as http://10.0.0.2:8080 or https://master.mesos/service/marathon", text)
	}
	u.Path = strings.TrimRight(u.Path, "/")
	u.RawPath = strings.TrimRight(u.RawPath, "/")
	return u, nil
}

// transport returns the way to Marathon with a timeout for each wait but those
// between the bytes of an answer, which are those of who reads it. A proxy of the
// environment is not asked: masters are near, and credentials are theirs alone.
func (o Options) transport() *http.Transport {
	return &http.Transport{
		DialContext:            o.Dial,
		TLSHandshakeTimeout:    10 * time.Second,
		ResponseHeaderTimeout:  answerTimeout,
		IdleConnTimeout:        time.Minute,
		MaxIdleConnsPerHost:    2,
		MaxResponseHeaderBytes: 64 << 10,
	}
}
