// SPDX-License-Identifier: Apache-2.0

package tlsconf_test

import (
	"context"
	"crypto/tls"
	"io"
	"net"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/sluice-mesh/sluice/proxy/tlsconf"
	"github.com/sluice-mesh/sluice/routing"
	"github.com/sluice-mesh/sluice/test/certs"
)

func TestReload(t *testing.T) {
	for _, tt := range []struct {
		name string
		// change changes the files of a pair, and says whether what is shown
		// then is the new one.
		change func(b *bed, next certs.Pair) bool
		told   string // in the log, once
		shown  string // in the status
	}{
		{"a new pair", func(b *bed, next certs.Pair) bool { b.write("shop", next); return true }, "certificate read anew", ""},
		{"a certificate whose key is not there yet", func(b *bed, next certs.Pair) bool {
			b.put("shop.crt", next.Certificate)
			return false
		}, "certificate cannot be used", "shop.key: is not the key of shop.crt"},
		{"a key whose certificate is not there yet", func(b *bed, next certs.Pair) bool {
			b.put("shop.key", next.Key)
			return false
		}, "certificate cannot be used", "shop.key: is not the key of shop.crt"},
		{"a certificate that is half written", func(b *bed, next certs.Pair) bool {
			b.put("shop.crt", next.Certificate[:len(next.Certificate)/2])
			return false
		}, "certificate cannot be used", "shop.crt: ends inside a block of PEM"},
		{"a chain that is half written", func(b *bed, next certs.Pair) bool {
			b.put("shop.key", next.Key)
			b.put("shop.crt", append(next.Certificate, b.ca.PEM[:len(b.ca.PEM)/2]...))
			return false
		}, "certificate cannot be used", "shop.crt: ends inside a block of PEM"},
		{"a key that is half written", func(b *bed, next certs.Pair) bool {
			b.put("shop.key", next.Key[:len(next.Key)/2])
			return false
		}, "certificate cannot be used", "shop.key: ends inside a block of PEM"},
		{"files that are empty", func(b *bed, _ certs.Pair) bool {
			b.put("shop.crt", nil)
			b.put("shop.key", nil)
			return false
		}, "certificate cannot be used", "shop.crt: holds no certificate in PEM"},
		{"files that are gone", func(b *bed, _ certs.Pair) bool {
			b.remove("shop.crt")
			b.remove("shop.key")
			return false
		}, "certificate cannot be used", "shop.crt: no such file or directory"},
		{"a file that cannot be one", func(b *bed, _ certs.Pair) bool {
			b.put("shop.crt", make([]byte, 5<<20))
			return false
		}, "certificate cannot be used", "shop.crt: is larger than 4 MB"},
		{"a pair that has ended", func(b *bed, _ certs.Pair) bool {
			b.write("shop", b.ca.With(certs.Expired()).Issue(b.t, "shop.example", "ended.example"))
			return true
		}, "certificate has expired and is served", ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			b := newBed(t)
			first, next := b.ca.Issue(t, "shop.example"), b.ca.Issue(t, "shop.example", "new.example")
			s := b.server(listen(b.write("shop", first)))
			config := s.Config() // a door keeps the one that it began with
			taken := tt.change(b, next)
			for range 3 {
				b.Look(t.Context())
			}
			_, got, _, err := shake(t, config, careless("shop.example"))
			if err != nil {
				t.Fatal(err)
			}
			if is := !got.PeerCertificates[0].Equal(first.Leaf); is != taken {
				t.Errorf("what is new is shown: %v, want %v", is, taken)
			}
			if n := b.log.count(tt.told); n != 1 {
				t.Errorf("%q stands %d times in the log, want once:\n%s", tt.told, n, b.log)
			}
			if st := b.Status(); len(st) != 1 || st[0].Error != tt.shown {
				t.Errorf("Status() = %+v, want the error %q", st, tt.shown)
			}
			result := map[bool]string{true: "result=ok", false: "result=failed"}[taken]
			if n := b.counted("sluice_tls_certificate_reloads_total", result); n != 1 {
				t.Errorf("%v reloads are counted as %s, want 1", n, result)
			}
			// Once all is well again, it is told and shown.
			b.write("shop", next)
			b.Look(t.Context())
			expectServed(t, s, b.asking(), next)
			if st := b.Status(); st[0].Error != "" {
				t.Errorf("Status() = %+v once all is well", st)
			}
			keepsSecrets(t, b, first, next)
		})
	}
}

