// SPDX-License-Identifier: Apache-2.0

package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/netip"
	"os"
	"sync"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/sluice-mesh/sluice/cmd/internal/boot"
	"github.com/sluice-mesh/sluice/cmd/internal/mesh"
	"github.com/sluice-mesh/sluice/discovery"
	"github.com/sluice-mesh/sluice/discovery/files"
	"github.com/sluice-mesh/sluice/discovery/static"
	"github.com/sluice-mesh/sluice/proxy"
)

// runFlags are the flags of sluice run.
type runFlags struct {
	files     []string
	instances instanceFlags
	mesh      mesh.Options
	explain   explainHeader
	logFormat string
	logLevel  string
}

func newRun() *cobra.Command {
	var f runFlags
	cmd := &cobra.Command{
		Use:   "run -f FILE|DIR [-f ...]",
		Short: "Serve the gateways of files",
		Long: `Run serves the gateways that stand in files and directories (*.yaml, *.yml and
*.json directly inside). They are watched: a good change is live at once and
cuts no request; a wrong one is logged, counted and shown on /status, and the
last good form of its gateway serves on.

SIGINT or SIGTERM lets requests in flight end, as long as --drain says; a
second one ends at once. SIGHUP reads everything anew and believes absences
that are held back, such as a file that became empty.`,
		Example: `  sluice run -f gateways/
  sluice run -f gateways/ --instances instances.yaml
  sluice run -f shop.yaml --gateway-address 127.0.0.1
  SLUICE_FILE=/etc/sluice SLUICE_LOG_FORMAT=json sluice run`,
		Args: arguments(cobra.NoArgs),
		RunE: func(cmd *cobra.Command, _ []string) error {
			return run(cmd.Context(), f, cmd.OutOrStdout(), cmd.ErrOrStderr())
		},
	}
	flags := cmd.Flags()
	flags.StringArrayVarP(&f.files, "file", "f", nil, "file or directory with gateways; may be repeated")
	f.instances.flags(cmd)
	meshFlags(cmd, &f.mesh, "0.0.0.0")
	flags.IntVar(&f.mesh.VirtualHostsPort, "virtual-hosts-port", 80, "port of all virtual hosts; opened if there are any")
	flags.IntVar(&f.mesh.VirtualHostsTLSPort, "virtual-hosts-tls-port", 443, "port of those that speak TLS; opened if there are any")
	balancersFlag(cmd, &f.mesh.VirtualHostsProxyFrom)
	flags.StringVar(&f.mesh.TLSDir, "tls-dir", "", "directory below which the files of certificates and keys are (default the working directory)")
	flags.StringVar(&f.mesh.VirtualHostsDomain, "virtual-hosts-domain", "", "domain below which every gateway gets a virtual host (default none)")
	flags.StringVar(&f.mesh.Zone, "zone", "", "zone in which this proxy runs, for gateways that prefer near instances")
	flags.StringVar(&f.mesh.Node, "node", "", "machine on which this proxy runs, for the same")
	flags.DurationVar(&f.mesh.Drain, "drain", 30*time.Second, "how long requests in flight may take after SIGTERM")
	f.explain.flags(cmd)
	flags.StringVar(&f.logFormat, "log-format", "text", "form of the log on standard error: text or json")
	flags.StringVar(&f.logLevel, "log-level", "info", "least level that is logged: debug, info, warn or error")
	return cmd
}

// meshFlags adds the flags of every verb that serves gateways.
func meshFlags(cmd *cobra.Command, o *mesh.Options, gatewayAddress string) {
	flags := cmd.Flags()
	flags.StringVar(&o.GatewayAddress, "gateway-address", gatewayAddress, "IP address on which gateways listen")
	flags.StringVar(&o.Admin, "admin", "127.0.0.1:8092", "address of metrics, health and status")
	flags.StringVar(&o.AdminTokenFile, "admin-token-file", "", "file with the token that must be shown there; required where others can reach the address")
	flags.BoolVar(&o.Pprof, "pprof", false, "serve Go's profiles on the admin address, below /debug/pprof/")
	flags.IntVar(&o.Connections, "max-connections", 0, "most client connections of all gateways together (default three quarters of what the limit of open files leaves)")
	flags.IntVar(&o.ConnectionsPerAddress, "max-connections-per-address", 0, "most client connections of one address, or of one IPv6 network of 64 bits (default no bound)")
	flags.IntVar(&o.Requests, "max-requests", 0, "most requests under way in all gateways together; beyond, they are answered 503 (default no bound)")
	trustFlag(cmd, &o.Trust)
	flags.StringVar(&o.Resolver, "resolver", "", "name server to ask, HOST:PORT (default the system's)")
}

// checkMesh refuses flags that no mesh can be made of.
func checkMesh(o mesh.Options) error {
	if _, err := netip.ParseAddr(o.GatewayAddress); err != nil {
		return usagef("--gateway-address: %q is not an IP address; 0.0.0.0 means all of IPv4", o.GatewayAddress)
	}
	if o.Connections < 0 {
		return usagef("--max-connections: %d is not a number of connections; 0 has it follow from the limit of open files", o.Connections)
	}
	if o.ConnectionsPerAddress < 0 {
		return usagef("--max-connections-per-address: %d is not a number of connections; 0 means no bound", o.ConnectionsPerAddress)
	}
	if o.Requests < 0 {
		return usagef("--max-requests: %d is not a number of requests; 0 means no bound", o.Requests)
	}
	if o.Resolver != "" {
		if _, err := netip.ParseAddrPort(o.Resolver); err != nil {
			return usagef("--resolver: %q is not an address; IP:PORT, such as 10.0.0.2:53", o.Resolver)
		}
	}
	return nil
}

