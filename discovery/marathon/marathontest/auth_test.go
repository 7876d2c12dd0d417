// SPDX-License-Identifier: Apache-2.0

package marathontest_test

import (
	"crypto"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/sluice-mesh/sluice/discovery/marathon/marathontest"
	"github.com/sluice-mesh/sluice/test/certs"
)

func TestBasicAuthentication(t *testing.T) {
	c := marathontest.Start(t, marathontest.Options{Users: map[string]string{"sluice": "secret"}})
	basic := func(user string) string { return "Basic " + base64.StdEncoding.EncodeToString([]byte(user)) }
	for _, tt := range []struct {
		name, authorization string
		want                int
	}{
		{"a user with the password is let in", basic("sluice:secret"), 200},
		{"with another password not", basic("sluice:Secret"), 401},
		{"nor somebody else", basic("root:secret"), 401},
		{"nor nobody", "", 401},
		{"nor a token", "token=secret", 401},
	} {
		t.Run(tt.name, func(t *testing.T) {
			a := ask(t, "GET", c.URL()+"/v2/apps", "", "Authorization", tt.authorization)
			if a.status != tt.want || (a.status == 401) != (a.header.Get("WWW-Authenticate") != "") {
				t.Errorf("= %d %v, want %d", a.status, a.header, tt.want)
			}
		})
	}
	if a := ask(t, "GET", c.URL()+"/ping", ""); a.status != 200 {
		t.Errorf("/ping = %d, want 200 for anybody", a.status)
	}
}

// signed is a token as an account makes it to log in.
func signed(t *testing.T, key *rsa.PrivateKey, algorithm, uid string, end time.Time) string {
	t.Helper()
	part := func(v any) string {
		b, err := json.Marshal(v)
		if err != nil {
			t.Fatal(err)
		}
		return base64.RawURLEncoding.EncodeToString(b)
	}
	text := part(map[string]string{"alg": algorithm, "typ": "JWT"}) + "." + part(map[string]any{"uid": uid, "exp": end.Unix()})
	sum := sha256.Sum256([]byte(text))
	signature, err := rsa.SignPKCS1v15(rand.Reader, key, crypto.SHA256, sum[:])
	if err != nil {
		t.Fatal(err)
	}
	return text + "." + base64.RawURLEncoding.EncodeToString(signature)
}

func TestLogin(t *testing.T) {
	account, err := marathontest.NewAccount("sluice")
	if err != nil {
		t.Fatal(err)
	}
	other, err := marathontest.NewAccount("other")
	if err != nil {
		t.Fatal(err)
	}
	c := marathontest.Start(t, marathontest.Options{
		Prefix: "/service/marathon", Accounts: map[string]*rsa.PublicKey{account.UID: account.Public()},
	})
	soon := time.Now().Add(time.Minute)
	login := func(uid, token string) string {
		return fmt.Sprintf(`{"uid": %q, "token": %q, "exp": %d}`, uid, token, time.Now().Add(time.Hour).Unix())
	}
	for _, tt := range []struct {
		name, body string
		want       int
	}{
		{"a token is given to an account that shows who it is", login("sluice", signed(t, account.Key, "RS256", "sluice", soon)), 200},
		{"not to one that signs with another key", login("sluice", signed(t, other.Key, "RS256", "sluice", soon)), 401},
		{"nor to one that is not known", login("other", signed(t, other.Key, "RS256", "other", soon)), 401},
		{"nor to one that signs as somebody else", login("sluice", signed(t, account.Key, "RS256", "root", soon)), 401},
		{"nor to one whose own token has ended", login("sluice", signed(t, account.Key, "RS256", "sluice", time.Now().Add(-time.Minute))), 401},
		{"nor by another algorithm", login("sluice", signed(t, account.Key, "none", "sluice", soon)), 401},
		{"nor by no token", login("sluice", "x"), 401},
		{"nor by half of JSON", `{"uid"`, 400},
	} {
		t.Run(tt.name, func(t *testing.T) {
			a := ask(t, "POST", c.LoginURL(), tt.body)
			if a.status != tt.want {
				t.Fatalf("= %d %s, want %d", a.status, a.body, tt.want)
			}
			if tt.want != 200 {
				return
			}
			var given struct{ Token string }
			if err := json.Unmarshal([]byte(a.body), &given); err != nil {
				t.Fatal(err)
			}
			if !strings.Contains(a.header.Get("Set-Cookie"), "dcos-acs-auth-cookie="+given.Token) {
				t.Errorf("Set-Cookie = %s, want the token", a.header.Get("Set-Cookie"))
			}
			for authorization, want := range map[string]int{
				"token=" + given.Token: 200, "Bearer " + given.Token: 401, "token=x": 401, "": 401,
			} {
				if a := ask(t, "GET", c.URL()+"/v2/apps", "", "Authorization", authorization); a.status != want {
					t.Errorf("Authorization %.10s...: %d, want %d", authorization, a.status, want)
				}
			}
		})
	}
	t.Run("a token holds until it is revoked", func(t *testing.T) {
		token := c.Token("sluice")
		if a := ask(t, "GET", c.URL()+"/v2/apps", "", "Authorization", "token="+token); a.status != 200 {
			t.Errorf("= %d, want 200", a.status)
		}
		c.RevokeTokens()
		if a := ask(t, "GET", c.URL()+"/v2/apps", "", "Authorization", "token="+token); a.status != 401 {
			t.Errorf("= %d, want 401", a.status)
		}
	})
	t.Run("or until its end", func(t *testing.T) {
		c := marathontest.Start(t, marathontest.Options{Accounts: map[string]*rsa.PublicKey{}, TokenLife: time.Nanosecond})
		if a := ask(t, "GET", c.URL()+"/v2/apps", "", "Authorization", "token="+c.Token("sluice")); a.status != 401 {
			t.Errorf("= %d, want 401", a.status)
		}
	})
	t.Run("the file of an account is as DC/OS hands it out", func(t *testing.T) {
		text, err := account.File(c.LoginURL())
		if err != nil {
			t.Fatal(err)
		}
		var file struct {
			UID           string
			PrivateKey    string `json:"private_key"`
			LoginEndpoint string `json:"login_endpoint"`
		}
		if err := json.Unmarshal(text, &file); err != nil {
			t.Fatal(err)
		}
		block, _ := pem.Decode([]byte(file.PrivateKey))
		if block == nil {
			t.Fatal("the key is not PEM")
		}
		key, err := x509.ParsePKCS8PrivateKey(block.Bytes)
		if err != nil {
			t.Fatal(err)
		}
		if file.UID != "sluice" || file.LoginEndpoint != c.LoginURL() || !account.Key.Equal(key) {
			t.Errorf("file = %+v", file)
		}
	})
}

func TestTLS(t *testing.T) {
	ca := certs.New(t)
	c := marathontest.Start(t, marathontest.Options{TLS: &tls.Config{
		Certificates: []tls.Certificate{ca.Issue(t, "127.0.0.1").TLS()}, MinVersion: tls.VersionTLS12,
	}})
	client := &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: ca.Pool(), MinVersion: tls.VersionTLS12}}}
	defer client.CloseIdleConnections()
	r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, c.URL()+"/ping", http.NoBody)
	if err != nil {
		t.Fatal(err)
	}
	resp, err := client.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	if !strings.HasPrefix(c.URL(), "https://") || resp.StatusCode != http.StatusOK {
		t.Errorf("%s = %d", c.URL(), resp.StatusCode)
	}
}
