// SPDX-License-Identifier: Apache-2.0

package admin_test

import (
	"bytes"
	"context"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"testing"

	"github.com/sluice-mesh/sluice/proxy/admin"
)

const secret = "0123456789abcdef0123456789abcdef"

// tokenFile writes a token to a file of a test.
func tokenFile(t *testing.T, text string, mode os.FileMode) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "token")
	writeToken(t, path, text, mode)
	return path
}

// writeToken puts a file in place of another, as an operator would.
func writeToken(t *testing.T, path, text string, mode os.FileMode) {
	t.Helper()
	if err := os.WriteFile(path+".new", []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(path+".new", mode); err != nil { // the umask has no say
		t.Fatal(err)
	}
	if err := os.Rename(path+".new", path); err != nil {
		t.Fatal(err)
	}
}

func newToken(t *testing.T, path string) *admin.Token {
	t.Helper()
	token, err := admin.NewToken(path)
	if err != nil {
		t.Fatal(err)
	}
	return token
}

func TestTokenIsAskedFor(t *testing.T) {
	o := full()
	o.Pprof = true
	o.Token = newToken(t, tokenFile(t, secret+"\n", 0o600))
	s := serve(t, o)
	all := []struct{ method, target string }{
		{"GET", "/"},
		{"GET", "/metrics"},
		{"GET", "/status"},
		{"POST", "/confirm"},
		{"POST", "/explain"},
		{"GET", "/debug/pprof/"},
		{"GET", "/debug/pprof/heap"},
		{"GET", "/nothing"},
		{"GET", "/livez/../status"},
		{"GET", "//livez"},
		{"GET", "/livez/"},
	}
	for _, tt := range []struct {
		name   string
		fields []string
	}{
		{"no token", nil},
		{"another one", []string{"Authorization: Bearer " + strings.Repeat("x", len(secret))}},
		{"a part of it", []string{"Authorization: Bearer " + secret[:31]}},
		{"more than it", []string{"Authorization: Bearer " + secret + "0"}},
		{"an empty one", []string{"Authorization: Bearer "}},
		{"another scheme", []string{"Authorization: Basic " + secret}},
		{"no scheme", []string{"Authorization: " + secret}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			for _, a := range all {
				got := ask(t, s, a.method, a.target, append([]string{"Host: " + s.Addr()}, tt.fields...)...)
				if got.code != http.StatusUnauthorized || !strings.HasPrefix(got.header.Get("WWW-Authenticate"), "Bearer ") {
					t.Errorf("%s %s = %d, WWW-Authenticate %q; want 401 and a challenge", a.method, a.target, got.code, got.header.Get("WWW-Authenticate"))
				}
				if strings.Contains(got.body, secret) || strings.Contains(got.body, "condition") {
					t.Errorf("%s %s tells too much: %s", a.method, a.target, got.body)
				}
			}
		})
	}
	for _, scheme := range []string{"Bearer", "bearer", "BEARER"} {
		got := ask(t, s, "GET", "/status", "Host: "+s.Addr(), "Authorization: "+scheme+" "+secret)
		if got.code != http.StatusOK {
			t.Errorf("GET /status with the token, by scheme %s = %d, want 200", scheme, got.code)
		}
	}
}

func TestProbesNeedNoToken(t *testing.T) {
	o := full()
	o.Token = newToken(t, tokenFile(t, secret, 0o600))
	o.Ready = func() []admin.Check {
		return []admin.Check{{Name: "gateways", OK: false, Detail: "port 9050 is taken"}}
	}
	s := serve(t, o)
	for _, tt := range []struct {
		target, token string
		code          int
		body          string
	}{
		{"/livez", "", 200, "ok\n"},
		{"/healthz", "", 200, "ok\n"},
		{"/readyz", "", 503, "not ready\n"},
		{"/readyz?verbose", "", 503, "not ready\n"},
		{"/startupz", "", 503, "not ready\n"},
		{"/readyz", secret, 503, "[-] gateways: port 9050 is taken\nnot ready\n"},
	} {
		fields := []string{"Host: " + s.Addr()}
		if tt.token != "" {
			fields = append(fields, "Authorization: Bearer "+tt.token)
		}
		if got := ask(t, s, "GET", tt.target, fields...); got.code != tt.code || got.body != tt.body {
			t.Errorf("GET %s with token %q = %d %q, want %d %q", tt.target, tt.token, got.code, got.body, tt.code, tt.body)
		}
	}
}

