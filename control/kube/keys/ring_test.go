// SPDX-License-Identifier: Apache-2.0

package keys_test

import (
	"context"
	"crypto/tls"
	"errors"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/kubernetes/fake"
	k8stesting "k8s.io/client-go/testing"

	"github.com/sluice-mesh/sluice/control/auth"
	"github.com/sluice-mesh/sluice/control/kube/keys"
)

const (
	home = "mesh"
	host = "sluice-control.mesh.svc"
	day  = 24 * time.Hour
)

// kept is an installation at a time.
type kept struct {
	*testing.T
	keys.Ring
	cluster *fake.Clientset
	at      time.Time
	told    []string
}

// keep returns an installation that has kept its Secrets once.
func keep(t *testing.T) *kept {
	t.Helper()
	cluster := fake.NewClientset()
	k := &kept{T: t, cluster: cluster, at: time.Now()}
	k.Ring = keys.Ring{
		Client: cluster, Home: home, Hosts: []string{host, "127.0.0.1"},
		Clock: func() time.Time { return k.at },
		Told:  func(secret, what string) { k.told = append(k.told, secret+": "+what) },
	}
	k.again()
	return k
}

// spoil changes what a Secret holds, by hand.
func (k *kept) spoil(name, key string, change func(string) string) {
	k.Helper()
	secrets := k.cluster.CoreV1().Secrets(home)
	s, err := secrets.Get(k.Context(), name, metav1.GetOptions{})
	if err != nil {
		k.Fatal(err)
	}
	s.Data[key] = []byte(change(string(s.Data[key])))
	if _, err := secrets.Update(k.Context(), s, metav1.UpdateOptions{}); err != nil {
		k.Fatal(err)
	}
}

// again keeps the Secrets once more, and returns what was written.
func (k *kept) again() (written []string) {
	k.Helper()
	k.cluster.ClearActions()
	k.told = nil
	if err := k.Keep(k.Context()); err != nil {
		k.Fatal(err)
	}
	for _, a := range k.cluster.Actions() {
		switch a := a.(type) {
		case k8stesting.CreateActionImpl:
			written = append(written, "create "+called(a.Object))
		case k8stesting.UpdateActionImpl:
			written = append(written, "update "+called(a.Object))
		}
	}
	return written
}

// called returns the name of a Secret, with its namespace if that is not home.
func called(object runtime.Object) string {
	s := object.(*corev1.Secret) //nolint:forcetypeassert // no other kind is written
	if s.Namespace == home {
		return s.Name
	}
	return s.Namespace + "/" + s.Name
}

// mounted returns a folder with the files of a Secret.
func (k *kept) mounted(name string) string {
	k.Helper()
	dir := k.TempDir()
	for file, text := range k.data(name) {
		if err := os.WriteFile(filepath.Join(dir, file), text, 0o600); err != nil {
			k.Fatal(err)
		}
	}
	return dir
}

// data returns what a Secret holds, NAME of home or NAMESPACE/NAME.
func (k *kept) data(name string) map[string][]byte {
	k.Helper()
	space, called, elsewhere := strings.Cut(name, "/")
	if !elsewhere {
		space, called = home, name
	}
	s, err := k.cluster.CoreV1().Secrets(space).Get(k.Context(), called, metav1.GetOptions{})
	if err != nil {
		k.Fatal(err)
	}
	return s.Data
}

// credentials returns what is mounted of a Secret.
func (k *kept) credentials(name string) *auth.Credentials {
	k.Helper()
	c, err := auth.LoadCredentials(k.mounted(name), auth.Options{Clock: k.Clock})
	if err != nil {
		k.Fatal(err)
	}
	return c
}

// join returns why a proxy may not join, or nil.
func (k *kept) join(namespace string) error {
	k.Helper()
	who, err := k.identify("sluice-proxy", namespace)
	if who.WithoutSecrets {
		k.Error("a proxy gets no Secrets")
	}
	return err
}

// identify returns who joins a namespace by the token of a Secret.
func (k *kept) identify(secret, namespace string) (auth.Identity, error) {
	k.Helper()
	tokens := auth.NewTokens(auth.DirVault(k.mounted("sluice-tokens")), k.Clock)
	return tokens.Identify(k.Context(), &tls.ConnectionState{HandshakeComplete: true}, string(k.data(secret)["token"]),
		auth.Claim{Node: "proxy-0", Namespaces: []string{namespace}})
}

