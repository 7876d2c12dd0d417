// SPDX-License-Identifier: Apache-2.0

package node

import (
	"context"
	"fmt"
	"io"
	"net/netip"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/sluice-mesh/sluice/cmd/internal/boot"
	"github.com/sluice-mesh/sluice/cmd/internal/verb"
	"github.com/sluice-mesh/sluice/proxy/http1"
)

// Flags adds the flags of every verb that serves gateways. gatewayAddress is
// where it does unless it is told otherwise.
func (o *Options) Flags(cmd *cobra.Command, gatewayAddress string) {
	flags := cmd.Flags()
	flags.StringVar(&o.GatewayAddress, "gateway-address", gatewayAddress, "IP address on which gateways listen")
	flags.StringVar(&o.Admin, "admin", "127.0.0.1:8092", "address of metrics, health and status")
	flags.StringVar(&o.AdminTokenFile, "admin-token-file", "", "file with the token that must be shown there; required where others can reach the address")
	flags.BoolVar(&o.Pprof, "pprof", false, "serve Go's profiles on the admin address, below /debug/pprof/")
	flags.IntVar(&o.Connections, "max-connections", 0, "most client connections of all gateways together (default three quarters of what the limit of open files leaves)")
	flags.IntVar(&o.ConnectionsPerAddress, "max-connections-per-address", 0, "most client connections of one address, or of one IPv6 network of 64 bits (default no bound)")
	flags.IntVar(&o.Requests, "max-requests", 0, "most requests under way in all gateways together; beyond, they are answered 503 (default no bound)")
	TrustFlag(cmd, &o.Trust)
	flags.StringVar(&o.Resolver, "resolver", "", "name server to ask, HOST:PORT (default the system's)")
}

// Check refuses flags of Flags that no node can be made of.
func (o *Options) Check() error {
	if _, err := netip.ParseAddr(o.GatewayAddress); err != nil {
		return verb.Usagef("--gateway-address: %q is not an IP address; 0.0.0.0 means all of IPv4", o.GatewayAddress)
	}
	if o.Connections < 0 {
		return verb.Usagef("--max-connections: %d is not a number of connections; 0 has it follow from the limit of open files", o.Connections)
	}
	if o.ConnectionsPerAddress < 0 {
		return verb.Usagef("--max-connections-per-address: %d is not a number of connections; 0 means no bound", o.ConnectionsPerAddress)
	}
	if o.Requests < 0 {
		return verb.Usagef("--max-requests: %d is not a number of requests; 0 means no bound", o.Requests)
	}
	if o.Resolver != "" {
		if _, err := netip.ParseAddrPort(o.Resolver); err != nil {
			return verb.Usagef("--resolver: %q is not an address; IP:PORT, such as 10.0.0.2:53", o.Resolver)
		}
	}
	return nil
}

// Service are the further flags of a verb that serves gateways until it is told
// to end.
type Service struct {
	explain   explainHeader
	logFormat string
	logLevel  string
}

// Flags adds the flags, most of which are those of o.
func (s *Service) Flags(cmd *cobra.Command, o *Options) {
	o.Flags(cmd, "0.0.0.0")
	flags := cmd.Flags()
	flags.IntVar(&o.VirtualHostsPort, "virtual-hosts-port", 80, "port of all virtual hosts; opened if there are any")
	flags.IntVar(&o.VirtualHostsTLSPort, "virtual-hosts-tls-port", 443, "port of those that speak TLS; opened if there are any")
	balancersFlag(cmd, &o.VirtualHostsProxyFrom)
	flags.StringVar(&o.TLSDir, "tls-dir", "", "directory below which the files of certificates and keys are (default the working directory)")
	flags.StringVar(&o.VirtualHostsDomain, "virtual-hosts-domain", "", "domain below which every gateway gets a virtual host (default none)")
	flags.StringVar(&o.Zone, "zone", "", "zone in which this proxy runs, for gateways that prefer near instances")
	flags.StringVar(&o.Node, "node", "", "machine on which this proxy runs, for the same")
	flags.DurationVar(&o.Drain, "drain", 30*time.Second, "how long requests in flight may take after SIGTERM")
	s.explain.flags(cmd)
	flags.StringVar(&s.logFormat, "log-format", "text", "form of the log on standard error: text or json")
	flags.StringVar(&s.logLevel, "log-level", "info", "least level that is logged: debug, info, warn or error")
}

