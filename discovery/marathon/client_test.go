// SPDX-License-Identifier: Apache-2.0

package marathon_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"log"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sluice-mesh/sluice/discovery/marathon"
)

// says answers with a status, a type and a text.
func says(status int, as, text string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", as)
		w.WriteHeader(status)
		fmt.Fprint(w, text)
	}
}

// leads redirects to another base.
func leads(to string) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		http.Redirect(w, r, to+r.URL.RequestURI(), http.StatusFound)
	}
}

// hangs does not answer.
func hangs(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() }

// stops answers the beginning and then no more.
func stops(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Content-Type", "application/json")
	fmt.Fprint(w, `{"apps":[`)
	_ = http.NewResponseController(w).Flush()
	<-r.Context().Done()
}

// drips answers a byte a second without end.
func drips(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Content-Type", "application/json")
	for r.Context().Err() == nil {
		fmt.Fprint(w, " ")
		_ = http.NewResponseController(w).Flush()
		select {
		case <-r.Context().Done():
		case <-time.After(time.Second):
		}
	}
}

func TestAnswersOfSeveralMasters(t *testing.T) {
	t.Parallel()
	const good = `{"apps":[]}`
	json := says(http.StatusOK, "application/json", good)
	page := says(http.StatusOK, "text/html; charset=utf-8", "<html>log in</html>")
	for _, tt := range []struct {
		name string
		a, b http.Handler
		want string // of the error; empty if there is none
	}{
		{"one that answers is enough", json, nil, ""},
		{"another one is asked where one is down", nil, json, ""},
		{"or has no leader", says(http.StatusBadGateway, "application/json", `{"message":"Could not determine the current leader"}`), json, ""},
		{"or hangs", http.HandlerFunc(hangs), json, ""},
		{"or stops in the middle", http.HandlerFunc(stops), json, ""},
		{"or never comes to an end", http.HandlerFunc(drips), json, ""},
		{"or answers with a page", page, json, ""},
		{"a redirect to another one is followed", leads("http://b:8080"), json, ""},
		{"none answers", nil, nil, "http://a:8080: connection refused; http://b:8080: connection refused"},
		{"all hang", http.HandlerFunc(hangs), http.HandlerFunc(hangs), "timeout awaiting response headers"},
		{"all stop in the middle", http.HandlerFunc(stops), http.HandlerFunc(stops), "nothing more was heard"},
		{"all drip", http.HandlerFunc(drips), http.HandlerFunc(drips), "takes too long"},
		{"redirects in a circle end", leads("http://b:8080"), leads("http://a:8080"), "in a circle"},
		{"what Marathon says is told", says(http.StatusServiceUnavailable, "application/json", `{"message":"no leader"}`), nil, `status 503: "no leader"`},
		{"what a page says is not", says(http.StatusServiceUnavailable, "text/html", "<html>oops</html>"), nil, "status 503: what answers says no more"},
		{"credentials are wanted", says(http.StatusUnauthorized, "text/plain", ""), nil, "status 401: Marathon wants credentials"},
		{"credentials are not enough", says(http.StatusForbidden, "text/plain", ""), nil, "status 403: Marathon does not let"},
		{"the path is wrong", says(http.StatusNotFound, "text/plain", ""), nil, "is a path missing"},
		{"a page is no answer", page, nil, "an HTML page is not what Marathon answers"},
		{"a redirect to nowhere", says(http.StatusFound, "text/plain", ""), nil, "status 302 leads nowhere"},
		{"a redirect to a stranger is refused", leads("http://thief:8080"), nil, `it redirects to "http://thief:8080", which is not followed: add that address`},
		{"as is one to another port", leads("http://a:80"), nil, `it redirects to "http://a:80"`},
		{"and one that gives up TLS", leads("https://a:8080"), nil, `it redirects to "https://a:8080"`},
		{"and one with a user", leads("http://u:p@b:8080"), json, ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			token := secretFile(t, "s3cret")
			synctest.Test(t, func(t *testing.T) {
				var n network
				if tt.a != nil {
					n.serve(t, "a:8080", tt.a)
				}
				if tt.b != nil {
					n.serve(t, "b:8080", tt.b)
				}
				thief := func(_ http.ResponseWriter, r *http.Request) {
					t.Errorf("a stranger was asked by %q", r.Header)
				}
				for _, address := range []string{"thief:8080", "a:80", "a:443"} {
					n.serve(t, address, http.HandlerFunc(thief))
				}
				c, err := marathon.NewClient(marathon.Options{
					URLs: []string{"http://a:8080", "http://b:8080"}, Dial: n.dial,
					Credentials: marathon.Credentials{TokenFile: token},
				})
				if err != nil {
					t.Fatal(err)
				}
				text, err := c.Snapshot(t.Context())
				switch {
				case tt.want == "" && (err != nil || text != good):
					t.Errorf("got %q, %v, want the answer", text, err)
				case tt.want != "" && (err == nil || !strings.Contains(err.Error(), tt.want)):
					t.Errorf("got %q, %v, want %q", text, err, tt.want)
				case err != nil && strings.Contains(err.Error(), "s3cret"):
					t.Errorf("%v shows the token", err)
				}
			})
		})
	}
}

