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
	// LabelHome says of a Secret in another namespace of Kubernetes where the
	// installation is whose it is.
	LabelHome = "sluice.dev/home"
	owner     = "sluice"
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

const (
	// spreading is how long an authority is given to come to the files of
	// those that are to trust it.
	spreading = time.Hour
	// grace is how long a token is taken yet that allows what nobody asks for
	// any more: proxies show it until another one has come to their files.
	grace = time.Hour
)

// What tokens are for, as people read it.
const (
	nameProxies  = "proxies"
	nameSidecars = "sidecars"
	nameOperator = "operator of the installation"
	ofHome       = " of the installation"
	in           = " in "
)

// adminTokenBytes is how much chance is in the token of admin servers.
const adminTokenBytes = 32

// Ring is all that an installation knows itself by. Client, Home and Hosts are
// needed.
type Ring struct {
	// Client may get and update Secrets of the names, and create some.
	Client kubernetes.Interface
	// Home is the namespace of Kubernetes.
	Home string
	// Name begins the names of the Secrets; empty means sluice.
	Name string
	// Hosts are the names and addresses under which the control plane is
	// reached.
	Hosts []string
	// Namespaces are those that proxies of Home may join,
	// organisation/environment; none means default/default.
	Namespaces []string
	// Proxies are further namespaces of Kubernetes with proxies of their own,
	// and which namespaces these may join. NAME-proxy is kept there, too. Home
	// is none of them.
	Proxies map[string][]string
	// Sidecars are namespaces of Kubernetes with proxies that are handed no
	// Secrets, and which namespaces these may join. NAME-sidecar is kept there.
	// In Home it always is, for the first of Namespaces unless Home is among
	// them.
	Sidecars map[string][]string
	// Clock tells the time.
	Clock auth.Clock
	// Told is called with each thing that was made, in the order in which it
	// was, for people to read, and the Secret, NAMESPACE/NAME; nil means that
	// nobody asks.
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
	all := r.holders()
	known, err := r.spread(ctx, a, all)
	if err != nil {
		return err
	}
	trust, err := r.control(ctx, a, known)
	if err != nil {
		return err
	}
	for _, h := range all {
		if err := r.token(ctx, h, trust); err != nil {
			return err
		}
	}
	return r.withdraw(ctx, all)
}

// holder is a Secret that holds a token.
type holder struct {
	space  string // of Kubernetes
	suffix string
	token  auth.Token // what it is for
	life   time.Duration
}

// holders returns the Secrets that hold tokens, in the order in which they are
// written.
func (r *Ring) holders() []holder {
	namespaces := r.Namespaces
	if len(namespaces) == 0 {
		namespaces = []string{"default/default"}
	}
	join := func(name string, namespaces []string) auth.Token {
		sorted := slices.Compact(slices.Sorted(slices.Values(namespaces)))
		return auth.Token{Kind: auth.Join, Name: name, Namespaces: sorted, WithoutSecrets: strings.HasPrefix(name, nameSidecars)}
	}
	beside := namespaces[:1]
	if own := r.Sidecars[r.Home]; len(own) > 0 {
		beside = own
	}
	all := []holder{
		{r.Home, proxySuffix, join(nameProxies+ofHome, namespaces), joinLife},
		{r.Home, sidecarSuffix, join(nameSidecars, beside), joinLife},
		{r.Home, adminSuffix, auth.Token{
			Kind: auth.API, Name: nameOperator, Grants: []auth.Grant{{Namespace: auth.Everywhere, Rank: auth.Admin}},
		}, adminLife},
	}
	for _, space := range slices.Sorted(maps.Keys(r.Proxies)) {
		if space != r.Home {
			all = append(all, holder{space, proxySuffix, join(nameProxies+in+space, r.Proxies[space]), joinLife})
		}
	}
	for _, space := range slices.Sorted(maps.Keys(r.Sidecars)) {
		if space != r.Home {
			all = append(all, holder{space, sidecarSuffix, join(nameSidecars+in+space, r.Sidecars[space]), joinLife})
		}
	}
	return all
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
		r.Told(s.object.Namespace+"/"+s.object.Name, what)
	}
}

// secret is a Secret as it is to be.
type secret struct {
	object *corev1.Secret
	there  bool
	before map[string][]byte // what it held
}

// read returns the Secret of Home whose name has a suffix, empty if there is
// none.
func (r *Ring) read(ctx context.Context, suffix string) (*secret, error) {
	return r.readIn(ctx, r.Home, suffix)
}