// checkVirtualHosts refuses flags by which no virtual host can be served.
func checkVirtualHosts(o mesh.Options) error {
	for _, flag := range [...]struct {
		name string
		port int
	}{{"virtual-hosts-port", o.VirtualHostsPort}, {"virtual-hosts-tls-port", o.VirtualHostsTLSPort}} {
		if flag.port < 1 || flag.port > 65535 {
			return usagef("--%s: %d is not a port; 1 to 65535", flag.name, flag.port)
		}
	}
	if o.VirtualHostsPort == o.VirtualHostsTLSPort {
		return usagef("--virtual-hosts-tls-port: %d is the port of plain virtual hosts, too; two ports are needed", o.VirtualHostsTLSPort)
	}
	if o.TLSDir == "" {
		return nil
	}
	if info, err := os.Stat(o.TLSDir); err != nil || !info.IsDir() {
		return usagef("--tls-dir: %q is not a directory", o.TLSDir)
	}
	return nil
}

func run(ctx context.Context, f runFlags, stdout, stderr io.Writer) error {
	if len(f.files) == 0 {
		return usagef("which gateways? name a file or a directory with -f")
	}
	if err := checkVirtualHosts(f.mesh); err != nil {
		return err
	}
	if err := checkMesh(f.mesh); err != nil {
		return err
	}
	log, err := boot.NewLog(stderr, f.logFormat, f.logLevel)
	if err != nil {
		return usage(err)
	}
	if f.mesh.Explain, err = f.explain.secret(); err != nil {
		return err
	}
	if limit := boot.TuneMemory(os.LookupEnv); limit > 0 {
		log.DebugContext(ctx, "the heap is kept below a part of the control group's memory limit", "bytes", limit)
	}
	ctx, signals := boot.Notify(ctx)
	defer signals.Release()

	f.mesh.Log = log
	if f.mesh.Select, err = f.instances.options(); err != nil {
		return err
	}
	f.mesh.Source = files.New(f.files, files.Options{Log: log})
	if len(f.instances.paths) > 0 {
		f.mesh.Source = discovery.Join(f.mesh.Source, static.New(f.instances.paths, files.Options{Log: log}))
	}
	m, err := mesh.Open(ctx, f.mesh)
	if err != nil {
		return err
	}
	a := attendant{mesh: m, signals: signals, log: log, stdout: stdout, drain: f.mesh.Drain, ended: make(chan struct{})}
	var attending sync.WaitGroup
	attending.Go(func() { a.attend(ctx) })
	err = m.Run(ctx)
	close(a.ended)
	attending.Wait()
	if err == nil && a.cut {
		err = errCut
	}
	return err
}

// errCut ends a process that was told twice to end.
var errCut = errors.New("ended at once: requests in flight were cut")

// attendant does what is to be done beside a mesh that runs.
type attendant struct {
	mesh    *mesh.Mesh
	signals *boot.Signals
	log     *slog.Logger
	stdout  io.Writer
	drain   time.Duration
	ended   chan struct{} // closed when the mesh has ended
	cut     bool          // it was told to end at once; read after attend
}

// attend says what is served once it is, and follows the signals until the
// mesh has ended.
func (a *attendant) attend(ctx context.Context) {
	first, stop, again := a.mesh.First(), ctx.Done(), a.signals.Again
	for {
		select {
		case <-first:
			first = nil
			_ = printServing(a.stdout, a.mesh) // a closed stdout is no reason to stop
		case <-a.signals.Hangup:
			a.log.InfoContext(ctx, "reading everything anew", "confirmed", a.mesh.Confirm())
		case <-stop:
			stop = nil
			a.log.InfoContext(ctx, "ending: requests in flight may finish", "why", context.Cause(ctx).Error(), "drain", a.drain.String())
		case <-again:
			again = nil
			a.cut = true
			a.mesh.Cut()
		case <-a.ended:
			return
		}
	}
}

// printServing prints the gateways, how they stand, and where to look.
func printServing(w io.Writer, m *mesh.Mesh) error {
	return printGateways(w, m.Gateways(), "sluice "+boot.ReadBuild().Version+" serves", m.Admin())
}

func printGateways(w io.Writer, gateways []proxy.GatewayStatus, title, admin string) error {
	t := tabwriter.NewWriter(w, 0, 0, 3, ' ', 0)
	fmt.Fprintf(t, "%s %s; status on http://%s/status, metrics on http://%s/metrics\n", title, count(len(gateways), "gateway"), admin, admin)
	if len(gateways) > 0 {
		fmt.Fprintln(t, "GATEWAY\tPORT\tTYPE\tSTATE")
	}
	for _, g := range gateways {
		state := "deployed"
		if !g.Deployed {
			state = "not deployed: " + cmp.Or(g.Reason, "starting")
		}
		fmt.Fprintf(t, "%s\t%d\t%s\t%s\n", g.Name, g.Port, g.Type, state)
	}
	return t.Flush()
}
