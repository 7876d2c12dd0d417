// SPDX-License-Identifier: Apache-2.0

package marathon_test

import (
	"crypto"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sluice-mesh/sluice/discovery/marathon"
)

// secretFile returns a file with a text.
func secretFile(t *testing.T, text string) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), "secret")
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}

// asker answers with an empty snapshot and notes who asks.
type asker struct {
	mu      sync.Mutex // guards the fields below
	headers []string
	refuse  func(header string) bool // nil refuses nobody
}

func (a *asker) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	a.mu.Lock()
	defer a.mu.Unlock()
	header := r.Header.Get("Authorization")
	a.headers = append(a.headers, header)
	if a.refuse != nil && a.refuse(header) {
		w.WriteHeader(http.StatusUnauthorized)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	fmt.Fprint(w, `{"apps":[]}`)
}

// last returns who asked last, and how often anybody did.
func (a *asker) last() (header string, times int) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if len(a.headers) == 0 {
		return "", 0
	}
	return a.headers[len(a.headers)-1], len(a.headers)
}

func TestCredentialsComeFromFilesAsTheyAreNow(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name           string
		of             func(file string) marathon.Credentials
		before, after  string
		want, wantThen string
	}{
		{
			"a user", func(f string) marathon.Credentials { return marathon.Credentials{BasicAuthFile: f} },
			"jo:se:cret\r\nmore", "jo:other", "Basic " + base64.StdEncoding.EncodeToString([]byte("jo:se:cret")), "Basic " + base64.StdEncoding.EncodeToString([]byte("jo:other")),
		},
		{
			"a token", func(f string) marathon.Credentials { return marathon.Credentials{TokenFile: f} },
			"abc.def\n", "token=ghi", "token=abc.def", "token=ghi",
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			file := secretFile(t, tt.before)
			synctest.Test(t, func(t *testing.T) {
				var n network
				var a asker
				n.serve(t, "m:8080", &a)
				c, err := marathon.NewClient(marathon.Options{URLs: []string{"http://m:8080"}, Credentials: tt.of(file), Dial: n.dial})
				if err != nil {
					t.Fatal(err)
				}
				for _, want := range []string{tt.want, tt.wantThen} {
					if _, err := c.Snapshot(t.Context()); err != nil {
						t.Fatal(err)
					}
					if got, _ := a.last(); got != want {
						t.Errorf("asked as %q, want %q", got, want)
					}
					if err := os.WriteFile(file, []byte(tt.after), 0o600); err != nil {
						t.Fatal(err)
					}
				}
			})
		})
	}
}

var accountKey = sync.OnceValue(func() *rsa.PrivateKey {
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		panic(err)
	}
	return key
})

// account returns the text of a service account that logs in at an address.
func account(login string, pkcs8 bool) string {
	block := &pem.Block{Type: "RSA PRIVATE KEY", Bytes: x509.MarshalPKCS1PrivateKey(accountKey())}
	if pkcs8 {
		der, err := x509.MarshalPKCS8PrivateKey(accountKey())
		if err != nil {
			panic(err)
		}
		block = &pem.Block{Type: "PRIVATE KEY", Bytes: der}
	}
	text, err := json.Marshal(map[string]string{"uid": "robot", "private_key": string(pem.EncodeToMemory(block)), "login_endpoint": login})
	if err != nil {
		panic(err)
	}
	return string(text)
}

// loginServer hands out tokens that end after a time.
type loginServer struct {
	life   time.Duration
	cookie bool

	mu     sync.Mutex // guards the fields below
	logins int
	wrong  string // what was wrong with the last
	status int    // to answer with; 0 means that all is well
}

func (l *loginServer) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.status != 0 {
		w.Header().Set("Location", "http://elsewhere/")
		w.WriteHeader(l.status)
		return
	}
	l.logins++
	l.wrong = wrongWith(r)
	claims, _ := json.Marshal(map[string]any{"uid": "robot", "exp": time.Now().Add(l.life).Unix()})
	token := fmt.Sprintf("h%d.%s.s", l.logins, base64.RawURLEncoding.EncodeToString(claims))
	if l.cookie {
		http.SetCookie(w, &http.Cookie{Name: "dcos-acs-auth-cookie", Value: token})
		fmt.Fprint(w, `{}`)
		return
	}
	fmt.Fprintf(w, `{"token":%q}`, token)
}

// wrongWith returns what is wrong with a log-in; empty if nothing is.
func wrongWith(r *http.Request) string {
	var body struct {
		UID, Token string
		Exp        int64
	}
	if err := json.NewDecoder(r.Body).Decode(&body); err != nil {
		return err.Error()
	}
	head, signature, _ := strings.Cut(body.Token, ".")
	claims, signature, _ := strings.Cut(signature, ".")
	sum := sha256.Sum256([]byte(head + "." + claims))
	sig, err := base64.RawURLEncoding.DecodeString(signature)
	if err != nil {
		return err.Error()
	}
	if err := rsa.VerifyPKCS1v15(&accountKey().PublicKey, crypto.SHA256, sum[:], sig); err != nil {
		return err.Error()
	}
	text, _ := base64.RawURLEncoding.DecodeString(claims)
	var said struct {
		UID string
		Exp int64
	}
	if err := json.Unmarshal(text, &said); err != nil {
		return err.Error()
	}
	now := time.Now().Unix()
	if said.UID != "robot" || said.Exp <= now || said.Exp > now+60 || body.UID != "robot" || body.Exp <= now {
		return fmt.Sprintf("%+v, %s", body, text)
	}
	return ""
}

