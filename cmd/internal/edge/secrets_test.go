// SPDX-License-Identifier: Apache-2.0

package edge_test

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/sluice-mesh/sluice/cmd/internal/edge"
	"github.com/sluice-mesh/sluice/cmd/internal/plane"
	"github.com/sluice-mesh/sluice/discovery"
	"github.com/sluice-mesh/sluice/routing"
	"github.com/sluice-mesh/sluice/test/certs"
	"github.com/sluice-mesh/sluice/test/freeport"
)

// patience bounds how long a test waits. It is no measure of anything.
const patience = time.Minute

// told is a source that tells what it is sent.
type told chan []discovery.Update

func (s told) Run(ctx context.Context, sink func(discovery.Batch)) error {
	for listed := true; ; listed = false {
		select {
		case <-ctx.Done():
			return nil
		case updates := <-s:
			sink(discovery.Batch{Updates: updates, Listed: listed})
		}
	}
}

// run runs something until it is ended, or the test is over.
func run(t *testing.T, f func(context.Context) error) (end func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- f(ctx) }()
	over := false
	end = func() {
		if over {
			return
		}
		over = true
		cancel()
		if err := <-ended; err != nil {
			t.Errorf("Run() = %v, want nil", err)
		}
	}
	t.Cleanup(end)
	return end
}

// shows waits until a port shows a certificate.
func shows(t *testing.T, ca *certs.CA, port int, want certs.Pair) {
	t.Helper()
	deadline := time.Now().Add(patience)
	for {
		dialer := tls.Dialer{Config: &tls.Config{RootCAs: ca.Pool(), ServerName: "shop.example"}}
		conn, err := dialer.DialContext(t.Context(), "tcp", fmt.Sprintf("127.0.0.1:%d", port))
		if err == nil {
			shown := conn.(*tls.Conn).ConnectionState().PeerCertificates[0]
			_ = conn.Close()
			if shown.Equal(want.Leaf) {
				return
			}
			err = fmt.Errorf("it shows the certificate %v", shown.SerialNumber)
		}
		if time.Now().After(deadline) {
			t.Fatalf("the certificate %v is not shown: %v", want.Leaf.SerialNumber, err)
		}
		select {
		case <-t.Context().Done():
		case <-time.After(10 * time.Millisecond):
		}
	}
}

func secretUpdate(p certs.Pair) discovery.Update {
	return discovery.Update{Key: "secrets/shop/web", Secrets: []*routing.Secret{{
		Namespace: "shop", Name: "web", Certificate: p.Certificate, Key: p.Key,
	}}}
}

// A Secret travels from a source to the handshakes of a proxy, is renewed, and
// is there after a start without control plane. In the end nothing is left.
func TestSecretsServeWithAndWithoutControlPlane(t *testing.T) {
	data, memory := t.TempDir(), t.TempDir()
	for _, tt := range []struct {
		name, data, secrets string
		kept                string // where the files are
	}{
		{"beside the tables", data, "", filepath.Join(data, "secrets")},
		{"in a folder of their own", t.TempDir(), memory, memory},
	} {
		t.Run(tt.name, func(t *testing.T) {
			secretsServe(t, tt.data, tt.secrets, tt.kept)
			if _, err := os.Stat(filepath.Join(tt.data, "secrets")); tt.secrets != "" && !errors.Is(err, fs.ErrNotExist) {
				t.Errorf("there are Secrets beside the tables, too: %v", err)
			}
		})
	}
}

// secretsServe is that for an edge with folders for tables and for Secrets,
// which are kept in one.
func secretsServe(t *testing.T, data, secrets, kept string) {
	t.Helper()
	ca, port := certs.New(t), freeport.One(t)
	first, next := ca.Issue(t, "shop.example"), ca.Issue(t, "shop.example")
	source := make(told)
	p, err := plane.Open(t.Context(), plane.Options{Dir: t.TempDir(), Source: source, API: "127.0.0.1:0", Stream: "127.0.0.1:0"})
	if err != nil {
		t.Fatal(err)
	}
	endPlane := run(t, p.Run)
	docs, faults := routing.Read("shop.yaml", fmt.Appendf(nil,
		"name: shop\nport: %d\nsluice: {tls: {certificates: secret:shop/web}}\nroutes: {\"[127.0.0.1:1]\": {weight: 100%%}}\n", port))
	if len(faults) > 0 {
		t.Fatal(faults)
	}
	source <- []discovery.Update{{Key: "shop.yaml", Documents: docs}, secretUpdate(first)}
	open := func(dir string) *edge.Edge {
		t.Helper()
		o := options(t, dir, "default/default")
		o.Servers, o.SecretsDir = []string{p.Stream()}, secrets
		e, err := edge.Open(t.Context(), o)
		if err != nil {
			t.Fatal(err)
		}
		return e
	}
	endProxy := run(t, open(data).Run)
	shows(t, ca, port, first)
	source <- []discovery.Update{secretUpdate(next)}
	shows(t, ca, port, next)
	endProxy()
	endPlane()
	endProxy = run(t, open(data).Run)
	shows(t, ca, port, next)
	endProxy()
	path := filepath.Join(kept, "shop", "web", "pair.pem")
	if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("%s: %v, %v; want a file for its owner alone", path, info, err)
	}
}