func TestTokenFileIsReadAnewWhenItChanges(t *testing.T) {
	path := tokenFile(t, secret, 0o600)
	var log record
	o := full()
	o.Token = newToken(t, path)
	o.Log = slog.New(slog.NewTextHandler(&log, nil))
	s := serve(t, o)
	lets := func(token string) bool {
		return ask(t, s, "GET", "/status", "Host: "+s.Addr(), "Authorization: Bearer "+token).code == http.StatusOK
	}
	next := strings.Repeat("n", 32)
	writeToken(t, path, next, 0o600)
	if lets(secret) || !lets(next) {
		t.Error("after a change, the old token is still good, or the new one is not")
	}
	writeToken(t, path, "short", 0o600)
	for range 3 {
		if !lets(next) || lets("short") {
			t.Error("after a change for the worse, the last good token is not what counts")
		}
	}
	if n := log.count("stays as it was"); n != 1 {
		t.Errorf("%d log entries of a change for the worse, want 1", n)
	}
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	if !lets(next) {
		t.Error("without the file, the last good token is not what counts")
	}
	writeToken(t, path, secret, 0o640)
	if !lets(secret) {
		t.Error("the file is not read anew after it was gone")
	}
	if log.count(secret) > 0 || log.count(next) > 0 {
		t.Error("the log shows a token")
	}
}

// record is a log that may be written to from any goroutine.
type record struct {
	mu  sync.Mutex // guards buf
	buf bytes.Buffer
}

func (r *record) Write(b []byte) (int, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.buf.Write(b)
}

func (r *record) count(s string) int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return strings.Count(r.buf.String(), s)
}

func TestTokenFilesThatAreRefused(t *testing.T) {
	for _, tt := range []struct {
		name, text string
		mode       os.FileMode
		want       string
	}{
		{"an empty one", "", 0o600, "at least 16"},
		{"a short token", "0123456789abcde\n", 0o600, "15 characters can be guessed; at least 16"},
		{"a long token", strings.Repeat("x", 1025), 0o600, "longer than 1024"},
		{"a token with a blank", "01234567 89abcdef", 0o600, "visible ASCII"},
		{"two lines", secret + "\n" + secret + "\n", 0o600, "visible ASCII"},
		{"letters beyond ASCII", strings.Repeat("ä", 20), 0o600, "visible ASCII"},
		{"one that all can read", secret, 0o644, "0644"},
		{"one that the group can change", secret, 0o660, "0660"},
		{"one that all can change", secret, 0o602, "0602"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if runtime.GOOS == "windows" && tt.mode != 0o600 {
				t.Skip("files have no such modes here")
			}
			path := tokenFile(t, tt.text, tt.mode)
			_, err := admin.NewToken(path)
			if err == nil || !strings.Contains(err.Error(), tt.want) || !strings.Contains(err.Error(), path) {
				t.Errorf("NewToken = %v, want an error with the path and %q", err, tt.want)
			}
			if tt.text != "" && err != nil && strings.Contains(err.Error(), strings.TrimSpace(tt.text)) {
				t.Errorf("the error shows the token: %v", err)
			}
		})
	}
	if _, err := admin.NewToken(t.TempDir()); err == nil {
		t.Error("NewToken of a directory = nil, want an error")
	}
	for _, text := range []string{secret, secret + "\n", " " + secret + "\r\n", strings.Repeat("x", 1024) + "\r\n"} {
		got, err := admin.ReadToken(tokenFile(t, text, 0o640))
		if err != nil || got != strings.TrimSpace(text) {
			t.Errorf("ReadToken of %.40q = %.40q, %v", text, got, err)
		}
	}
}

// With a token, the server may listen where others can reach it, and goes by
// any name there.
func TestOtherAddressesTakeAToken(t *testing.T) {
	s := admin.New(admin.Options{Addr: "0.0.0.0:0", Token: newToken(t, tokenFile(t, secret, 0o600)), Status: func() any { return "good" }})
	if err := s.Listen(t.Context()); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- s.Run(ctx) }()
	defer func() {
		cancel()
		if err := <-ended; err != nil {
			t.Errorf("Run = %v, want nil", err)
		}
	}()
	for _, tt := range []struct {
		token string
		code  int
	}{{secret, 200}, {"", 401}} {
		got := ask(t, s, "GET", "/status", "Host: proxy-7.example:8092", "Authorization: Bearer "+tt.token)
		if got.code != tt.code {
			t.Errorf("GET /status with token %q = %d, want %d", tt.token, got.code, tt.code)
		}
	}
	if got := ask(t, s, "GET", "/livez", "Host: 10.1.2.3:8092"); got.code != http.StatusOK {
		t.Errorf("GET /livez = %d, want 200", got.code)
	}
}

// A page whose name was made to resolve here knows no token, but a browser may
// be told to show one: loopback addresses stay for loopback names.
func TestLoopbackIsGuardedBesideTheToken(t *testing.T) {
	o := full()
	o.Token = newToken(t, tokenFile(t, secret, 0o600))
	s := serve(t, o)
	if got := ask(t, s, "GET", "/status", "Host: rebound.example", "Authorization: Bearer "+secret); got.code != http.StatusForbidden {
		t.Errorf("GET /status with Host rebound.example = %d, want 403", got.code)
	}
}