func TestTheMasterThatAnsweredLastIsAskedFirst(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var n network
		var a, b asker
		stop := n.serve(t, "a:8080", &a)
		n.serve(t, "b:8080", &b)
		c, err := marathon.NewClient(marathon.Options{URLs: []string{"http://a:8080", "http://b:8080"}, Dial: n.dial})
		if err != nil {
			t.Fatal(err)
		}
		ask := func(wantA, wantB int) {
			t.Helper()
			if _, err := c.Snapshot(t.Context()); err != nil {
				t.Fatal(err)
			}
			_, gotA := a.last()
			_, gotB := b.last()
			if gotA != wantA || gotB != wantB {
				t.Errorf("asked %d and %d times, want %d and %d", gotA, gotB, wantA, wantB)
			}
		}
		ask(1, 0)
		stop()
		ask(1, 1)
		n.serve(t, "a:8080", &a)
		ask(1, 2)
	})
}

func TestWhatIsAskedFor(t *testing.T) {
	t.Parallel()
	token := secretFile(t, "s3cret")
	synctest.Test(t, func(t *testing.T) {
		var n network
		var got *http.Request
		n.serve(t, "a:8080", leads("http://b:8080"))
		n.serve(t, "b:8080", http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			got = r.Clone(r.Context())
			w.Header().Set("Content-Type", "text/event-stream")
			fmt.Fprint(w, "\r\n\r\nevent: status_update_event\r\ndata: {}\r\n\r\n")
		}))
		c, err := marathon.NewClient(marathon.Options{
			URLs: []string{"http://a:8080/service/marathon/", "http://b:8080"}, Dial: n.dial,
			Credentials: marathon.Credentials{TokenFile: token},
		})
		if err != nil {
			t.Fatal(err)
		}
		e, err := c.FirstEvent(t.Context())
		if err != nil || e.Name != "status_update_event" {
			t.Fatalf("got %+v, %v", e, err)
		}
		q := got.URL.Query()
		if got.URL.Path != "/service/marathon/v2/events" || q.Get("plan-format") != "light" || len(q["event_type"]) < 8 ||
			got.Header.Get("Accept") != "text/event-stream" || got.Header.Get("Authorization") != "token=s3cret" {
			t.Errorf("asked for %s by %v", got.URL, got.Header)
		}
		if _, err := c.Snapshot(t.Context()); err != nil {
			t.Fatal(err)
		}
		if got.URL.RequestURI() != "/service/marathon/v2/apps?embed=apps.tasks&embed=apps.deployments&embed=apps.readiness" || got.Header.Get("Accept") != "application/json" {
			t.Errorf("asked for %s by %v", got.URL, got.Header)
		}
	})
}

func TestAnAppIsAbsentOnlyIfMarathonSaysSo(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name   string
		answer http.HandlerFunc
		absent bool
	}{
		{"it says so", says(http.StatusNotFound, "application/json", `{"message":"App '/shop/web' does not exist"}`), true},
		{"it speaks of another app", says(http.StatusNotFound, "application/json", `{"message":"App '/shop' does not exist"}`), false},
		{"it does not know the address", says(http.StatusNotFound, "application/json", `{"message":"URI not found"}`), false},
		{"somebody else answers", says(http.StatusNotFound, "text/html", `<html>'/shop/web' does not exist</html>`), false},
		{"with another status", says(http.StatusBadGateway, "application/json", `{"message":"App '/shop/web' does not exist"}`), false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				var n network
				n.serve(t, "a:80", tt.answer)
				c, err := marathon.NewClient(marathon.Options{URLs: []string{"http://a"}, Dial: n.dial})
				if err != nil {
					t.Fatal(err)
				}
				if _, err := c.One(t.Context(), "/shop/web"); err == nil || errors.Is(err, marathon.ErrAbsent) != tt.absent {
					t.Errorf("got %v, want that it is absent: %t", err, tt.absent)
				}
			})
		})
	}
}

func TestAStreamOfEventsThatIsSilentIsGivenUp(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name, first string
		after       time.Duration
	}{
		{"after five minutes", "", 5 * time.Minute},
		{"after one, if it has told before that it lives", "\r\n", time.Minute},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				var n network
				n.serve(t, "a:80", http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
					w.Header().Set("Content-Type", "text/event-stream")
					fmt.Fprint(w, tt.first)
					_ = http.NewResponseController(w).Flush()
					<-r.Context().Done()
				}))
				c, err := marathon.NewClient(marathon.Options{URLs: []string{"http://a"}, Dial: n.dial})
				if err != nil {
					t.Fatal(err)
				}
				began := time.Now()
				_, err = c.FirstEvent(t.Context())
				if took := time.Since(began); err == nil || errors.Is(err, io.EOF) || took != tt.after {
					t.Errorf("ended with %v after %s, want %s", err, took, tt.after)
				}
			})
		})
	}
}

