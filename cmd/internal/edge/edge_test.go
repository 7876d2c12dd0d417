// SPDX-License-Identifier: Apache-2.0

package edge_test

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/sluice-mesh/sluice/cmd/internal/edge"
	"github.com/sluice-mesh/sluice/cmd/internal/node"
	"github.com/sluice-mesh/sluice/test/freeport"
)

// options returns options of a proxy whose control plane is not there.
func options(t *testing.T, dir string, namespaces ...string) edge.Options {
	t.Helper()
	return edge.Options{
		Options: node.Options{GatewayAddress: "127.0.0.1", Admin: "127.0.0.1:0", Drain: -1},
		Servers: []string{"127.0.0.1:1"}, Name: "edge-1", Namespaces: namespaces, DataDir: dir, Hold: time.Minute,
	}
}

func get(t *testing.T, url string) (status int, body string) {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url, http.NoBody)
	if err != nil {
		t.Fatal(err)
	}
	r.Close = true
	resp, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, string(b)
}

func TestProxyWithoutAnythingIsNotReadyAndSaysWhy(t *testing.T) {
	e, err := edge.Open(t.Context(), options(t, t.TempDir(), "default/default"))
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- e.Run(ctx) }()
	admin := "http://" + e.Node().Admin()
	if status, body := get(t, admin+"/readyz"); status != http.StatusServiceUnavailable ||
		!strings.Contains(body, "[-] gateways: no table yet") || !strings.Contains(body, "[+] control: stale since ") {
		t.Errorf("/readyz = %d %q, want 503 for want of a table", status, body)
	}
	_, body := get(t, admin+"/status")
	var s edge.Status
	if err := json.Unmarshal([]byte(body), &s); err != nil || s.Table != nil || s.Control.Connected || s.Control.Disk == nil {
		t.Errorf("/status = %s (%v), want no table, no connection and a disk", body, err)
	}
	stop()
	if err := <-ended; err != nil {
		t.Errorf("Run() = %v, want nil", err)
	}
}

// What Open took it lets go of when it fails, and Run when it ends.
func TestDataDirectoryIsOfItsNamespacesAlone(t *testing.T) {
	dir, port := t.TempDir(), freeport.One(t)
	once := func(namespaces ...string) error {
		o := options(t, dir, namespaces...)
		o.Admin = fmt.Sprintf("127.0.0.1:%d", port)
		e, err := edge.Open(t.Context(), o)
		if err != nil {
			return err
		}
		ctx, stop := context.WithCancel(context.Background())
		stop()
		return e.Run(ctx)
	}
	for _, tt := range []struct {
		namespaces []string
		want       string // part of the error; empty for none
	}{
		{[]string{"acme/prod", "acme/test"}, ""},
		{[]string{"acme/test", "acme/prod"}, ""},
		{[]string{"acme/prod"}, "it keeps tables of acme/prod, acme/test, not of acme/prod; use another directory"},
		{[]string{"prod"}, "it keeps tables of"},
		{[]string{"acme/prod", "acme/test"}, ""},
	} {
		err := once(tt.namespaces...)
		if (err == nil) != (tt.want == "") || err != nil && !strings.Contains(err.Error(), tt.want) {
			t.Errorf("with %q: %v, want %q", tt.namespaces, err, tt.want)
		}
	}
	// A full disk leaves the file empty, which is no reason not to start.
	if err := os.WriteFile(filepath.Join(dir, "namespaces"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := once("acme/prod", "acme/test"); err != nil {
		t.Errorf("with an empty list: %v", err)
	}
	if err := once("acme/prod"); err == nil {
		t.Error("an empty list was not written anew")
	}
}