// keepsSecrets expects that nothing of a key stands in what may be seen.
func keepsSecrets(t *testing.T, b *bed, pairs ...certs.Pair) {
	t.Helper()
	for _, p := range pairs {
		for line := range strings.Lines(string(p.Key)) {
			if line = strings.TrimSpace(line); !strings.HasPrefix(line, "-") && strings.Contains(b.log.String(), line) {
				t.Error("the log shows a key")
			}
		}
	}
}

// put writes a file below the directory of the store.
func (b *bed) put(name string, content []byte) {
	b.t.Helper()
	if err := os.WriteFile(filepath.Join(b.dir, name), content, 0o600); err != nil {
		b.t.Fatal(err)
	}
}

func (b *bed) remove(name string) {
	b.t.Helper()
	if err := os.Remove(filepath.Join(b.dir, name)); err != nil {
		b.t.Fatal(err)
	}
}

// As Kubernetes does it: files are links into a directory that is itself a
// link, which is replaced.
func TestReloadBehindALink(t *testing.T) {
	b := newBed(t)
	first, next := b.ca.Issue(t, "shop.example"), b.ca.Issue(t, "shop.example")
	for name, p := range map[string]certs.Pair{"..1": first, "..2": next} {
		p.WriteFiles(filepath.Join(b.dir, name), "tls")
	}
	link := func(target, name string) {
		t.Helper()
		if err := os.Symlink(target, filepath.Join(b.dir, name)); err != nil {
			t.Fatal(err)
		}
	}
	link("..1", "..data")
	link("..data/tls.crt", "tls.crt")
	link("..data/tls.key", "tls.key")
	s := b.server(listen(routing.KeyPair{Certificate: "tls.crt", Key: "tls.key"}))
	expectServed(t, s, b.asking(), first)
	link("..2", "..data_tmp")
	if err := os.Rename(filepath.Join(b.dir, "..data_tmp"), filepath.Join(b.dir, "..data")); err != nil {
		t.Fatal(err)
	}
	b.Look(t.Context())
	expectServed(t, s, b.asking(), next)
}

// What changes while it is read is left for the next look.
func TestReloadLeavesWhatIsBeingWritten(t *testing.T) {
	b := newBed(t)
	first, next := b.ca.Issue(t, "shop.example"), b.ca.Issue(t, "shop.example")
	s := b.server(listen(b.write("shop", first)))
	stop := make(chan struct{})
	var writing sync.WaitGroup
	writing.Go(func() {
		for i := 0; ; i++ { // never the same twice
			select {
			case <-stop:
				return
			default:
				b.put("shop.crt", append(make([]byte, i%1000), next.Certificate...))
			}
		}
	})
	b.Look(t.Context())
	close(stop)
	writing.Wait()
	expectServed(t, s, b.asking(), first)
	b.write("shop", next)
	b.Look(t.Context())
	expectServed(t, s, b.asking(), next)
}

// One pair of a gateway is renewed though another one is broken.
func TestReloadPairByPair(t *testing.T) {
	b := newBed(t)
	shop, cart := b.ca.Issue(t, "shop.example"), b.ca.Issue(t, "cart.example")
	s := b.server(listen(b.write("shop", shop), b.write("cart", cart)))
	next := b.ca.Issue(t, "cart.example")
	b.put("shop.key", nil)
	b.write("cart", next)
	b.Look(t.Context())
	expectServed(t, s, careless("cart.example"), next)
	expectServed(t, s, careless("shop.example"), shop)
}