// authority makes certificates.
type authority struct {
	key  *ecdsa.PrivateKey
	cert *x509.Certificate
	pem  []byte
}

func newAuthority(t *testing.T) *authority {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	form := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "authority"}, IsCA: true, BasicConstraintsValid: true,
		NotAfter: time.Now().AddDate(100, 0, 0), KeyUsage: x509.KeyUsageCertSign, DNSNames: []string{"m"},
	}
	der, err := x509.CreateCertificate(rand.Reader, form, form, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return &authority{key, cert, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})}
}

// config returns that of a server whose certificate is the authority's own.
func (a *authority) config(most uint16) *tls.Config {
	return &tls.Config{
		MinVersion: tls.VersionTLS10, MaxVersion: most, //nolint:gosec // what is refused is tested
		Certificates: []tls.Certificate{{Certificate: [][]byte{a.cert.Raw}, PrivateKey: a.key}},
	}
}

// serveTLS has a handler answer by TLS, and returns the way there.
func serveTLS(t *testing.T, h http.Handler, config *tls.Config) (dial func(context.Context, string, string) (net.Conn, error)) {
	t.Helper()
	server := httptest.NewUnstartedServer(h)
	server.TLS = config
	server.Config.ErrorLog = log.New(io.Discard, "", 0)
	server.StartTLS()
	t.Cleanup(server.Close)
	return func(ctx context.Context, network, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, network, server.Listener.Addr().String())
	}
}

func TestTheFileOfAuthoritiesIsReadAgainWhenACertificateIsRefused(t *testing.T) {
	t.Parallel()
	old, now := newAuthority(t), newAuthority(t)
	file := secretFile(t, string(old.pem))
	var a asker
	dial := serveTLS(t, &a, old.config(tls.VersionTLS13))
	c, err := marathon.NewClient(marathon.Options{
		URLs: []string{"https://m"}, CAFile: file,
		Dial: func(ctx context.Context, network, address string) (net.Conn, error) {
			return dial(ctx, network, address)
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := c.Snapshot(t.Context()); err != nil {
		t.Fatal(err)
	}
	dial = serveTLS(t, &a, now.config(tls.VersionTLS13))
	c.Idle()
	if _, err := c.Snapshot(t.Context()); err == nil || !strings.Contains(err.Error(), "certificate") {
		t.Errorf("got %v, want that the certificate is refused", err)
	}
	write := func(text []byte) {
		t.Helper()
		if err := os.WriteFile(file, text, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write([]byte("half a file"))
	if _, err := c.Snapshot(t.Context()); err == nil {
		t.Error("a file without certificates was believed")
	}
	write(append(old.pem, now.pem...))
	if _, err := c.Snapshot(t.Context()); err != nil {
		t.Errorf("once the file has the new authority: %v", err)
	}
}

func TestOldTLSIsRefused(t *testing.T) {
	t.Parallel()
	of := newAuthority(t)
	var a asker
	c, err := marathon.NewClient(marathon.Options{
		URLs: []string{"https://m"}, CAFile: secretFile(t, string(of.pem)), Dial: serveTLS(t, &a, of.config(tls.VersionTLS11)),
	})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := c.Snapshot(t.Context()); err == nil || !strings.Contains(err.Error(), "protocol version") {
		t.Errorf("got %v, want that TLS 1.1 is refused", err)
	}
}

func TestWrongOptionsAreRefused(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name string
		o    marathon.Options
		want string // empty if all is well
	}{
		{"an address", marathon.Options{URLs: []string{"http://10.0.0.2:8080"}}, ""},
		{"several, with paths", marathon.Options{URLs: []string{"https://a/service/marathon/", "https://b/service/marathon"}}, ""},
		{"none", marathon.Options{}, "no address of Marathon"},
		{"without a scheme", marathon.Options{URLs: []string{"10.0.0.2:8080"}}, "no address of Marathon"},
		{"of another scheme", marathon.Options{URLs: []string{"zk://a"}}, "no address of Marathon"},
		{"without a host", marathon.Options{URLs: []string{"http://"}}, "no address of Marathon"},
		{"with a query", marathon.Options{URLs: []string{"http://a?b"}}, "no address of Marathon"},
		{"with a password", marathon.Options{URLs: []string{"http://u:s3cret@a"}}, "belong in a file"},
		{"with a password, and broken", marathon.Options{URLs: []string{"http://u:s3cret@[a"}}, "belong in a file"},
		{"authorities that are not there", marathon.Options{URLs: []string{"https://a"}, CAFile: filepath.Join(t.TempDir(), "x")}, "authorities of Marathon"},
		{"authorities that are none", marathon.Options{URLs: []string{"https://a"}, CAFile: secretFile(t, "s3cret")}, "has no certificate in PEM"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			err := tt.o.Check()
			if tt.want == "" && err != nil || tt.want != "" && (err == nil || !strings.Contains(err.Error(), tt.want)) || err != nil && strings.Contains(err.Error(), "s3cret") {
				t.Errorf("got %v, want %q", err, tt.want)
			}
		})
	}
}
