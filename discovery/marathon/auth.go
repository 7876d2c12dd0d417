// SPDX-License-Identifier: Apache-2.0

package marathon

import (
	"bytes"
	"cmp"
	"context"
	"crypto"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"strings"
	"sync"
	"time"
)

const (
	// maxSecretFile bounds a file of credentials, and the answer to a log-in.
	maxSecretFile = 64 << 10
	// loginTimeout bounds a log-in.
	loginTimeout = 30 * time.Second
	// loginLife is how long a log-in is valid before it is used.
	loginLife = time.Minute
	// tokenLife is how long a token is asked for.
	tokenLife = time.Hour
	// renewBefore is how long before its end a token is no longer used.
	renewBefore = 10 * time.Second
)

// authenticator makes the header that says who asks. Files are read each time,
// so that what changes counts at once; a token of a service account is kept
// until shortly before its end. Nothing of a secret is part of an error. All
// methods are safe for concurrent use.
type authenticator struct {
	from Credentials
	send func(*http.Request) (*http.Response, error) // to the log-in

	mu    sync.Mutex // guards the fields below, and lets one log in at a time
	token string     // of the service account
	until time.Time  // when token is no longer to be used
}

// header returns the value of the field Authorization, or "" if there is to be
// none.
func (a *authenticator) header(ctx context.Context) (string, error) {
	switch {
	case a.from.BasicAuthFile != "":
		user, err := readBasicAuth(a.from.BasicAuthFile)
		return "Basic " + base64.StdEncoding.EncodeToString(user), err
	case a.from.TokenFile != "":
		token, err := readToken(a.from.TokenFile)
		return "token=" + token, err
	case a.from.ServiceAccountFile != "":
		token, err := a.current(ctx)
		return "token=" + token, err
	}
	return "", nil
}

