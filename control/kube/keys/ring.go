// SPDX-License-Identifier: Apache-2.0

package keys

import (
	"bytes"
	"cmp"
	"context"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/hex"
	"encoding/pem"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/util/retry"

	"github.com/sluice-mesh/sluice/control/auth"
)

// ErrForeign reports a Secret that has a name of ours and is not ours.
var ErrForeign = errors.New("there is such a Secret, and it is not labelled as ours: delete it, or choose another name for the installation")

// The labels of Secrets that are ours, and their values.
const (
	LabelManagedBy = "app.kubernetes.io/managed-by"
	LabelName      = "app.kubernetes.io/name"
	owner          = "sluice"
)

// The names of Secrets end in these.
const (
	authoritySuffix = "-authority"
	controlSuffix   = "-control"
	tokensSuffix    = "-tokens"
	proxySuffix     = "-proxy"
	sidecarSuffix   = "-sidecar"
	adminSuffix     = "-admin"
)

// Keys of Secrets beside those that are called as package auth calls files.
const (
	tokenKey      = "token"
	adminTokenKey = "admin-token"
	recordSuffix  = ".json"
)

// How long what is made holds. It is renewed when half of that is left, and an
// authority when a tenth is.
const (
	authorityLife = 10 * 365 * 24 * time.Hour
	controlLife   = 365 * 24 * time.Hour
	joinLife      = 90 * 24 * time.Hour
	adminLife     = 365 * 24 * time.Hour
)

// adminTokenBytes is how much chance is in the token of admin servers.
const adminTokenBytes = 32

// Ring is all that an installation knows itself by. Client, Home and Hosts are
// needed.
type Ring struct {
	// Client may get and update Secrets of the names in Home, and create some.
	Client kubernetes.Interface
	// Home is the namespace of Kubernetes.
	Home string
	// Name begins the names of the Secrets; empty means sluice.
	Name string
	// Hosts are the names and addresses under which the control plane is
	// reached.
	Hosts []string
	// Namespaces are those that proxies may join, organisation/environment;
	// none means default/default. Sidecars may join the first.
	Namespaces []string
	// Clock tells the time.
	Clock auth.Clock
	// Told is called with each thing that was made, in the order in which it
	// was, for people to read; nil means that nobody asks.
	Told func(secret, what string)
}

// Keep makes what is missing, and renews what ends soon or is not for what r
// asks for any more. What is as it should be is not written. When several do it
// at once, each comes to the same end.
func (r *Ring) Keep(ctx context.Context) error {
	return retry.OnError(retry.DefaultRetry, changedMeanwhile, func() error { return r.keepOnce(ctx) })
}

// changedMeanwhile reports whether somebody else has written first.
func changedMeanwhile(err error) bool {
	return apierrors.IsConflict(err) || apierrors.IsAlreadyExists(err)
}

func (r *Ring) keepOnce(ctx context.Context) error {
	a, err := r.authority(ctx)
	if err != nil {
		return err
	}
	trust, err := r.control(ctx, a)
	if err != nil {
		return err
	}
	namespaces := r.Namespaces
	if len(namespaces) == 0 {
		namespaces = []string{"default/default"}
	}
	join := auth.Token{Kind: auth.Join, Name: "proxies of the installation", Namespaces: slices.Sorted(slices.Values(namespaces))}
	if err := r.token(ctx, proxySuffix, trust, join, joinLife); err != nil {
		return err
	}
	sidecar := auth.Token{Kind: auth.Join, Name: "sidecars", Namespaces: namespaces[:1], WithoutSecrets: true}
	if err := r.token(ctx, sidecarSuffix, trust, sidecar, joinLife); err != nil {
		return err
	}
	admin := auth.Token{
		Kind: auth.API, Name: "operator of the installation",
		Grants: []auth.Grant{{Namespace: auth.Everywhere, Rank: auth.Admin}},
	}
	return r.token(ctx, adminSuffix, trust, admin, adminLife)
}

func (r *Ring) now() time.Time {
	if r.Clock == nil {
		return time.Now()
	}
	return r.Clock()
}

// told tells that something was made.
func (r *Ring) told(s *secret, what string) {
	if r.Told != nil {
		r.Told(s.object.Name, what)
	}
}

// secret is a Secret as it is to be.
type secret struct {
	object *corev1.Secret
	there  bool
	before map[string][]byte // what it held
}

