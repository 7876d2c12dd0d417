// SPDX-License-Identifier: Apache-2.0

package tlsconf

import (
	"cmp"
	"context"
	"crypto/tls"
	"log/slog"
	"path/filepath"
	"slices"
	"sync"
	"time"
	"weak"

	"github.com/sluice-mesh/sluice/metrics"
	"github.com/sluice-mesh/sluice/routing"
)

// Options shape a Store. The zero Options are ready to use.
type Options struct {
	// Dir is the directory that relative names are below. Empty means the
	// working directory.
	Dir string
	// SecretsDir is the folder of what Secrets keeps. Empty means that no
	// Secrets come.
	SecretsDir string
	// Every is how often the files are looked at. Zero means 2 s.
	Every time.Duration
	// Metrics holds the series. Nil means that nothing is counted.
	Metrics *metrics.Registry
	// Log is told of files that are read anew. Nil means no log.
	Log *slog.Logger
}

func (o Options) withDefaults() Options {
	o.Every = cmp.Or(o.Every, 2*time.Second)
	o.Metrics = cmp.Or(o.Metrics, metrics.New(metrics.Options{}))
	o.Log = cmp.Or(o.Log, slog.New(slog.DiscardHandler))
	return o
}

// forget is how long something that nobody uses is kept.
const forget = 10 * time.Minute

// twice is the time after which a file must still hold what it held, to be
// believed.
const twice = 50 * time.Millisecond

// Store holds what the files of a table have come to. Its methods may be
// called from any goroutine.
type Store struct {
	options    Options
	handshakes handshakes
	reloaded   *metrics.Counter
	failed     *metrics.Counter
	looking    sync.Mutex // one look at a time

	mu      sync.Mutex // guards all below
	sources map[routing.KeyPair]*source
	servers []weak.Pointer[Server] // forgotten by themselves: a door holds them
	clients sync.Map               // of clientKey and *Client; stored under mu
	tickets keyring
}

// New returns a Store that has read nothing yet.
func New(o Options) *Store {
	o = o.withDefaults()
	s := &Store{
		options:    o,
		handshakes: newHandshakes(o.Metrics),
		reloaded:   o.Metrics.TLSCertificateReloads("ok"),
		failed:     o.Metrics.TLSCertificateReloads("failed"),
		sources:    make(map[routing.KeyPair]*source),
	}
	o.Metrics.TLSCertificateNotAfter(s.ends)
	return s
}

// Run looks at the files until ctx ends.
func (s *Store) Run(ctx context.Context) {
	tick := time.NewTicker(s.options.Every)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
			s.Look(ctx)
		}
	}
}

// Look looks at the files once, as Run does from time to time, and returns when
// what has changed is in use, or ctx has ended.
func (s *Store) Look(ctx context.Context) {
	s.looking.Lock()
	defer s.looking.Unlock()
	changed := s.readChanged()
	if len(changed) > 0 {
		wait := time.NewTimer(twice)
		defer wait.Stop()
		select {
		case <-ctx.Done():
			return
		case <-wait.C:
		}
	}
	s.takeChanged(changed)
}

// readChanged reads what has changed.
func (s *Store) readChanged() map[*source]reading {
	now := time.Now()
	changed := make(map[*source]reading)
	for src, stamps := range s.stamps() {
		if src.changed(stamps) {
			changed[src] = src.read(now)
		}
	}
	return changed
}

// stamps returns the sources with their stamps, which are replaced and never
// written to.
func (s *Store) stamps() map[*source][]stamp {
	s.mu.Lock()
	defer s.mu.Unlock()
	all := make(map[*source][]stamp, len(s.sources))
	for _, src := range s.sources {
		all[src] = src.stamps
	}
	return all
}

