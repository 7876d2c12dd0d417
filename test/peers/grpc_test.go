// SPDX-License-Identifier: Apache-2.0

//go:build peers

package peers

import (
	"context"
	"flag"
	"fmt"
	"net"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/sluice-mesh/sluice/test/certs"
	"github.com/sluice-mesh/sluice/test/freeport"
)

var interopTimes = flag.Int("interop.times", 50, "how often each case of gRPC's interoperability tests runs")

// interopCases are those of gRPC's interoperability tests that need no account
// anywhere.
var interopCases = []string{
	"empty_unary", "large_unary", "client_streaming", "server_streaming", "ping_pong", "empty_stream",
	"timeout_on_sleeping_server", "cancel_after_begin", "cancel_after_first_response", "status_code_and_message",
	"special_status_message", "custom_metadata", "unimplemented_method", "unimplemented_service",
}

// interopServer starts a server of gRPC's interoperability tests.
func interopServer(t *testing.T, args ...string) (address string) {
	t.Helper()
	port := freeport.One(t)
	log := runProgram(t, t.TempDir(), bound(t, "grpc-interop/server"), append(args, "-port", strconv.Itoa(port))...)
	until(t, log, func(ctx context.Context) error {
		c, err := new(net.Dialer).DialContext(ctx, "tcp", loopback(port))
		if err == nil {
			_ = c.Close()
		}
		return err
	})
	return loopback(port)
}

// interop runs each case some times against a port, two at a time.
func interop(t *testing.T, times, port int, args ...string) {
	t.Helper()
	client := bound(t, "grpc-interop/client")
	began := time.Now()
	var group sync.WaitGroup
	free := make(chan struct{}, 2)
	for range times {
		for _, name := range interopCases {
			free <- struct{}{}
			group.Go(func() {
				defer func() { <-free }()
				if out, err := runCase(t, client, name, port, args); err != nil {
					t.Errorf("%s: %v\n%s", name, err, out)
				}
			})
		}
	}
	group.Wait()
	t.Logf("%d cases %d times in %v", len(interopCases), times, time.Since(began).Round(time.Millisecond))
}

// lateCancel is what the client says in the case cancel_after_begin if the
// answer is there before it looks at what it cancelled: it sends the end of the
// request nevertheless, and then takes one or the other at random. Without a
// gateway, on a busy machine, that happens once in some hundred runs.
var lateCancel = regexp.MustCompile(`CloseAndRecv\(\) got error code 0, want 1`)

// runCase runs a case; up to five times if the client raced with itself.
func runCase(t *testing.T, client, name string, port int, args []string) (out []byte, err error) {
	t.Helper()
	args = append([]string{"-server_host", "127.0.0.1", "-server_port", strconv.Itoa(port), "-test_case", name}, args...)
	for range 5 {
		ctx, cancel := context.WithTimeout(t.Context(), patience)
		out, err = exec.CommandContext(ctx, client, args...).CombinedOutput()
		cancel()
		if err == nil || name != "cancel_after_begin" || !lateCancel.Match(out) {
			break
		}
	}
	return out, err
}

// TestGRPCInterop runs gRPC's interoperability tests through a gateway that
// leads to two servers by weight.
func TestGRPCInterop(t *testing.T) {
	a, b := interopServer(t), interopServer(t)
	l := newListener(t)
	startSluice(t, l.dir, fmt.Sprintf(`name: calls
port: %d
routes:
  "[%s]": {weight: 70%%, sluice: {protocol: h2c}}
  "[%s]": {weight: 30%%, sluice: {protocol: grpc}}
`, l.port, a, b))
	interop(t, *interopTimes, l.port)
}

// TestGRPCInteropOverTLS has both sides speak TLS.
func TestGRPCInteropOverTLS(t *testing.T) {
	l := newListener(t)
	ca := certs.New(t)
	ca.WriteFile(l.dir, "ca.crt")
	ca.Issue(t, "shop.example").WriteFiles(l.dir, "shop")
	cert, key := ca.Issue(t, "calls.internal").WriteFiles(l.dir, "calls")
	to := interopServer(t, "-use_tls", "-tls_cert_file", cert, "-tls_key_file", key)
	startSluice(t, l.dir, fmt.Sprintf(`name: calls
port: %d
sluice: {tls: {certificates: {certificate: shop.crt, key: shop.key}}}
routes: {"[%s]": {sluice: {protocol: grpc, tls: {ca: ca.crt, name: calls.internal}}}}
`, l.port, to))
	interop(t, 1, l.port, "-use_tls", "-use_test_ca", "-ca_file", filepath.Join(l.dir, "ca.crt"), "-server_host_override", "shop.example")
}

// TestGRPCInteropFailsWhereItShould holds that the client tells of failures:
// without a gateway none of its cases passes.
func TestGRPCInteropFailsWhereItShould(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	out, err := exec.CommandContext(ctx, bound(t, "grpc-interop/client"), "-server_host", "127.0.0.1", "-server_port", strconv.Itoa(freeport.One(t)), "-test_case", "empty_unary").CombinedOutput()
	if err == nil || !strings.Contains(string(out), "refused") {
		t.Errorf("%v\n%s", err, out)
	}
}
