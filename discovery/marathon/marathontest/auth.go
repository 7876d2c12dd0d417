// SPDX-License-Identifier: Apache-2.0

package marathontest

import (
	"cmp"
	"crypto"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"errors"
	"net/http"
	"strings"
	"time"
)

// loginPath is where DC/OS has accounts log in: beside Marathon, without its
// prefix.
const loginPath = "/acs/api/v1/auth/login"

// tokenCookie is the cookie that a login sets.
const tokenCookie = "dcos-acs-auth-cookie"

// Account is a service account of DC/OS.
type Account struct {
	UID string
	Key *rsa.PrivateKey
}

// NewAccount makes an account with a new key.
func NewAccount(uid string) (*Account, error) {
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	return &Account{uid, key}, err
}

// Public returns the key by which the account is known; see Options.Accounts.
func (a *Account) Public() *rsa.PublicKey { return &a.Key.PublicKey }

// File returns the account as DC/OS hands it out, JSON with uid, private_key and
// login_endpoint.
func (a *Account) File(login string) ([]byte, error) {
	der, err := x509.MarshalPKCS8PrivateKey(a.Key)
	if err != nil {
		return nil, err
	}
	return json.Marshal(map[string]string{
		"scheme": "RS256", "uid": a.UID, "login_endpoint": login,
		"private_key": string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der})),
	})
}

// LoginURL returns where accounts log in.
func (c *Cluster) LoginURL() string { return c.scheme() + c.servers[0].address + loginPath }

// Token returns a new token of an account, as a login does.
func (c *Cluster) Token(uid string) string {
	token, _ := c.issue(uid, c.o.TokenLife)
	return token
}

// RevokeTokens has no token hold any more that was issued so far.
func (c *Cluster) RevokeTokens() {
	c.mu.Lock()
	defer c.mu.Unlock()
	clear(c.tokens)
}

func (c *Cluster) issue(uid string, life time.Duration) (token string, end time.Time) {
	end = time.Now().Add(life)
	payload, _ := json.Marshal(map[string]any{"uid": uid, "exp": end.Unix()}) // nothing in it can fail
	token = encodePart([]byte(`{"alg":"HS256","typ":"JWT"}`)) + "." + encodePart(payload) + "." + encodePart([]byte(rand.Text()))
	c.mu.Lock()
	defer c.mu.Unlock()
	for old, end := range c.tokens {
		if time.Now().After(end) {
			delete(c.tokens, old)
		}
	}
	c.tokens[token] = end
	return token, end
}

func encodePart(b []byte) string { return base64.RawURLEncoding.EncodeToString(b) }

// login answers a login: an account shows by a token of its own, signed by its
// key, who it is, and is given one that Marathon takes.
func (c *Cluster) login(w http.ResponseWriter, r *http.Request) {
	if r.Method != http.MethodPost {
		refuse(w, http.StatusMethodNotAllowed, "a login is a POST")
		return
	}
	var asked struct {
		UID   string `json:"uid"`
		Token string `json:"token"`
		Exp   int64  `json:"exp"`
	}
	if err := json.NewDecoder(http.MaxBytesReader(w, r.Body, 1<<20)).Decode(&asked); err != nil {
		refuse(w, http.StatusBadRequest, "invalid JSON: "+err.Error())
		return
	}
	if err := verify(asked.Token, asked.UID, c.o.Accounts[asked.UID], time.Now()); err != nil {
		refuse(w, http.StatusUnauthorized, err.Error())
		return
	}
	life := c.o.TokenLife
	if asked.Exp > 0 {
		life = min(life, time.Until(time.Unix(asked.Exp, 0)))
	}
	token, end := c.issue(asked.UID, life)
	http.SetCookie(w, &http.Cookie{Name: tokenCookie, Value: token, Path: "/", HttpOnly: true, Expires: end, Secure: c.o.TLS != nil})
	writeJSON(w, http.StatusOK, map[string]string{"token": token})
}

// verify checks a token that is signed by RS256, RFC 7518 section 3.3.
func verify(token, uid string, key *rsa.PublicKey, now time.Time) error {
	if key == nil {
		return errors.New("there is no such account")
	}
	parts := strings.Split(token, ".")
	if len(parts) != 3 {
		return errors.New("the token has not three parts")
	}
	var header struct {
		Alg string `json:"alg"`
	}
	var claims struct {
		UID string `json:"uid"`
		Exp int64  `json:"exp"`
	}
	if err := cmp.Or(decodePart(parts[0], &header), decodePart(parts[1], &claims)); err != nil {
		return err
	}
	signature, err := base64.RawURLEncoding.DecodeString(parts[2])
	if err != nil {
		return err
	}
	sum := sha256.Sum256([]byte(parts[0] + "." + parts[1]))
	switch {
	case header.Alg != "RS256":
		return errors.New("the token is not signed by RS256")
	case rsa.VerifyPKCS1v15(key, crypto.SHA256, sum[:], signature) != nil:
		return errors.New("the token is not signed by the account's key")
	case claims.UID != uid:
		return errors.New("the token is of another account")
	case !now.Before(time.Unix(claims.Exp, 0)):
		return errors.New("the token has ended")
	}
	return nil
}

func decodePart(part string, into any) error {
	b, err := base64.RawURLEncoding.DecodeString(part)
	if err != nil {
		return err
	}
	return json.Unmarshal(b, into)
}

// admits reports whether a call is let in.
func (c *Cluster) admits(r *http.Request) bool {
	if c.o.Users == nil && c.o.Accounts == nil {
		return true
	}
	if user, password, ok := r.BasicAuth(); ok {
		want, known := c.o.Users[user]
		return known && want == password
	}
	token, ok := strings.CutPrefix(r.Header.Get("Authorization"), "token=")
	if !ok {
		return false
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	end, known := c.tokens[token]
	return known && time.Now().Before(end)
}