func TestAServiceAccountLogsInWhenItHasTo(t *testing.T) {
	t.Parallel()
	for _, cookie := range []bool{false, true} {
		t.Run(fmt.Sprintf("the token is in a cookie: %t", cookie), func(t *testing.T) {
			t.Parallel()
			file := secretFile(t, account("http://login/acs", cookie))
			synctest.Test(t, func(t *testing.T) {
				var n network
				l := &loginServer{life: 10 * time.Minute, cookie: cookie}
				revoked := ""
				a := &asker{refuse: func(header string) bool { return header == revoked }}
				n.serve(t, "login:80", l)
				n.serve(t, "m:8080", a)
				c, err := marathon.NewClient(marathon.Options{
					URLs: []string{"http://m:8080"}, Credentials: marathon.Credentials{ServiceAccountFile: file}, Dial: n.dial,
				})
				if err != nil {
					t.Fatal(err)
				}
				ask := func(what string, logins int) string {
					t.Helper()
					if _, err := c.Snapshot(t.Context()); err != nil {
						t.Errorf("%s: %v", what, err)
					}
					l.mu.Lock()
					defer l.mu.Unlock()
					header, _ := a.last()
					if l.logins != logins || l.wrong != "" || !strings.HasPrefix(header, fmt.Sprintf("token=h%d.", logins)) {
						t.Errorf("%s: %d log-ins, wrong: %q, then asked as %.12q; want %d log-ins", what, l.logins, l.wrong, header, logins)
					}
					return header
				}
				ask("at first", 1)
				time.Sleep(9 * time.Minute)
				ask("while the token is valid", 1)
				time.Sleep(51 * time.Second)
				token := ask("shortly before its end", 2)
				a.mu.Lock()
				revoked = token
				a.mu.Unlock()
				ask("after it was refused", 3)
			})
		})
	}
}

func TestALogInThatFailsIsTried(t *testing.T) {
	t.Parallel()
	for status, want := range map[int]string{
		http.StatusUnauthorized: "the account is not known there",
		http.StatusFound:        "status 302",
		http.StatusBadGateway:   "status 502",
	} {
		t.Run(strconv.Itoa(status), func(t *testing.T) {
			t.Parallel()
			file := secretFile(t, account("http://login/acs", false))
			synctest.Test(t, func(t *testing.T) {
				var n network
				l := &loginServer{life: time.Hour, status: status}
				a := &asker{}
				n.serve(t, "login:80", l)
				n.serve(t, "elsewhere:80", l)
				n.serve(t, "m:8080", a)
				c, err := marathon.NewClient(marathon.Options{
					URLs: []string{"http://m:8080"}, Credentials: marathon.Credentials{ServiceAccountFile: file}, Dial: n.dial,
				})
				if err != nil {
					t.Fatal(err)
				}
				if _, err := c.Snapshot(t.Context()); err == nil || !strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), "robot") {
					t.Errorf("got %v, want %q", err, want)
				}
				if _, times := a.last(); times != 0 {
					t.Error("Marathon was asked without a token")
				}
				l.mu.Lock()
				l.status = 0
				l.mu.Unlock()
				if _, err := c.Snapshot(t.Context()); err != nil {
					t.Errorf("later: %v", err)
				}
			})
		})
	}
}

func TestWrongCredentialsAreRefusedAtTheStartWithoutBeingShown(t *testing.T) {
	t.Parallel()
	const secret = "hunter2"
	file := secretFile(t, secret)
	huge := secretFile(t, strings.Repeat(secret, 10_000))
	missing := filepath.Join(t.TempDir(), "missing")
	key := strings.Replace(account("http://login", false), "MII", "AAA", 1)
	for _, tt := range []struct {
		name string
		of   marathon.Credentials
		want string
	}{
		{"a user without a password", marathon.Credentials{BasicAuthFile: file}, "is not user:password"},
		{"a password without a user", marathon.Credentials{BasicAuthFile: secretFile(t, ":"+secret)}, "is not user:password"},
		{"a token of two words", marathon.Credentials{TokenFile: secretFile(t, secret+" "+secret)}, "has no token"},
		{"an empty file", marathon.Credentials{TokenFile: secretFile(t, "")}, "has no token"},
		{"a file that is not there", marathon.Credentials{TokenFile: missing}, "no such file"},
		{"a file that is too long", marathon.Credentials{TokenFile: huge}, "more than"},
		{"an account that is no JSON", marathon.Credentials{ServiceAccountFile: file}, "is not JSON"},
		{"an account of another form", marathon.Credentials{ServiceAccountFile: secretFile(t, `{"private_key":["`+secret+`"]}`)}, "is not JSON"},
		{"an account without a key", marathon.Credentials{ServiceAccountFile: secretFile(t, `{"uid":"a","private_key":"`+secret+`","login_endpoint":"http://l"}`)}, "no RSA key"},
		{"a key that is none", marathon.Credentials{ServiceAccountFile: secretFile(t, key)}, "no RSA key"},
		{"an account without a log-in", marathon.Credentials{ServiceAccountFile: secretFile(t, account("", false))}, "login_endpoint"},
		{"a log-in with a password", marathon.Credentials{ServiceAccountFile: secretFile(t, account("http://a:"+secret+"@l", false))}, "login_endpoint"},
		{"two files", marathon.Credentials{BasicAuthFile: file, TokenFile: file}, "name one file"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			err := marathon.Options{URLs: []string{"http://m:8080"}, Credentials: tt.of}.Check()
			if err == nil || !strings.Contains(err.Error(), tt.want) || strings.Contains(err.Error(), secret) {
				t.Errorf("got %v, want %q", err, tt.want)
			}
		})
	}
}