// read returns the Secret whose name has a suffix, empty if there is none.
func (r *Ring) read(ctx context.Context, suffix string) (*secret, error) {
	name := cmp.Or(r.Name, owner) + suffix
	object, err := r.Client.CoreV1().Secrets(r.Home).Get(ctx, name, metav1.GetOptions{})
	switch {
	case apierrors.IsNotFound(err):
		return &secret{object: &corev1.Secret{
			ObjectMeta: metav1.ObjectMeta{Name: name, Namespace: r.Home, Labels: map[string]string{LabelManagedBy: owner, LabelName: owner}},
			Type:       corev1.SecretTypeOpaque, Data: map[string][]byte{},
		}}, nil
	case err != nil:
		return nil, fmt.Errorf("secret %s/%s: %w", r.Home, name, err)
	case object.Labels[LabelManagedBy] != owner:
		return nil, fmt.Errorf("secret %s/%s: %w", r.Home, name, ErrForeign)
	}
	if object.Data == nil {
		object.Data = map[string][]byte{}
	}
	return &secret{object, true, maps.Clone(object.Data)}, nil
}

// write writes a Secret if it holds something else than before.
func (r *Ring) write(ctx context.Context, s *secret) (err error) {
	secrets := r.Client.CoreV1().Secrets(r.Home)
	switch {
	case !s.there:
		_, err = secrets.Create(ctx, s.object, metav1.CreateOptions{})
	case !maps.EqualFunc(s.before, s.object.Data, bytes.Equal):
		_, err = secrets.Update(ctx, s.object, metav1.UpdateOptions{})
	}
	if err != nil && !changedMeanwhile(err) {
		err = fmt.Errorf("secret %s/%s: %w", r.Home, s.object.Name, err)
	}
	return err
}

// authority returns the authority, which is made if there is none or its end
// is near.
func (r *Ring) authority(ctx context.Context) (*auth.Authority, error) {
	s, err := r.read(ctx, authoritySuffix)
	if err != nil {
		return nil, err
	}
	if s.there {
		a, err := auth.ParseAuthority(s.object.Data[auth.AuthorityFile], s.object.Data[auth.AuthorityKeyFile], r.Clock)
		if err != nil {
			return nil, fmt.Errorf("secret %s/%s: %w", r.Home, s.object.Name, err)
		}
		if a.Expires().Sub(r.now()) > authorityLife/10 {
			return a, nil
		}
	}
	a, err := auth.NewAuthority(authorityLife, r.Clock)
	if err != nil {
		return nil, err
	}
	key, err := a.KeyPEM()
	if err != nil {
		return nil, err
	}
	s.object.Data[auth.AuthorityFile], s.object.Data[auth.AuthorityKeyFile] = a.PEM(), key
	if err := r.write(ctx, s); err != nil {
		return nil, err
	}
	r.told(s, "an authority until "+date(a.Expires()))
	return a, nil
}

// control has the control plane show a certificate of the authority, and
// returns whom everybody is to trust.
func (r *Ring) control(ctx context.Context, a *auth.Authority) (trust []byte, err error) {
	s, err := r.read(ctx, controlSuffix)
	if err != nil {
		return nil, err
	}
	trust = r.trusted(a, s.object.Data[auth.AuthorityFile])
	made := ""
	if !r.shows(a, s.object.Data) {
		c, err := a.Issue(auth.Request{
			Identity: auth.Identity{Role: auth.RoleControl, Node: "control", Namespaces: []string{auth.Everywhere}},
			Names:    r.Hosts, Lifetime: controlLife,
		})
		if err != nil {
			return nil, fmt.Errorf("the certificate of the control plane: %w", err)
		}
		s.object.Data[auth.CertificateFile], s.object.Data[auth.KeyFile] = c.Certificate, c.Key
		made = "a certificate for " + strings.Join(r.Hosts, ", ") + " until " + date(c.Expires())
	}
	s.object.Data[auth.AuthorityFile] = trust
	if err := r.write(ctx, s); err != nil {
		return nil, err
	}
	if made != "" {
		r.told(s, made)
	}
	return trust, nil
}

// shows reports whether a Secret holds a certificate of the authority, for the
// hosts, and its key, and for long enough.
func (r *Ring) shows(a *auth.Authority, data map[string][]byte) bool {
	leaf, parent := first(data[auth.CertificateFile]), first(a.PEM())
	if leaf == nil || parent == nil || leaf.CheckSignatureFrom(parent) != nil {
		return false
	}
	if _, err := tls.X509KeyPair(data[auth.CertificateFile], data[auth.KeyFile]); err != nil {
		return false
	}
	names := slices.Clone(leaf.DNSNames)
	for _, ip := range leaf.IPAddresses {
		names = append(names, ip.String())
	}
	slices.Sort(names)
	return slices.Equal(names, slices.Sorted(slices.Values(r.Hosts))) && leaf.NotAfter.Sub(r.now()) > controlLife/2
}