func TestFirstLoad(t *testing.T) {
	for _, tt := range []struct {
		name  string
		ruin  func(b *bed, p certs.Pair)
		wants string
	}{
		{"a pair that does not match", func(b *bed, _ certs.Pair) { b.put("shop.key", b.ca.Issue(b.t, "x").Key) }, "shop.key: is not the key of shop.crt"},
		{"no certificate", func(b *bed, _ certs.Pair) { b.remove("shop.crt") }, "shop.crt: no such file or directory"},
		{"no key", func(b *bed, _ certs.Pair) { b.remove("shop.key") }, "shop.key: no such file or directory"},
		{"a directory", func(b *bed, _ certs.Pair) {
			b.remove("shop.key")
			if err := os.Mkdir(filepath.Join(b.dir, "shop.key"), 0o700); err != nil {
				b.t.Fatal(err)
			}
		}, "shop.key: is not a regular file"},
		{"files the wrong way round", func(b *bed, p certs.Pair) {
			b.put("shop.crt", p.Key)
			b.put("shop.key", p.Certificate)
		}, "shop.crt: holds no certificate in PEM"},
		{"a key that is encrypted", func(b *bed, p certs.Pair) {
			b.put("shop.key", []byte(strings.ReplaceAll(string(p.Key), "PRIVATE KEY", "ENCRYPTED PRIVATE KEY")))
		}, "shop.key: holds a private key that is encrypted: only one in clear can be used"},
		{"a key of nonsense", func(b *bed, _ certs.Pair) {
			b.put("shop.key", []byte("-----BEGIN PRIVATE KEY-----\nc2VjcmV0\n-----END PRIVATE KEY-----\n"))
		}, "shop.key: holds no private key that can be used"},
		{"a certificate of nonsense", func(b *bed, _ certs.Pair) {
			b.put("shop.crt", []byte("-----BEGIN CERTIFICATE-----\nc2VjcmV0\n-----END CERTIFICATE-----\n"))
		}, "shop.crt: holds a certificate that cannot be read: "},
		{"no authorities", func(b *bed, _ certs.Pair) { b.put("people.crt", nil) }, "people.crt: holds no certificate in PEM"},
		{"two faults", func(b *bed, _ certs.Pair) {
			b.remove("shop.crt")
			b.remove("people.crt")
		}, "shop.crt: no such file or directory; people.crt: no such file or directory"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			b := newBed(t)
			p := b.ca.Issue(t, "shop.example")
			asks := listen(b.write("shop", p))
			asks.ClientAuth, asks.ClientCA = routing.ClientAuthOptional, "people.crt"
			b.ca.WriteFile(b.dir, "people.crt")
			tt.ruin(b, p)
			s, err := b.Server(asks, "http/1.1")
			if s != nil || err == nil || !strings.HasPrefix(err.Error(), tt.wants) || strings.Contains(err.Error(), b.dir) {
				t.Fatalf("Server() = %v, %v; want the error %q", s, err, tt.wants)
			}
			if log := b.log.String(); log != "" {
				t.Errorf("what is returned is logged besides: %s", log)
			}
			// It is tried again.
			_ = os.RemoveAll(filepath.Join(b.dir, "shop.key"))
			b.write("shop", p)
			b.ca.WriteFile(b.dir, "people.crt")
			if s, err = b.Server(asks, "http/1.1"); err != nil {
				t.Fatalf("Server() = %v once the files are good", err)
			}
			expectServed(t, s, b.asking(), p)
		})
	}
}

func TestExpiredIsServedAndTold(t *testing.T) {
	b := newBed(t)
	for name, o := range map[string]certs.Option{
		"expired": certs.Expired(),
		"future":  certs.Valid(time.Now().Add(time.Hour), time.Now().Add(2*time.Hour)),
	} {
		p := b.ca.With(o).Issue(t, name+".example")
		s := b.server(listen(b.write(name, p)))
		expectServed(t, s, careless(name+".example"), p)
	}
	for range 3 {
		b.Look(t.Context())
	}
	for _, told := range []string{"certificate has expired and is served", "certificate does not hold yet and is served"} {
		if n := b.log.count(told); n != 1 {
			t.Errorf("%q stands %d times in the log, want once:\n%s", told, n, b.log)
		}
	}
	st := b.Status()
	if len(st) != 2 || !st[0].Expired || st[1].Expired {
		t.Errorf("Status() = %+v, want that the first one has expired", st)
	}
	if got, want := b.counted("sluice_tls_certificate_not_after_seconds", "certificate=expired.crt"), float64(st[0].NotAfter.Unix()); got != want {
		t.Errorf("the metric of its end is %v, want %v", got, want)
	}
}