// readIn is read for any namespace of Kubernetes.
func (r *Ring) readIn(ctx context.Context, space, suffix string) (*secret, error) {
	name := cmp.Or(r.Name, owner) + suffix
	object, err := r.Client.CoreV1().Secrets(space).Get(ctx, name, metav1.GetOptions{})
	switch {
	case apierrors.IsNotFound(err):
		labels := map[string]string{LabelManagedBy: owner, LabelName: owner}
		if space != r.Home {
			labels[LabelHome] = r.Home
		}
		return &secret{object: &corev1.Secret{
			ObjectMeta: metav1.ObjectMeta{Name: name, Namespace: space, Labels: labels},
			Type:       corev1.SecretTypeOpaque, Data: map[string][]byte{},
		}}, nil
	case err != nil:
		return nil, fmt.Errorf("secret %s/%s: %w", space, name, err)
	case object.Labels[LabelManagedBy] != owner:
		return nil, fmt.Errorf("secret %s/%s: %w", space, name, ErrForeign)
	case space != r.Home && object.Labels[LabelHome] != r.Home:
		if copied, err := r.copied(ctx, object); err != nil || !copied {
			return nil, cmp.Or(err, fmt.Errorf("secret %s/%s: %w", space, name, ErrForeign))
		}
		object.Labels[LabelHome] = r.Home
		delete(object.Data, tokenKey) // those of home, which it is to have its own of
		delete(object.Data, adminTokenKey)
	}
	if object.Data == nil {
		object.Data = map[string][]byte{}
	}
	return &secret{object, true, maps.Clone(object.Data)}, nil
}

// copied reports whether a Secret that names no home is a copy of one of ours,
// made by hand: nobody else has an authority in it that is trusted here.
func (r *Ring) copied(ctx context.Context, object *corev1.Secret) (bool, error) {
	if object.Labels[LabelHome] != "" {
		return false, nil
	}
	for _, suffix := range []string{authoritySuffix, controlSuffix} {
		s, err := r.read(ctx, suffix)
		if err != nil {
			return false, err
		}
		ours := certificates(s.object.Data[auth.AuthorityFile])
		if slices.ContainsFunc(certificates(object.Data[auth.AuthorityFile]), func(c *x509.Certificate) bool { return slices.ContainsFunc(ours, c.Equal) }) {
			return true, nil
		}
	}
	return false, nil
}