func TestKeepMakesWhatAllPartsKnowEachOtherBy(t *testing.T) {
	k := keep(t)
	if got := k.credentials("sluice-control").Identity(); got.Role != auth.RoleControl || !slices.Equal(got.Namespaces, []string{auth.Everywhere}) {
		t.Errorf("the control plane is %+v, want a control plane of everywhere", got)
	}
	if got := k.credentials("sluice-proxy").Identity(); got.Role != "" {
		t.Errorf("a proxy shows the certificate of %+v, want none: it has a token", got)
	}
	if err := k.join("default/default"); err != nil {
		t.Errorf("a proxy may not join: %v", err)
	}
	if err := k.join("acme/prod"); err == nil {
		t.Error("a proxy may join acme/prod, which nobody asked for")
	}
	if who, err := k.identify("sluice-sidecar", "default/default"); err != nil || !who.WithoutSecrets {
		t.Errorf("a sidecar is %+v, %v; want one without Secrets", who, err)
	}
	if _, ok := k.data("sluice-sidecar")["admin-token"]; ok {
		t.Error("a sidecar has the token of all admin servers")
	}
	tokens := auth.NewTokens(auth.DirVault(k.mounted("sluice-tokens")), k.Clock)
	person, err := tokens.Person(t.Context(), &tls.ConnectionState{}, nil, string(k.data("sluice-admin")["token"]))
	if err != nil || !slices.Equal(person.Grants, []auth.Grant{{Namespace: auth.Everywhere, Rank: auth.Admin}}) {
		t.Errorf("the operator is %+v, %v; want an admin of everywhere", person, err)
	}
	if got := k.data("sluice-proxy")["admin-token"]; len(got) != 64 {
		t.Errorf("the token of admin servers has %d characters, want 64", len(got))
	}
	if got := slices.Sorted(maps.Keys(k.data("sluice-authority"))); !slices.Equal(got, []string{"ca.crt", "ca.key"}) {
		t.Errorf("the authority has %v", got)
	}
	for _, name := range []string{"sluice-control", "sluice-proxy", "sluice-sidecar", "sluice-admin", "sluice-tokens"} {
		if _, ok := k.data(name)["ca.key"]; ok {
			t.Errorf("%s has the key of the authority", name)
		}
	}
	for _, line := range k.told {
		if strings.Contains(line, "sluice_join_") || strings.Contains(line, "sluice_api_") || strings.Contains(line, "PRIVATE") {
			t.Errorf("%q tells a secret", line)
		}
	}
}

