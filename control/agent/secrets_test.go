// SPDX-License-Identifier: Apache-2.0

package agent_test

import (
	"fmt"
	"strings"
	"sync"
	"testing"
	"testing/synctest"

	"github.com/sluice-mesh/sluice/control/controlpb"
	"github.com/sluice-mesh/sluice/control/wire"
	"github.com/sluice-mesh/sluice/routing"
)

// story notes which Secrets and tables an agent hands on, in their order.
type story struct {
	mu   sync.Mutex // guards text
	text string
}

func (s *story) tell(format string, args ...any) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.text += fmt.Sprintf(format, args...) + "; "
}

// next returns what was told since the call before.
func (s *story) next() string {
	synctest.Wait()
	s.mu.Lock()
	defer s.mu.Unlock()
	text := s.text
	s.text = ""
	return text
}

func (s *story) secrets(all []*routing.Secret) {
	words := []string{"secrets"}
	for _, one := range all {
		words = append(words, one.Name+"="+string(one.Key))
	}
	s.tell("%s", strings.Join(words, " "))
}

// secrets sends Secrets in small parts.
func (s *talk) secrets(before *wire.Secrets, all ...*routing.Secret) *wire.Secrets {
	s.t.Helper()
	next := wire.EncodeSecrets(all)
	for _, part := range next.Since(before, 1) {
		s.say(&controlpb.ToProxy{Message: &controlpb.ToProxy_Secrets{Secrets: part}})
	}
	return next
}

func secret(name, key string) *routing.Secret {
	return &routing.Secret{Namespace: "shop", Name: name, Key: []byte(key)}
}

func TestSecretsAreHandedOnBeforeTheTable(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newControl(t)
		var told story
		o := options(c)
		o.Secrets = told.secrets
		b := open(t, o)
		b.on = func(table *routing.Table) { told.tell("table %s", table.Version) }
		b.run()
		want := func(text string) {
			t.Helper()
			if got := told.next(); got != text {
				t.Errorf("handed on was %q, want %q", got, text)
			}
		}
		s := c.welcomed()
		have := s.secrets(nil, secret("a", "1"), secret("b", "1"))
		first := s.complete(table(1, gateway("a", 9001, 1)))
		s.wantAnswer("1.1 serves [a]")
		want("secrets a=1 b=1; table 1.1; ")
		have = s.secrets(have, secret("a", "2"), secret("b", "1"))
		want("secrets a=2 b=1; ")
		s.since(first, table(2, gateway("a", 9001, 2)))
		s.wantAnswer("1.2 serves [a]")
		want("table 1.2; ")
		s.secrets(have)
		want("secrets; ")

		// Another session begins anew, here without any.
		s.lose()
		s = c.welcomed()
		s.complete(table(3, gateway("a", 9001, 3)))
		s.wantAnswer("1.3 serves [a]")
		want("secrets; table 1.3; ")
	})
}

func TestSecretsThatCannotBeEndTheSession(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newControl(t)
		var told story
		o := options(c)
		o.Secrets = told.secrets
		b := start(t, o)
		s := c.welcomed()
		s.complete(table(1, gateway("a", 9001, 1)))
		s.wantAnswer("1.1 serves [a]")
		told.next()
		s.say(&controlpb.ToProxy{Message: &controlpb.ToProxy_Secrets{Secrets: &controlpb.Secrets{
			Secrets: []*controlpb.Secret{{Namespace: "..", Name: "..", Hash: make([]byte, 16)}},
		}}})
		s.gone()
		if got := told.next(); got != "" {
			t.Errorf("handed on was %q, want nothing", got)
		}
		b.wantServes("1.1 a:1")
	})
}