// A control plane that names a Secret which it cannot see takes it from no
// proxy: the handshakes go on, and the file is there for the next start.
func TestSecretsOutlastAControlPlaneThatCannotSeeThem(t *testing.T) {
	ca, port, data := certs.New(t), freeport.One(t), t.TempDir()
	pair := ca.Issue(t, "shop.example")
	docs, faults := routing.Read("shop.yaml", fmt.Appendf(nil,
		"name: shop\nport: %d\nsluice: {tls: {certificates: secret:shop/web}}\nroutes: {\"[127.0.0.1:1]\": {weight: 100%%}}\n", port))
	more, wrong := routing.Read("more.yaml", []byte("name: more\nsluice: {port: none}\nroutes: {\"[127.0.0.1:1]\": {weight: 100%}}\n"))
	if len(faults)+len(wrong) > 0 {
		t.Fatal(faults, wrong)
	}
	for _, tt := range []struct {
		name    string
		updates []discovery.Update
		serves  int // how many gateways the proxy has in the end
	}{
		{"the Secret is handed out", []discovery.Update{{Key: "shop.yaml", Documents: docs}, secretUpdate(pair)}, 1},
		{"it is not seen any more", []discovery.Update{{Key: "more.yaml", Documents: more}, {Key: "shop.yaml", Documents: docs}}, 2},
	} {
		source := make(told)
		p, err := plane.Open(t.Context(), plane.Options{Dir: t.TempDir(), Source: source, API: "127.0.0.1:0", Stream: "127.0.0.1:0"})
		if err != nil {
			t.Fatal(err)
		}
		endPlane := run(t, p.Run)
		source <- tt.updates
		o := options(t, data, "default/default")
		o.Servers = []string{p.Stream()}
		e, err := edge.Open(t.Context(), o)
		if err != nil {
			t.Fatal(err)
		}
		endProxy := run(t, e.Run)
		late, again := time.After(patience), time.NewTicker(10*time.Millisecond)
		for len(e.Node().Gateways()) != tt.serves {
			select {
			case <-again.C:
			case <-late:
				t.Fatalf("%s: the proxy has %v, want %d gateways", tt.name, e.Node().Gateways(), tt.serves)
			}
		}
		again.Stop()
		shows(t, ca, port, pair)
		endProxy()
		endPlane()
		if _, err := os.Stat(filepath.Join(data, "secrets", "shop", "web", "pair.pem")); err != nil {
			t.Errorf("%s: %v", tt.name, err)
		}
	}
}

// Without a data directory Secrets are kept as long as the process lives.
func TestSecretsWithoutDataDirectoryLeaveNothing(t *testing.T) {
	tmp := t.TempDir()
	t.Setenv("TMPDIR", tmp)
	e, err := edge.Open(t.Context(), options(t, "", "default/default"))
	if err != nil {
		t.Fatal(err)
	}
	end := run(t, e.Run)
	p := certs.New(t).Issue(t, "shop.example")
	e.Node().PutSecrets(secretUpdate(p).Secrets)
	late, again := time.After(patience), time.NewTicker(10*time.Millisecond)
	defer again.Stop()
	for found := 0; found != 1; {
		files, err := filepath.Glob(filepath.Join(tmp, "sluice-secrets-*", "shop", "web", "pair.pem"))
		if err != nil {
			t.Fatal(err)
		}
		found = len(files)
		select {
		case <-again.C:
		case <-late:
			t.Fatalf("the files of Secrets are %q, want one", files)
		}
	}
	end()
	if left, err := os.ReadDir(tmp); err != nil || len(left) > 0 {
		t.Errorf("%v is left (%v)", left, err)
	}
}