// takeChanged makes use of what still reads as it did before.
func (s *Store) takeChanged(before map[*source]reading) {
	now := time.Now()
	after := make(map[*source]reading, len(before))
	for src := range before {
		after[src] = src.read(now)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	fresh := false
	for src, r := range after {
		if was := before[src]; !r.equal(&was) {
			continue // it is being written
		}
		fresh = s.takeOne(src, r) || fresh
	}
	if s.tickets.rotate(now) || fresh {
		s.refresh()
	}
	s.tidy(now)
}

// takeOne has a source take what was read, and tells of it once. What was never
// of use is an error of whoever asks for it.
func (s *Store) takeOne(src *source, r reading) (fresh bool) {
	had, before := src.serial > 0, src.err
	fresh = src.take(r)
	switch told := before != nil && src.err != nil && before.Error() == src.err.Error(); {
	case !had, told:
	case fresh:
		s.reloaded.Add(0, 1)
		s.options.Log.Info("certificate read anew", "file", src.pair.Certificate)
	case src.err != nil:
		s.failed.Add(0, 1)
		s.options.Log.Warn("certificate cannot be used, the last good one stays", "file", src.pair.Certificate, "error", src.err)
	case before != nil:
		s.options.Log.Info("certificate is as it was again", "file", src.pair.Certificate)
	}
	s.warn(src, time.Now())
	return fresh
}

// warn tells once of a certificate that is in use outside its time.
func (s *Store) warn(src *source, now time.Time) {
	if src.certificate == nil || src.late {
		return
	}
	leaf := src.certificate.Leaf
	switch {
	case now.After(leaf.NotAfter):
		src.late = true
		s.options.Log.Warn("certificate has expired and is served", "file", src.pair.Certificate, "not_after", leaf.NotAfter)
	case now.Before(leaf.NotBefore):
		src.late = true
		s.options.Log.Warn("certificate does not hold yet and is served", "file", src.pair.Certificate, "not_before", leaf.NotBefore)
	}
}

// refresh has all that is in use take what its sources hold by now. The store
// is locked.
func (s *Store) refresh() {
	for _, p := range s.servers {
		if srv := p.Value(); srv != nil {
			srv.refresh(&s.tickets)
		}
	}
	for _, c := range s.clients.Range {
		c.(*Client).refresh()
	}
}

// tidy forgets what nobody uses. The store is locked.
func (s *Store) tidy(now time.Time) {
	s.servers = slices.DeleteFunc(s.servers, func(p weak.Pointer[Server]) bool {
		srv := p.Value()
		if srv != nil {
			touch(srv.sources, now)
		}
		return srv == nil
	})
	for key, c := range s.clients.Range {
		c := c.(*Client)
		if now.Sub(time.Unix(0, c.used.Load())) > forget {
			s.clients.Delete(key)
			continue
		}
		touch(c.sources, now)
	}
	for key, src := range s.sources {
		s.warn(src, now)
		if now.Sub(src.used) > forget {
			delete(s.sources, key)
		}
	}
}

func touch(sources []*source, now time.Time) {
	for _, src := range sources {
		src.used = now
	}
}

// source returns the source of a pair, or of the authorities that stand in a
// file, read at once if it is new or of no use so far. The store is locked.
func (s *Store) source(pair routing.KeyPair) *source {
	src := s.sources[pair]
	if src == nil {
		src = &source{pair: pair, secrets: s.options.SecretsDir}
		for _, name := range []string{pair.Certificate, pair.Key} {
			if name != "" {
				src.paths = append(src.paths, s.path(name, pair.Key == ""))
			}
		}
		src.stamps = make([]stamp, len(src.paths))
		s.sources[pair] = src
	}
	now := time.Now()
	src.used = now
	if src.serial == 0 && (src.err == nil || src.changed(src.stamps)) {
		s.takeOne(src, src.read(now))
	}
	return src
}

// path returns where a file is; authority says that it is of authorities.
func (s *Store) path(name string, authority bool) string {
	if namespace, called, ok := routing.SecretOf(name); ok {
		return secretPath(s.options.SecretsDir, namespace, called, authority)
	}
	if !filepath.IsAbs(name) && s.options.Dir != "" {
		name = filepath.Join(s.options.Dir, name)
	}
	return name
}

// recordsAsLarge has records be as large as they may: a small first one is
// with its reader a moment earlier, all others cost more on both sides.
func recordsAsLarge(c *tls.Config) *tls.Config {
	c.DynamicRecordSizingDisabled = true
	return c
}