// Open refuses flags that nothing can be served by, opens the log of o, reads
// the secret of the explain header and has garbage collected in good time.
func (s *Service) Open(ctx context.Context, o *Options, stderr io.Writer) (err error) {
	if err := o.checkVirtualHosts(); err != nil {
		return err
	}
	if err := o.Check(); err != nil {
		return err
	}
	if o.Log, err = boot.NewLog(stderr, s.logFormat, s.logLevel); err != nil {
		return verb.Usage(err)
	}
	if o.Explain, err = s.explain.secret(); err != nil {
		return err
	}
	if limit := boot.TuneMemory(os.LookupEnv); limit > 0 {
		o.Log.DebugContext(ctx, "the heap is kept below a part of the control group's memory limit", "bytes", limit)
	}
	return nil
}

// checkVirtualHosts refuses flags by which no virtual host can be served.
func (o *Options) checkVirtualHosts() error {
	for _, flag := range [...]struct {
		name string
		port int
	}{{"virtual-hosts-port", o.VirtualHostsPort}, {"virtual-hosts-tls-port", o.VirtualHostsTLSPort}} {
		if flag.port < 1 || flag.port > 65535 {
			return verb.Usagef("--%s: %d is not a port; 1 to 65535", flag.name, flag.port)
		}
	}
	if o.VirtualHostsPort == o.VirtualHostsTLSPort {
		return verb.Usagef("--virtual-hosts-tls-port: %d is the port of plain virtual hosts, too; two ports are needed", o.VirtualHostsTLSPort)
	}
	if o.TLSDir == "" {
		return nil
	}
	if info, err := os.Stat(o.TLSDir); err != nil || !info.IsDir() {
		return verb.Usagef("--tls-dir: %q is not a directory", o.TLSDir)
	}
	return nil
}

// explainHeader are the flags of the header by which a request asks for an
// explanation of itself.
type explainHeader struct {
	name, file string
}

func (h *explainHeader) flags(cmd *cobra.Command) {
	flags := cmd.Flags()
	flags.StringVar(&h.name, "explain-header", "", "header by which a request asks for an explanation of itself (default none)")
	flags.StringVar(&h.file, "explain-secret-file", "", "file with the secret that this header must carry")
}

// maxSecretBytes bounds a secret; heads have a bound too.
const maxSecretBytes = 1 << 10

// secret reads the secret; nil if the header is not wanted.
func (h *explainHeader) secret() (*http1.Secret, error) {
	if h.name == "" && h.file == "" {
		return nil, nil //nolint:nilnil // nil is a Secret that nobody knows
	}
	if h.name == "" || h.file == "" {
		return nil, verb.Usagef("--explain-header and --explain-secret-file need each other")
	}
	f, err := os.Open(h.file)
	if err != nil {
		return nil, fmt.Errorf("--explain-secret-file: %w", err)
	}
	defer func() { _ = f.Close() }()
	value, err := io.ReadAll(io.LimitReader(f, maxSecretBytes+1))
	if err != nil {
		return nil, fmt.Errorf("--explain-secret-file: %w", err)
	}
	if len(value) > maxSecretBytes {
		return nil, verb.Usagef("--explain-secret-file: the secret is longer than %d bytes", maxSecretBytes)
	}
	s, err := http1.NewSecret(h.name, strings.TrimSpace(string(value)))
	if err != nil {
		return nil, verb.Usagef("--explain-header, --explain-secret-file: %w", err)
	}
	return s, nil
}