// write writes a Secret if it holds something else than before.
func (r *Ring) write(ctx context.Context, s *secret) (err error) {
	secrets := r.Client.CoreV1().Secrets(s.object.Namespace)
	switch {
	case !s.there:
		_, err = secrets.Create(ctx, s.object, metav1.CreateOptions{})
	case !maps.EqualFunc(s.before, s.object.Data, bytes.Equal):
		_, err = secrets.Update(ctx, s.object, metav1.UpdateOptions{})
	}
	if err != nil && !changedMeanwhile(err) {
		err = fmt.Errorf("secret %s/%s: %w", s.object.Namespace, s.object.Name, err)
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

// spread reports whether all that are there and are to trust an authority have
// been told of it for so long that they do.
func (r *Ring) spread(ctx context.Context, a *auth.Authority, all []holder) (bool, error) {
	if r.now().Before(a.Since().Add(spreading)) {
		return false, nil
	}
	for _, h := range all {
		s, err := r.readIn(ctx, h.space, h.suffix)
		if err != nil {
			return false, err
		}
		if s.there && !bytes.Contains(s.object.Data[auth.AuthorityFile], a.PEM()) {
			return false, nil
		}
	}
	return true, nil
}

// control has the control plane show a certificate that is trusted, and returns
// whom everybody is to trust. known says that the authority is trusted already;
// until it is, a certificate of the one before it is shown, as long as that
// holds.
func (r *Ring) control(ctx context.Context, a *auth.Authority, known bool) (trust []byte, err error) {
	s, err := r.read(ctx, controlSuffix)
	if err != nil {
		return nil, err
	}
	trust = r.trusted(a, s.object.Data[auth.AuthorityFile])
	made := ""
	if !r.shows(a.PEM(), s.object.Data, controlLife/2) && (known || !r.shows(trust, s.object.Data, spreading)) {
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

// shows reports whether a Secret holds a certificate of one of some
// authorities, for the hosts, and its key, and for longer than least.
func (r *Ring) shows(authorities []byte, data map[string][]byte, least time.Duration) bool {
	leaf := first(data[auth.CertificateFile])
	if leaf == nil || leaf.NotAfter.Sub(r.now()) <= least {
		return false
	}
	if !slices.ContainsFunc(certificates(authorities), func(parent *x509.Certificate) bool { return leaf.CheckSignatureFrom(parent) == nil }) {
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
	return slices.Equal(names, slices.Sorted(slices.Values(r.Hosts)))
}

// trusted returns the certificates of the authority and of those before it
// that still hold: what they signed is shown for a while yet.
func (r *Ring) trusted(a *auth.Authority, before []byte) []byte {
	all := a.PEM()
	for _, c := range certificates(before) {
		text := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: c.Raw})
		if c.NotAfter.After(r.now()) && !bytes.Contains(all, text) {
			all = append(all, text...)
		}
	}
	return all
}

// certificates returns those of a text that can be read.
func certificates(text []byte) (all []*x509.Certificate) {
	for {
		var block *pem.Block
		if block, text = pem.Decode(text); block == nil {
			return all
		}
		if c, err := x509.ParseCertificate(block.Bytes); err == nil {
			all = append(all, c)
		}
	}
}

// first returns the first certificate of a text, nil if there is none.
func first(text []byte) *x509.Certificate {
	all := certificates(text)
	if len(all) == 0 {
		return nil
	}
	return all[0]
}

// token has a Secret hold a token for what is wanted. What is known of it is
// written first.
func (r *Ring) token(ctx context.Context, h holder, trust []byte) error {
	s, err := r.readIn(ctx, h.space, h.suffix)
	if err != nil {
		return err
	}
	known, err := r.read(ctx, tokensSuffix)
	if err != nil {
		return err
	}
	tokens := auth.NewTokens(vault(known.object.Data), r.Clock)
	present, err := r.present(ctx, tokens, s, h.token, h.life)
	if err != nil {
		return err
	}
	made := ""
	if !present {
		if err := forget(ctx, tokens, known, r.now()); err != nil {
			return err
		}
		shown, t, err := tokens.Issue(ctx, h.token, h.life)
		if err != nil {
			return err
		}
		s.object.Data[tokenKey] = []byte(shown)
		made = "token " + t.ID + " for " + h.token.Name + " until " + date(t.Expires)
		if err := r.write(ctx, known); err != nil {
			return err
		}
	}
	s.object.Data[auth.AuthorityFile] = trust
	if h.suffix == proxySuffix && len(s.object.Data[adminTokenKey]) == 0 {
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

// withdraw has tokens of ours end soon that allow more than those that are made
// now, such as to join a namespace that is no more. Those that were merely
// renewed are left: copies of them may be shown until they end.
func (r *Ring) withdraw(ctx context.Context, all []holder) error {
	known, err := r.read(ctx, tokensSuffix)
	if err != nil {
		return err
	}
	tokens := auth.NewTokens(vault(known.object.Data), r.Clock)
	list, err := tokens.List(ctx)
	if err != nil {
		return err
	}
	end := r.now().Add(grace)
	var told []string
	for _, t := range list {
		wanted := slices.ContainsFunc(all, func(h holder) bool { return within(t, h.token) })
		if wanted || !ours(t.Name) || !t.Revoked.IsZero() || !t.Expires.After(end) {
			continue
		}
		if t, err = tokens.Shorten(ctx, t.ID, end); err != nil {
			return err
		}
		told = append(told, "token "+t.ID+" for "+t.Name+" ends at "+date(t.Expires)+": nobody asks any more for what it allows")
	}
	if err := r.write(ctx, known); err != nil {
		return err
	}
	for _, what := range told {
		r.told(known, what)
	}
	return nil
}

// within reports whether a token is for the same as another one, or for less.
func within(t, whole auth.Token) bool {
	less := !slices.ContainsFunc(t.Namespaces, func(ns string) bool { return !slices.Contains(whole.Namespaces, ns) })
	return t.Kind == whole.Kind && t.Name == whole.Name && less && slices.Equal(t.Grants, whole.Grants) && (t.WithoutSecrets || !whole.WithoutSecrets)
}

// ours reports whether a token of a name was made here. An operator may keep
// others beside them.
func ours(name string) bool {
	switch name {
	case nameProxies + ofHome, nameSidecars, nameOperator:
		return true
	}
	return strings.HasPrefix(name, nameProxies+in) || strings.HasPrefix(name, nameSidecars+in)
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