// trusted returns the certificates of the authority and of those before it
// that still hold: what they signed is shown for a while yet.
func (r *Ring) trusted(a *auth.Authority, before []byte) []byte {
	all := a.PEM()
	for rest := before; ; {
		var block *pem.Block
		if block, rest = pem.Decode(rest); block == nil {
			return all
		}
		c, err := x509.ParseCertificate(block.Bytes)
		text := pem.EncodeToMemory(block)
		if err == nil && c.NotAfter.After(r.now()) && !bytes.Contains(all, text) {
			all = append(all, text...)
		}
	}
}

// first returns the first certificate of a text, nil if there is none.
func first(text []byte) *x509.Certificate {
	block, _ := pem.Decode(text)
	if block == nil {
		return nil
	}
	c, err := x509.ParseCertificate(block.Bytes)
	if err != nil {
		return nil
	}
	return c
}

// token has a Secret hold a token for what is wanted. What is known of it is
// written first.
func (r *Ring) token(ctx context.Context, suffix string, trust []byte, wanted auth.Token, life time.Duration) error {
	s, err := r.read(ctx, suffix)
	if err != nil {
		return err
	}
	known, err := r.read(ctx, tokensSuffix)
	if err != nil {
		return err
	}
	tokens := auth.NewTokens(vault(known.object.Data), r.Clock)
	present, err := r.present(ctx, tokens, s, wanted, life)
	if err != nil {
		return err
	}
	made := ""
	if !present {
		if err := forget(ctx, tokens, known, r.now()); err != nil {
			return err
		}
		shown, t, err := tokens.Issue(ctx, wanted, life)
		if err != nil {
			return err
		}
		s.object.Data[tokenKey] = []byte(shown)
		made = "token " + t.ID + " for " + wanted.Name + " until " + date(t.Expires)
		if err := r.write(ctx, known); err != nil {
			return err
		}
	}
	s.object.Data[auth.AuthorityFile] = trust
	if suffix == proxySuffix && len(s.object.Data[adminTokenKey]) == 0 {
		random := make([]byte, adminTokenBytes)
		_, _ = rand.Read(random) // never fails
		s.object.Data[adminTokenKey] = []byte(hex.EncodeToString(random))
	}
	if err := r.write(ctx, s); err != nil {
		return err
	}
	if made != "" {
		r.told(s, made)
	}
	return nil
}

// forget drops what is known of tokens that nobody can use any more.
func forget(ctx context.Context, tokens *auth.Tokens, known *secret, now time.Time) error {
	list, err := tokens.List(ctx)
	if err != nil {
		return err
	}
	for _, t := range list {
		if now.After(t.Expires) {
			delete(known.object.Data, t.ID+recordSuffix)
		}
	}
	return nil
}

// present reports whether a Secret holds a token as wanted.
func (r *Ring) present(ctx context.Context, tokens *auth.Tokens, s *secret, wanted auth.Token, life time.Duration) (bool, error) {
	list, err := tokens.List(ctx)
	if err != nil {
		return false, err
	}
	for _, t := range list {
		named := strings.Contains(string(s.object.Data[tokenKey]), "_"+t.ID+"_") && holds(ctx, tokens, t, string(s.object.Data[tokenKey]))
		fits := slices.Equal(t.Namespaces, wanted.Namespaces) && slices.Equal(t.Grants, wanted.Grants) && t.WithoutSecrets == wanted.WithoutSecrets
		if named && fits && t.Revoked.IsZero() && t.Expires.Sub(r.now()) > life/2 {
			return true, nil
		}
	}
	return false, nil
}

// holds reports whether a token that is shown is taken.
func holds(ctx context.Context, tokens *auth.Tokens, t auth.Token, shown string) bool {
	state := &tls.ConnectionState{HandshakeComplete: true}
	if t.Kind == auth.Join {
		_, err := tokens.Identify(ctx, state, shown, auth.Claim{Node: cmp.Or(t.Node, owner), Namespaces: t.Namespaces})
		return err == nil
	}
	_, err := tokens.Person(ctx, state, nil, shown)
	return err == nil
}

func date(t time.Time) string { return t.UTC().Format(time.RFC3339) }