// refused notes that a header was refused, and reports whether another one can be
// had: files were read just before.
func (a *authenticator) refused(header string) bool {
	if a.from.ServiceAccountFile == "" {
		return false
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	if "token="+a.token == header {
		a.token = ""
	}
	return true
}

// check reports whether the files say what they should.
func (c Credentials) check() error {
	named := 0
	for _, file := range []string{c.BasicAuthFile, c.TokenFile, c.ServiceAccountFile} {
		if file != "" {
			named++
		}
	}
	if named > 1 {
		return errors.New("credentials of Marathon: name one file, of a user, of a token, or of a service account")
	}
	var err error
	switch {
	case c.BasicAuthFile != "":
		_, err = readBasicAuth(c.BasicAuthFile)
	case c.TokenFile != "":
		_, err = readToken(c.TokenFile)
	case c.ServiceAccountFile != "":
		_, err = readServiceAccount(c.ServiceAccountFile)
	}
	return err
}

// readSecret reads a file of credentials.
func readSecret(file string) ([]byte, error) {
	f, err := os.Open(file)
	if err != nil {
		return nil, fmt.Errorf("credentials of Marathon: %w", err)
	}
	data, err := io.ReadAll(io.LimitReader(f, maxSecretFile+1))
	if err := cmp.Or(err, f.Close()); err != nil {
		return nil, fmt.Errorf("credentials of Marathon: %w", err)
	}
	if len(data) > maxSecretFile {
		return nil, fmt.Errorf("credentials of Marathon: %s has more than %d bytes", file, maxSecretFile)
	}
	return data, nil
}

func readBasicAuth(file string) ([]byte, error) {
	data, err := readSecret(file)
	if err != nil {
		return nil, err
	}
	line, _, _ := bytes.Cut(data, []byte("\n"))
	line = bytes.TrimSuffix(line, []byte("\r"))
	if user, _, ok := bytes.Cut(line, []byte(":")); !ok || len(user) == 0 {
		return nil, fmt.Errorf("credentials of Marathon: the first line of %s is not user:password", file)
	}
	return line, nil
}

func readToken(file string) (string, error) {
	data, err := readSecret(file)
	if err != nil {
		return "", err
	}
	token := strings.TrimPrefix(strings.TrimSpace(string(data)), "token=")
	if !isToken(token) {
		return "", fmt.Errorf("credentials of Marathon: %s has no token: one word on one line", file)
	}
	return token, nil
}

// isToken reports whether a text can stand in a header as a token.
func isToken(text string) bool {
	return text != "" && !strings.ContainsFunc(text, func(r rune) bool { return r <= ' ' || r >= 0x7f })
}

// serviceAccount is an account of DC/OS.
type serviceAccount struct {
	uid   string
	key   *rsa.PrivateKey
	login *url.URL
}

func readServiceAccount(file string) (*serviceAccount, error) {
	data, err := readSecret(file)
	if err != nil {
		return nil, err
	}
	var text struct {
		UID           string `json:"uid"`
		PrivateKey    string `json:"private_key"`
		LoginEndpoint string `json:"login_endpoint"`
	}
	if json.Unmarshal(data, &text) != nil { // its error may show what is in the file
		return nil, fmt.Errorf("credentials of Marathon: %s is not JSON with uid, private_key and login_endpoint, texts all three", file)
	}
	key, err := parseKey(text.PrivateKey)
	if err != nil {
		return nil, fmt.Errorf("credentials of Marathon: %s: private_key: %w", file, err)
	}
	login, err := url.Parse(text.LoginEndpoint)
	if err != nil || login.Scheme != "https" && login.Scheme != "http" || login.Host == "" || login.User != nil {
		return nil, fmt.Errorf("credentials of Marathon: %s: login_endpoint is no address, such as https://leader.mesos/acs/api/v1/auth/login", file)
	}
	if text.UID == "" {
		return nil, fmt.Errorf("credentials of Marathon: %s: uid is missing", file)
	}
	return &serviceAccount{text.UID, key, login}, nil
}

var errNoKey = errors.New("this is no RSA key in PEM, PKCS 1 or PKCS 8")

func parseKey(text string) (*rsa.PrivateKey, error) {
	block, _ := pem.Decode([]byte(text))
	if block == nil {
		return nil, errNoKey
	}
	if key, err := x509.ParsePKCS1PrivateKey(block.Bytes); err == nil {
		return key, nil
	}
	key, err := x509.ParsePKCS8PrivateKey(block.Bytes)
	if err != nil {
		return nil, errNoKey // the other one may show what is in the key
	}
	if key, ok := key.(*rsa.PrivateKey); ok {
		return key, nil
	}
	return nil, errNoKey
}

// current returns a token of the service account, a new one if there is none
// that is valid for a while.
func (a *authenticator) current(ctx context.Context) (string, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.token != "" && time.Now().Before(a.until) {
		return a.token, nil
	}
	account, err := readServiceAccount(a.from.ServiceAccountFile)
	if err != nil {
		return "", err
	}
	ctx, cancel := context.WithTimeout(ctx, loginTimeout)
	defer cancel()
	now := time.Now()
	token, err := a.login(ctx, account, now)
	if err != nil {
		return "", fmt.Errorf("log in as %q at %s: %w", account.uid, shown(account.login), err)
	}
	a.token, a.until = token, endOf(token, now).Add(-renewBefore)
	return token, nil
}

// login logs an account in.
func (a *authenticator) login(ctx context.Context, of *serviceAccount, now time.Time) (string, error) {
	proof, err := of.proof(now)
	if err != nil {
		return "", err
	}
	body, err := json.Marshal(map[string]any{"uid": of.uid, "token": proof, "exp": now.Add(tokenLife).Unix()})
	if err != nil {
		return "", err
	}
	q, err := http.NewRequestWithContext(ctx, http.MethodPost, of.login.String(), bytes.NewReader(body))
	if err != nil {
		return "", err
	}
	q.Header.Set("Content-Type", "application/json")
	q.Header.Set("Accept", "application/json")
	r, err := a.send(q)
	if err != nil {
		return "", err
	}
	defer r.Body.Close()
	switch {
	case r.StatusCode == http.StatusUnauthorized || r.StatusCode == http.StatusForbidden:
		return "", fmt.Errorf("status %d: the account is not known there, or its key is another one", r.StatusCode)
	case r.StatusCode != http.StatusOK:
		return "", fmt.Errorf("status %d", r.StatusCode)
	}
	return readLogin(r)
}

// readLogin reads the token of an answer: from its body, or else its cookie.
func readLogin(r *http.Response) (string, error) {
	var answer struct {
		Token string `json:"token"`
	}
	data, err := io.ReadAll(io.LimitReader(r.Body, maxSecretFile))
	if err != nil {
		return "", err
	}
	_ = json.Unmarshal(data, &answer) // without a token the cookie counts
	for _, c := range r.Cookies() {
		if c.Name == "dcos-acs-auth-cookie" && answer.Token == "" {
			answer.Token = c.Value
		}
	}
	if !isToken(answer.Token) {
		return "", errors.New("the answer has no token")
	}
	return answer.Token, nil
}

// proof returns what shows that the account's key is known: a JWT, RFC 7519,
// signed by RS256, RFC 7518 section 3.3.
func (s *serviceAccount) proof(now time.Time) (string, error) {
	claims, err := json.Marshal(map[string]any{"uid": s.uid, "exp": now.Add(loginLife).Unix()})
	if err != nil {
		return "", err
	}
	text := base64.RawURLEncoding.EncodeToString([]byte(`{"alg":"RS256","typ":"JWT"}`)) + "." +
		base64.RawURLEncoding.EncodeToString(claims)
	sum := sha256.Sum256([]byte(text))
	signature, err := rsa.SignPKCS1v15(rand.Reader, s.key, crypto.SHA256, sum[:])
	if err != nil {
		return "", err
	}
	return text + "." + base64.RawURLEncoding.EncodeToString(signature), nil
}

// endOf returns when a token ends: as it says itself, if it is a JWT that says
// so, or as it was asked for at a time.
func endOf(token string, asked time.Time) time.Time {
	end := asked.Add(tokenLife)
	parts := strings.Split(token, ".")
	if len(parts) != 3 {
		return end
	}
	text, err := base64.RawURLEncoding.DecodeString(strings.TrimRight(parts[1], "="))
	if err != nil {
		return end
	}
	var claims struct {
		Exp float64 `json:"exp"`
	}
	if json.Unmarshal(text, &claims) == nil && claims.Exp > 0 && claims.Exp < float64(end.Unix()) {
		return time.Unix(int64(claims.Exp), 0)
	}
	return end
}