func TestKeepWritesWhatHasToChangeAndNothingElse(t *testing.T) {
	for _, tt := range []struct {
		name   string
		change func(k *kept)
		want   []string
	}{
		{"nothing has changed", func(*kept) {}, nil},
		{"some days have passed", func(k *kept) { k.at = k.at.Add(40 * day) }, nil},
		{
			"half of the time of the proxies' token is over",
			func(k *kept) { k.at = k.at.Add(46 * day) },
			[]string{"update sluice-tokens", "update sluice-proxy", "update sluice-tokens", "update sluice-sidecar"},
		},
		{
			"half of the time of the certificate is over",
			func(k *kept) { k.at = k.at.Add(183 * day) },
			[]string{"update sluice-control", "update sluice-tokens", "update sluice-proxy", "update sluice-tokens", "update sluice-sidecar", "update sluice-tokens", "update sluice-admin"},
		},
		{
			"the control plane has another name",
			func(k *kept) { k.Hosts = []string{"control.example"} },
			[]string{"update sluice-control"},
		},
		{
			"proxies are to join elsewhere",
			func(k *kept) { k.Namespaces = []string{"acme/prod", "acme/test"} },
			[]string{"update sluice-tokens", "update sluice-proxy", "update sluice-tokens", "update sluice-sidecar", "update sluice-tokens"},
		},
		{
			"there are proxies in other namespaces of Kubernetes",
			func(k *kept) {
				k.Proxies = map[string][]string{"shop": {"acme/prod"}, home: {"default/default"}}
				k.Sidecars = map[string][]string{"web": {"default/default"}, home: {"default/default"}}
			},
			[]string{"update sluice-tokens", "create shop/sluice-proxy", "update sluice-tokens", "create web/sluice-sidecar"},
		},
		{
			"what is known of tokens was lost",
			func(k *kept) {
				if err := k.cluster.CoreV1().Secrets(home).Delete(k.Context(), "sluice-tokens", metav1.DeleteOptions{}); err != nil {
					k.Fatal(err)
				}
			},
			[]string{"create sluice-tokens", "update sluice-proxy", "update sluice-tokens", "update sluice-sidecar", "update sluice-tokens", "update sluice-admin"},
		},
		{
			"the key of the certificate was lost",
			func(k *kept) { k.spoil("sluice-control", "tls.key", func(string) string { return "" }) },
			[]string{"update sluice-control"},
		},
		{
			"half of a token was lost",
			func(k *kept) { k.spoil("sluice-proxy", "token", func(t string) string { return t[:len(t)-4] }) },
			[]string{"update sluice-tokens", "update sluice-proxy"},
		},
		{
			"the end of the authority is near",
			func(k *kept) { k.at = k.at.Add(9*365*day + day) },
			[]string{"update sluice-authority", "update sluice-control", "update sluice-tokens", "update sluice-proxy", "update sluice-tokens", "update sluice-sidecar", "update sluice-tokens", "update sluice-admin"},
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			k := keep(t)
			tt.change(k)
			if got := k.again(); !slices.Equal(got, tt.want) {
				t.Errorf("Keep() writes %v, want %v", got, tt.want)
			}
			namespace := "default/default"
			if len(k.Namespaces) > 0 {
				namespace = k.Namespaces[0]
			}
			if err := k.join(namespace); err != nil {
				t.Errorf("a proxy may not join: %v", err)
			}
			if who, err := k.identify("sluice-sidecar", namespace); err != nil || !who.WithoutSecrets {
				t.Errorf("a sidecar is %+v, %v; want one without Secrets", who, err)
			}
			k.credentials("sluice-control")
		})
	}
}

func TestAnAuthorityThatIsReplacedIsTrustedUntilItsEnd(t *testing.T) {
	k := keep(t)
	old := k.data("sluice-control")
	k.at = k.at.Add(9*365*day + 10*day)
	k.again()
	trust := k.data("sluice-proxy")["ca.crt"]
	if got := strings.Count(string(trust), "BEGIN CERTIFICATE"); got != 2 {
		t.Fatalf("proxies trust %d authorities, want the new one and the old one", got)
	}
	if strings.HasPrefix(string(trust), string(old["ca.crt"])) {
		t.Error("the old authority comes first, want the new one")
	}
	k.at = k.at.Add(366 * day)
	k.again()
	if got := strings.Count(string(k.data("sluice-proxy")["ca.crt"]), "BEGIN CERTIFICATE"); got != 1 {
		t.Errorf("proxies trust %d authorities after the end of the old one, want one", got)
	}
}

func TestAnAuthorityIsTrustedBeforeItIsShown(t *testing.T) {
	k := keep(t)
	k.Proxies = map[string][]string{"shop": {"acme/prod"}}
	k.again()
	old := k.data("sluice-control")
	remove := func(name string) {
		t.Helper()
		if err := k.cluster.CoreV1().Secrets(home).Delete(t.Context(), name, metav1.DeleteOptions{}); err != nil {
			t.Fatal(err)
		}
	}
	remove("sluice-authority")
	shown := func() string { return string(k.data("sluice-control")["tls.crt"]) }
	k.again()
	if shown() != string(old["tls.crt"]) {
		t.Fatal("the control plane shows a certificate that no proxy trusts yet")
	}
	for _, name := range []string{"sluice-control", "sluice-proxy", "sluice-sidecar", "sluice-admin", "shop/sluice-proxy"} {
		if got := strings.Count(string(k.data(name)["ca.crt"]), "BEGIN CERTIFICATE"); got != 2 {
			t.Errorf("%s trusts %d authorities, want the old one and the new one", name, got)
		}
	}
	k.at = k.at.Add(50 * time.Minute)
	if k.again(); shown() != string(old["tls.crt"]) {
		t.Error("the certificate is another before the authority has come to all files")
	}
	k.at = k.at.Add(11 * time.Minute)
	if written := k.again(); !slices.Equal(written, []string{"update sluice-control"}) {
		t.Errorf("Keep() writes %v an hour later, want the certificate alone", written)
	}
	k.credentials("sluice-control")
	if written := k.again(); len(written) > 0 {
		t.Errorf("Keep() still writes %v", written)
	}

	// Without a certificate that could be shown until then there is no waiting,
	// and neither is it waited for those who could not be told.
	remove("sluice-authority")
	remove("sluice-control")
	if k.again(); shown() == "" {
		t.Error("the control plane has no certificate")
	}
	k.credentials("sluice-control")
}

