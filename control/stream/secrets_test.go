// SPDX-License-Identifier: Apache-2.0

package stream_test

import (
	"bytes"
	"fmt"
	"strconv"
	"strings"
	"testing"

	"github.com/sluice-mesh/sluice/control/auth"
	"github.com/sluice-mesh/sluice/control/controlpb"
	"github.com/sluice-mesh/sluice/control/planner"
	"github.com/sluice-mesh/sluice/control/stream"
	"github.com/sluice-mesh/sluice/control/stream/streamtest"
	"github.com/sluice-mesh/sluice/control/wire"
	"github.com/sluice-mesh/sluice/routing"
)

// secret is one of the namespace shop; its contents are as large as size.
func secret(name, key string, size int) *routing.Secret {
	return &routing.Secret{Namespace: "shop", Name: name, Certificate: bytes.Repeat([]byte("c"), size), Key: []byte(key)}
}

// holding gives a plan Secrets.
func holding(p planner.Plan, secrets ...*routing.Secret) planner.Plan {
	p.Secrets = secrets
	return p
}

// follower takes what comes in a session, in its order.
type follower struct {
	t *testing.T
	*streamtest.Proxy
	secrets wire.SecretReceiver
	bytes   int // of Secrets
}

// next returns what comes next, as "table 3" or "secrets a=1 b=1".
func (f *follower) next() string {
	f.t.Helper()
	for {
		m, err := f.Next()
		if err != nil {
			f.t.Fatal(err)
		}
		switch m := m.GetMessage().(type) {
		case *controlpb.ToProxy_Update:
			got, err := f.Receiver.Receive(m.Update)
			if err != nil {
				f.t.Fatal(err)
			}
			if got != nil {
				f.Ack(got)
				return fmt.Sprint("table ", got.Table.Version.Revision)
			}
		case *controlpb.ToProxy_Secrets:
			for _, s := range m.Secrets.GetSecrets() {
				f.bytes += len(s.GetCertificate())
			}
			all, whole, err := f.secrets.Receive(m.Secrets)
			if err != nil {
				f.t.Fatal(err)
			}
			if !whole {
				continue
			}
			words := []string{"secrets"}
			for _, s := range all {
				words = append(words, s.Name+"="+string(s.Key))
			}
			return strings.Join(words, " ")
		}
	}
}

func (f *follower) expect(want ...string) {
	f.t.Helper()
	for _, w := range want {
		if got := f.next(); got != w {
			f.t.Fatalf("%q came, want %q", got, w)
		}
	}
}

func follow(t *testing.T, b *bed, hello *controlpb.Hello) *follower {
	t.Helper()
	return &follower{t: t, Proxy: streamtest.Join(t, b.address, streamtest.Options{Hello: hello})}
}

func TestSecretsComeBeforeTheTableThatNamesThem(t *testing.T) {
	b := serve(t, stream.Options{})
	const large = 700 << 10 // two of them are more than a message
	one, two := secret("a", "1", large), secret("b", "1", large)
	b.Publish(holding(plan(home, 1, gateway("a", "1")), one, two))
	f := follow(t, b, nil)
	f.expect("secrets a=1 b=1", "table 1")
	if f.bytes != 2*large {
		t.Errorf("%d bytes of Secrets came, want %d", f.bytes, 2*large)
	}
	// One is renewed, and the table stays as it is.
	b.Publish(holding(plan(home, 1, gateway("a", "1")), secret("a", "2", 10), two))
	f.expect("secrets a=2 b=1")
	if f.bytes != 2*large+10 {
		t.Errorf("%d bytes of Secrets came, want those that changed besides", f.bytes)
	}
	b.Publish(holding(plan(home, 2, gateway("a", "2")), secret("a", "2", 10), two)) // others of the same contents
	f.expect("table 2")
	b.Publish(holding(plan(home, 3, gateway("a", "3")), two))
	f.expect("secrets b=1", "table 3")
	b.Publish(plan(home, 4, gateway("a", "4")))
	f.expect("secrets", "table 4")
	follow(t, b, streamtest.Hello("later")).expect("table 4")
}

func TestSecretsAreThoseOfTheNamespacesOfTheProxy(t *testing.T) {
	b := serve(t, stream.Options{Planned: func(string) bool { return false }})
	b.Publish(holding(plan("a/x", 1, gateway("a", "1")), secret("a", "1", 1), secret("c", "x", 1)))
	b.Publish(holding(plan("a/y", 1, gateway("b", "1")), secret("b", "1", 1), secret("c", "y", 1)))
	for _, tt := range []struct {
		name       string
		namespaces []string
		want       []string
	}{
		{"of one", []string{"a/x"}, []string{"secrets a=1 c=x", "table 1"}},
		{"of another", []string{"a/y"}, []string{"secrets b=1 c=y", "table 1"}},
		{"of both, the first counts", []string{"a/x", "a/y"}, []string{"secrets a=1 b=1 c=x", "table 1"}},
		{"of none that has any", []string{"a/z"}, []string{"table 1"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			follow(t, b, streamtest.Hello("edge", tt.namespaces...)).expect(tt.want...)
		})
	}
}

func TestAProxyWithoutSecretsIsHandedTablesAlone(t *testing.T) {
	p := newPKI(t)
	b := serve(t, stream.Options{Credentials: p.server, Tokens: p.tokens, Clock: p.now})
	b.Publish(holding(plan("a/x", 1, gateway("a", "1")), secret("a", "1", 1)))
	with, _ := p.token(t, "", "a/x")
	without, _, err := p.tokens.Issue(t.Context(), auth.Token{Kind: auth.Join, Namespaces: []string{"a/x"}, WithoutSecrets: true}, day)
	if err != nil {
		t.Fatal(err)
	}
	bare := p.client(t, auth.RoleProxy, "", "a/x")
	for _, tt := range []struct {
		name, node, token string
		first, then       []string
	}{
		{"a token as others", "edge", with, []string{"secrets a=1", "table 1"}, []string{"secrets a=2", "table 2"}},
		{"a token without Secrets", "beside", without, []string{"table 2"}, []string{"table 3"}},
	} {
		f := &follower{t: t, Proxy: streamtest.Join(t, b.address, streamtest.Options{
			Hello: streamtest.Hello(tt.node, "a/x"), TLS: bare, Token: tt.token,
		})}
		f.expect(tt.first...)
		last, err := strconv.ParseUint(strings.TrimPrefix(tt.then[len(tt.then)-1], "table "), 10, 64)
		if err != nil {
			t.Fatal(err)
		}
		number := strconv.FormatUint(last, 10)
		b.Publish(holding(plan("a/x", last, gateway("a", number)), secret("a", number, 1)))
		f.expect(tt.then...)
	}
}

func TestAnOlderPlanBringsNoSecrets(t *testing.T) {
	b := serve(t, stream.Options{})
	b.Publish(holding(plan(home, 5, gateway("a", "1")), secret("a", "new", 1)))
	f := follow(t, b, nil)
	f.expect("secrets a=new", "table 5")
	b.Publish(holding(plan(home, 4, gateway("a", "1")), secret("a", "old", 1)))
	b.Publish(holding(plan(home, 6, gateway("a", "2")), secret("a", "newer", 1)))
	f.expect("secrets a=newer", "table 6")
}