// No handshake and no connection suffers from a reload, however often there is
// one.
func TestReloadUnderLoad(t *testing.T) {
	b := newBed(t)
	pair := b.write("shop", b.ca.Issue(t, "shop.example"))
	s := b.server(listen(pair))
	ln, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var all sync.WaitGroup
	defer all.Wait()
	defer ln.Close()
	config := s.Config()
	all.Go(func() {
		for {
			nc, err := ln.Accept()
			if err != nil {
				return
			}
			all.Go(func() { // an echo
				c := tls.Server(nc, config)
				_, _ = io.Copy(c, c)
				_ = c.Close()
			})
		}
	})
	talk := func(d *tls.Dialer, rounds int, also func() bool) error {
		nc, err := d.DialContext(t.Context(), "tcp", ln.Addr().String())
		if err != nil {
			return err
		}
		defer nc.Close()
		_ = nc.SetDeadline(time.Now().Add(patience))
		answer := make([]byte, 4)
		for i := 0; i < rounds || also(); i++ {
			if _, err := nc.Write([]byte("ping")); err != nil {
				return err
			}
			if _, err := io.ReadFull(nc, answer); err != nil {
				return err
			}
		}
		return nil
	}
	var done atomic.Bool
	var clients sync.WaitGroup
	clients.Go(func() { // one connection through all of it
		if err := talk(&tls.Dialer{Config: b.asking()}, 1, func() bool { return !done.Load() }); err != nil {
			t.Errorf("the connection that stays: %v", err)
		}
	})
	cache := tls.NewLRUClientSessionCache(4)
	for range 2 {
		clients.Go(func() {
			for !done.Load() {
				asks := b.asking()
				asks.ClientSessionCache = cache
				if err := talk(&tls.Dialer{Config: asks}, 3, func() bool { return false }); err != nil {
					t.Errorf("a new connection: %v", err)
					return
				}
			}
		})
	}
	for range 5 {
		b.write("shop", b.ca.Issue(t, "shop.example"))
		b.Look(t.Context())
	}
	done.Store(true)
	clients.Wait()
	if n := b.counted("sluice_tls_certificate_reloads_total", "result=ok"); n != 5 {
		t.Errorf("%v reloads are counted, want 5", n)
	}
}

func TestRunLooks(t *testing.T) {
	b := newBed(t)
	b.Store = tlsconf.New(tlsconf.Options{Dir: b.dir, Every: time.Millisecond})
	first, next := b.ca.Issue(t, "shop.example"), b.ca.Issue(t, "shop.example")
	s := b.server(listen(b.write("shop", first)))
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		b.Run(ctx)
	}()
	was := s.Config()
	b.write("shop", next)
	for deadline := time.Now().Add(patience); s.Config() == was; runtime.Gosched() {
		if time.Now().After(deadline) {
			t.Fatal("the files are not looked at")
		}
	}
	expectServed(t, s, b.asking(), next)
	cancel()
	<-ended
}

// What nobody serves with any more is forgotten.
func TestForgets(t *testing.T) {
	b := newBed(t)
	s := b.server(listen(b.write("shop", b.ca.Issue(t, "shop.example"))))
	if n := b.Servers(); n != 1 {
		t.Fatalf("%d servers, want 1", n)
	}
	config := s.Config() // as a door holds it
	runtime.GC()
	b.Look(t.Context())
	if n := b.Servers(); n != 1 {
		t.Errorf("%d servers while a configuration is in use, want 1", n)
	}
	runtime.KeepAlive(config)
	for deadline := time.Now().Add(patience); b.Servers() > 0; b.Look(t.Context()) {
		if runtime.GC(); time.Now().After(deadline) {
			t.Fatal("a server that nobody holds is not forgotten")
		}
	}
	if st := b.Status(); len(st) != 1 {
		t.Errorf("Status() = %+v at once, want its file for a while", st)
	}
	b.Forget(time.Now().Add(time.Hour))
	if st := b.Status(); len(st) != 0 {
		t.Errorf("Status() = %+v an hour later, want nothing", st)
	}
}