func TestAnAuthorityIsNotShownWhileAProxyHasNotHeardOfIt(t *testing.T) {
	k := keep(t)
	down := errors.New("the API server is down")
	failing := true
	k.cluster.PrependReactor("update", "secrets", func(a k8stesting.Action) (bool, runtime.Object, error) {
		object, ok := a.(interface{ GetObject() runtime.Object })
		return failing && ok && called(object.GetObject()) == "sluice-sidecar", nil, down
	})
	if err := k.cluster.CoreV1().Secrets(home).Delete(t.Context(), "sluice-authority", metav1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	old := string(k.data("sluice-control")["tls.crt"])
	for range 3 {
		if err := k.Keep(t.Context()); !errors.Is(err, down) {
			t.Fatalf("Keep() = %v, want %v", err, down)
		}
		k.at = k.at.Add(day)
	}
	failing = false
	if k.again(); string(k.data("sluice-control")["tls.crt"]) != old {
		t.Error("the certificate is another in the run that tells the last one of its authority")
	}
	if k.again(); string(k.data("sluice-control")["tls.crt"]) == old {
		t.Error("the certificate is the old one, though all have heard of the new authority")
	}
}

func TestEachPlaceHasATokenOfItsOwn(t *testing.T) {
	k := keep(t)
	k.Namespaces = []string{"default/default", "acme/prod"}
	k.Proxies = map[string][]string{"shop": {"acme/prod"}}
	k.Sidecars = map[string][]string{"shop": {"acme/prod"}, "web": {"default/default"}, home: {"acme/test"}}
	k.again()
	for _, tt := range []struct {
		secret, namespace string
		joins, keys       bool
	}{
		{"shop/sluice-proxy", "acme/prod", true, true},
		{"shop/sluice-proxy", "default/default", false, false},
		{"shop/sluice-sidecar", "acme/prod", true, false},
		{"web/sluice-sidecar", "default/default", true, false},
		{"web/sluice-sidecar", "acme/prod", false, false},
		{"sluice-sidecar", "acme/test", true, false},
		{"sluice-sidecar", "default/default", false, false},
	} {
		who, err := k.identify(tt.secret, tt.namespace)
		if (err == nil) != tt.joins || tt.joins && who.WithoutSecrets == tt.keys {
			t.Errorf("who shows the token of %s joins %s as %+v, %v; want joined %t, with keys %t", tt.secret, tt.namespace, who, err, tt.joins, tt.keys)
		}
	}
	own, other := k.data("sluice-proxy")["admin-token"], k.data("shop/sluice-proxy")["admin-token"]
	if len(other) != 64 || string(own) == string(other) {
		t.Errorf("the token of admin servers elsewhere has %d characters and is that of home: %t; want 64 of its own", len(other), string(own) == string(other))
	}
	if _, ok := k.data("web/sluice-sidecar")["admin-token"]; ok {
		t.Error("a sidecar has the token of admin servers")
	}
	k.at = k.at.Add(46 * day)
	if written := k.again(); !slices.Contains(written, "update web/sluice-sidecar") || !slices.Contains(written, "update shop/sluice-proxy") {
		t.Errorf("half of the time of tokens is over, and Keep() writes %v", written)
	}
}

func TestTokensThatAllowTooMuchEndSoon(t *testing.T) {
	k := keep(t)
	k.Namespaces = []string{"default/default", "acme/prod"}
	k.Proxies = map[string][]string{"shop": {"acme/prod"}}
	k.again()
	before, elsewhere := k.data("sluice-proxy")["token"], k.data("shop/sluice-proxy")["token"]
	may := func(token []byte, namespace string) bool {
		tokens := auth.NewTokens(auth.DirVault(k.mounted("sluice-tokens")), k.Clock)
		_, err := tokens.Identify(t.Context(), &tls.ConnectionState{HandshakeComplete: true}, string(token), auth.Claim{Node: "n", Namespaces: []string{namespace}})
		return err == nil
	}
	// A token that the operator added is nobody's business here.
	s, err := k.cluster.CoreV1().Secrets(home).Get(t.Context(), "sluice-tokens", metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	dir := auth.DirVault(t.TempDir())
	theirs, made, err := auth.NewTokens(dir, k.Clock).Issue(t.Context(), auth.Token{Kind: auth.Join, Name: "by hand", Namespaces: []string{"acme/prod"}}, 90*day)
	if err != nil {
		t.Fatal(err)
	}
	if s.Data[made.ID+".json"], err = dir.Load(t.Context(), made.ID); err != nil {
		t.Fatal(err)
	}
	if _, err := k.cluster.CoreV1().Secrets(home).Update(t.Context(), s, metav1.UpdateOptions{}); err != nil {
		t.Fatal(err)
	}

	k.Namespaces, k.Proxies = []string{"default/default"}, nil
	k.again()
	if !may(before, "acme/prod") || !may(elsewhere, "acme/prod") {
		t.Error("proxies are cut off at once: another token is not in their files yet")
	}
	if written := k.again(); len(written) > 0 {
		t.Errorf("Keep() still writes %v", written)
	}
	k.at = k.at.Add(time.Hour)
	if may(before, "acme/prod") || may(elsewhere, "acme/prod") {
		t.Error("tokens for an environment that is no more are taken")
	}
	if !may([]byte(theirs), "acme/prod") {
		t.Error("a token that was not made here is not taken any more")
	}
	if err := k.join("default/default"); err != nil {
		t.Errorf("a proxy may not join: %v", err)
	}
}

func TestASecretOfAnotherInstallationIsLeftAlone(t *testing.T) {
	cluster := fake.NewClientset()
	first := &keys.Ring{Client: cluster, Home: home, Hosts: []string{host}, Sidecars: map[string][]string{"web": {"default/default"}}}
	if err := first.Keep(t.Context()); err != nil {
		t.Fatal(err)
	}
	second := &keys.Ring{Client: cluster, Home: "other", Hosts: []string{host}, Sidecars: map[string][]string{"web": {"default/default"}}}
	if err := second.Keep(t.Context()); !errors.Is(err, keys.ErrForeign) || !strings.Contains(err.Error(), "web/sluice-sidecar") {
		t.Errorf("Keep() = %v, want ErrForeign with the name of the Secret", err)
	}
	beside := &keys.Ring{Client: cluster, Home: "other", Hosts: []string{host}, Sidecars: map[string][]string{home: {"default/default"}}}
	if err := beside.Keep(t.Context()); !errors.Is(err, keys.ErrForeign) || !strings.Contains(err.Error(), "mesh/sluice-sidecar") {
		t.Errorf("Keep() = %v, want ErrForeign: that is the home of another installation", err)
	}
}

// Copies were made by hand before others kept them: an upgrade takes them over.
func TestACopyThatWasMadeByHandIsTakenOver(t *testing.T) {
	k := keep(t)
	for _, name := range []string{"sluice-sidecar", "sluice-proxy"} {
		s, err := k.cluster.CoreV1().Secrets(home).Get(t.Context(), name, metav1.GetOptions{})
		if err != nil {
			t.Fatal(err)
		}
		s.Namespace, s.ResourceVersion = "shop", ""
		if _, err := k.cluster.CoreV1().Secrets("shop").Create(t.Context(), s, metav1.CreateOptions{}); err != nil {
			t.Fatal(err)
		}
	}
	k.Proxies = map[string][]string{"shop": {"acme/prod"}}
	k.Sidecars = map[string][]string{"shop": {"default/default"}}
	k.again()
	for _, name := range []string{"sluice-sidecar", "sluice-proxy"} {
		for _, key := range []string{"token", "admin-token"} {
			own, other := k.data(name)[key], k.data("shop/" + name)[key]
			if (len(own) == 0) != (len(other) == 0) || len(own) > 0 && string(own) == string(other) {
				t.Errorf("%s of %s is that of home, or missing (%d characters)", key, name, len(other))
			}
		}
	}
	if _, err := k.identify("shop/sluice-sidecar", "default/default"); err != nil {
		t.Errorf("a sidecar may not join: %v", err)
	}
	if _, err := k.identify("shop/sluice-proxy", "default/default"); err == nil {
		t.Error("a proxy elsewhere joins what is of home")
	}
	if written := k.again(); len(written) > 0 {
		t.Errorf("Keep() still writes %v", written)
	}
}

func TestTokensThatHaveExpiredAreForgotten(t *testing.T) {
	k := keep(t)
	for range 5 {
		k.at = k.at.Add(50 * day)
		k.again()
	}
	// The present ones, and those that they took the place of and that hold
	// for some days yet.
	if got := len(k.data("sluice-tokens")); got > 6 {
		t.Errorf("%d tokens are known after 250 days, want 6 at most", got)
	}
}

func TestASecretOfOthersIsLeftAlone(t *testing.T) {
	foreign := &corev1.Secret{
		ObjectMeta: metav1.ObjectMeta{Name: "sluice-proxy", Namespace: home},
		Data:       map[string][]byte{"token": []byte("theirs")},
	}
	cluster := fake.NewClientset(foreign)
	err := (&keys.Ring{Client: cluster, Home: home, Hosts: []string{host}}).Keep(t.Context())
	if !errors.Is(err, keys.ErrForeign) || !strings.Contains(err.Error(), "mesh/sluice-proxy") {
		t.Errorf("Keep() = %v, want ErrForeign with the name of the Secret", err)
	}
	s, err := cluster.CoreV1().Secrets(home).Get(t.Context(), "sluice-proxy", metav1.GetOptions{})
	if err != nil || string(s.Data["token"]) != "theirs" || len(s.Data) != 1 {
		t.Errorf("the Secret has %v, %v; want it as it was", s, err)
	}
}

func TestKeepComesToItsEndBesideOthersAndAfterFailures(t *testing.T) {
	conflict := apierrors.NewConflict(schema.GroupResource{Resource: "secrets"}, "any", errors.New("changed"))
	exists := apierrors.NewAlreadyExists(schema.GroupResource{Resource: "secrets"}, "any")
	down := errors.New("the API server is down")
	for _, tt := range []struct {
		name   string
		verb   string
		secret string
		fault  error
		want   error // of the first call
	}{
		{"somebody else updates first", "update", "sluice-tokens", conflict, nil},
		{"somebody else creates first", "create", "sluice-authority", exists, nil},
		{"a write fails between two that belong together", "create", "sluice-proxy", down, down},
	} {
		t.Run(tt.name, func(t *testing.T) {
			k := &kept{T: t, cluster: fake.NewClientset(), at: time.Now()}
			k.Ring = keys.Ring{Client: k.cluster, Home: home, Hosts: []string{host}, Clock: func() time.Time { return k.at }}
			failed := false
			k.cluster.PrependReactor(tt.verb, "secrets", func(a k8stesting.Action) (bool, runtime.Object, error) {
				object, ok := a.(interface{ GetObject() runtime.Object })
				if failed || !ok || called(object.GetObject()) != tt.secret {
					return false, nil, nil
				}
				failed = true
				return true, nil, tt.fault
			})
			if err := k.Keep(t.Context()); !errors.Is(err, tt.want) {
				t.Fatalf("Keep() = %v, want %v", err, tt.want)
			}
			k.again()
			if !failed {
				t.Fatal("the fault did not come about")
			}
			if err := k.join("default/default"); err != nil {
				t.Errorf("a proxy may not join: %v", err)
			}
			if written := k.again(); len(written) > 0 {
				t.Errorf("Keep() still writes %v", written)
			}
		})
	}
}

func TestKeepNeedsAName(t *testing.T) {
	err := (&keys.Ring{Client: fake.NewClientset(), Home: home}).Keep(context.Background())
	if err == nil || !strings.Contains(err.Error(), "names: a control plane needs the names") {
		t.Errorf("Keep() = %v without a host, want an error that says so", err)
	}
}
