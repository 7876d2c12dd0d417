// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"cmp"
	"context"
	_ "embed"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"net"
	"os"
	"strconv"
	"strings"
	"syscall"
	"text/template"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/sync/errgroup"

	"github.com/sluice-mesh/sluice/cmd/internal/boot"
	"github.com/sluice-mesh/sluice/cmd/internal/mesh"
	"github.com/sluice-mesh/sluice/cmd/internal/node"
	"github.com/sluice-mesh/sluice/cmd/internal/shop"
)

//go:embed lab.yaml
var labYAML string

var labTemplate = template.Must(template.New("lab.yaml").Parse(labYAML))

// summaryEvery is how often the lab tells a terminal how trade goes.
const summaryEvery = 10 * time.Second

// labFlags are the flags of sluice lab.
type labFlags struct {
	mesh  mesh.Options
	port  int
	knobs string
	load  float64
	print bool

	marathon labMarathonFlags
}

func newLab() *cobra.Command {
	var f labFlags
	cmd := &cobra.Command{
		Use:   "lab",
		Short: "See it work: a shop in two versions behind a gateway",
		Long: `Lab starts, in one process, a small shop in two versions with two instances
each, a gateway that sends nine requests in ten to the old version and one in
ten to the new one, and gentle customers. It prints what to try. Ctrl-C ends
it.

With --marathon there is a Marathon as well, made for trying things: the
versions are two of its apps, their tasks processes of this machine, and a
control plane watches it. Apps may be deployed there as on any Marathon.`,
		Example: `  sluice lab
  sluice lab --port 9100 --load 0
  sluice lab --print > shop.yaml   # its gateways, as a file to begin with
  sluice lab --marathon            # the same for those who run a Marathon`,
		Args: arguments(cobra.NoArgs),
		RunE: func(cmd *cobra.Command, _ []string) error {
			if f.marathon.on && !cmd.Flags().Changed("port") {
				f.port = marathonPort
			}
			if err := f.check(); err != nil {
				return err
			}
			if f.print {
				return f.printYAML(cmd.OutOrStdout())
			}
			return f.run(cmd.Context(), cmd.OutOrStdout(), cmd.ErrOrStderr())
		},
	}
	flags := cmd.Flags()
	flags.IntVar(&f.port, "port", 9050, "port of the gateway; with --marathon "+strconv.Itoa(marathonPort)+" if it is not given")
	flags.StringVar(&f.knobs, "knobs", "127.0.0.1:9051", "address of the knobs that slow or break a version")
	flags.Float64Var(&f.load, "load", 20, "requests a second by the built-in customers; 0 for none")
	flags.BoolVar(&f.print, "print", false, "print the gateways as YAML and end")
	flags.BoolVar(&f.marathon.on, "marathon", false, "have versions be apps of a Marathon")
	flags.StringVar(&f.marathon.listen, "marathon-listen", "127.0.0.1:8081", "address of that Marathon, on this machine; with --marathon")
	flags.StringVar(&f.marathon.api, "api", "127.0.0.1:8090", "address of the API of the control plane, on this machine; with --marathon")
	f.mesh.Flags(cmd, "127.0.0.1")
	cmd.AddCommand(newLabTask())
	return cmd
}

func (f *labFlags) check() error {
	if f.port < 1 || f.port > 65535 {
		return usagef("--port: %d is not a port; 1 to 65535", f.port)
	}
	if !(f.load >= 0 && f.load <= 1000) {
		return usagef("--load: %g is not a gentle load; 0 to 1000 requests a second", f.load)
	}
	return cmp.Or(f.marathon.check(), f.mesh.Check())
}

// labVersion is a version of the shop in the lab's gateways.
type labVersion struct {
	Version   string
	Port      int // of its gateway; 0 has one assigned
	Addresses []string
}

// labGateways returns the lab's gateways as YAML.
func labGateways(port int, note string, versions []labVersion) ([]byte, error) {
	var b bytes.Buffer
	err := labTemplate.Execute(&b, struct {
		Note     string
		Port     int
		Versions []labVersion
	}{note, port, versions})
	return b.Bytes(), err
}

// printYAML prints the gateways with addresses that stand for those of
// instances, which the lab learns only when it starts.
func (f *labFlags) printYAML(w io.Writer) error {
	if f.marathon.on {
		text, err := labMarathonText("Their routes are found where a Marathon is watched.", f.port, f.port+1)
		if err == nil {
			_, err = w.Write(text)
		}
		return err
	}
	var versions []labVersion
	port := 9061
	for _, v := range shop.Versions() {
		versions = append(versions, labVersion{Version: v, Addresses: []string{
			"127.0.0.1:" + strconv.Itoa(port), "127.0.0.1:" + strconv.Itoa(port+1),
		}})
		port += 2
	}
	text, err := labGateways(f.port, "The addresses stand for those of your instances.", versions)
	if err == nil {
		_, err = w.Write(text)
	}
	return err
}

func (f *labFlags) run(ctx context.Context, stdout, stderr io.Writer) error {
	ctx, signals := boot.Notify(ctx)
	defer signals.Release()
	log, err := boot.NewLog(stderr, "text", "warn")
	if err != nil {
		return err
	}
	boot.TuneMemory(os.LookupEnv)
	ctx, end := context.WithCancel(ctx)
	defer end()

	gateway := net.JoinHostPort(f.mesh.GatewayAddress, strconv.Itoa(f.port))
	// The gateway would only wait for its port; a lab without it is of no use.
	ln, err := listen(ctx, gateway)
	if err != nil {
		return taken("--port", gateway, err)
	}
	_ = ln.Close()
	if f.marathon.on {
		return f.runMarathon(ctx, stdout, log, signals)
	}
	s, err := shop.Open(ctx, shop.Options{Control: f.knobs})
	if err != nil {
		return taken("--knobs", f.knobs, err)
	}
	m, err := f.open(ctx, s, log)
	if err != nil {
		s.Close()
		return err
	}
	load := shop.NewLoad(shop.LoadOptions{URL: "http://" + f.reachable(), Rate: f.load})

	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error { return s.Run(ctx) })
	g.Go(func() error { return m.Run(ctx) })
	g.Go(func() error {
		select {
		case <-signals.Hangup: // the terminal is gone
			end()
		case <-ctx.Done():
		}
		return nil
	})
	g.Go(func() error {
		select {
		case <-m.First():
		case <-ctx.Done():
			return nil
		}
		l := lab{shop: s, mesh: m, load: load, gateway: f.reachable(), knobs: s.Control(), rate: f.load}
		if err := l.introduce(stdout); err != nil {
			return err
		}
		return l.trade(ctx, stdout)
	})
	return g.Wait()
}

// open makes the mesh that serves the lab's gateways in front of s.
func (f *labFlags) open(ctx context.Context, s *shop.Shop, log *slog.Logger) (*mesh.Mesh, error) {
	versions, err := f.labVersions(ctx, s)
	if err != nil {
		return nil, err
	}
	text, err := labGateways(f.port, "Written when the lab was started.", versions)
	if err != nil {
		return nil, err
	}
	o := f.mesh
	o.Source = mesh.Text{Name: "lab.yaml", YAML: text}
	o.Drain = -1
	o.Log = log
	return mesh.Open(ctx, o) // its error names --admin
}

// reachable returns the address by which the lab's gateway is reached from
// this machine.
func (f *labFlags) reachable() string { return f.address(f.port) }

// address returns the address by which a port is reached from this machine.
func (f *labFlags) address(port int) string {
	host := f.mesh.GatewayAddress
	switch host {
	case "0.0.0.0":
		host = "127.0.0.1"
	case "::":
		host = "::1"
	}
	return net.JoinHostPort(host, strconv.Itoa(port))
}

// freePorts returns n different ports of an IP address that are free now,
// from below those that the kernel gives to connections: such a one could be
// taken again before the gateway listens.
func freePorts(ctx context.Context, host string, n int) (ports []int, err error) {
	const low, high, tries = 20_000, 32_000, 100
	for range tries {
		ln, failed := listen(ctx, net.JoinHostPort(host, strconv.Itoa(low+rand.IntN(high-low))))
		if err = failed; err != nil {
			continue
		}
		defer ln.Close() // all stay open to the end, so that they differ
		if ports = append(ports, ln.Addr().(*net.TCPAddr).Port); len(ports) == n {
			return ports, nil
		}
	}
	return nil, err
}

func listen(ctx context.Context, address string) (net.Listener, error) {
	var lc net.ListenConfig
	return lc.Listen(ctx, "tcp", address)
}

// taken tells which flag an address came from and what to do.
func taken(flag, address string, err error) error {
	if errors.Is(err, syscall.EADDRINUSE) {
		return fmt.Errorf("%s is taken by another process (another lab?); choose another with %s", address, flag)
	}
	return fmt.Errorf("%s: %w", flag, err)
}

// labVersions returns the instances of s by version. Each version's gateway
// has a port that is free now: the assigned ones follow from the name, and
// are taken if another lab runs.
func (f *labFlags) labVersions(ctx context.Context, s *shop.Shop) ([]labVersion, error) {
	ports, err := freePorts(ctx, f.mesh.GatewayAddress, len(shop.Versions()))
	if err != nil {
		return nil, fmt.Errorf("--gateway-address: %w", err)
	}
	var all []labVersion
	for i, version := range shop.Versions() {
		v := labVersion{Version: version, Port: ports[i]}
		for _, in := range s.Instances() {
			if in.Version == version {
				v.Addresses = append(v.Addresses, in.Address())
			}
		}
		all = append(all, v)
	}
	return all, nil
}

// lab is what runs, to tell of it.
type lab struct {
	shop           *shop.Shop
	mesh           *mesh.Mesh
	load           *shop.Load
	gateway, knobs string // host:port
	rate           float64
}

// introduce prints what was started and what to try.
func (l *lab) introduce(w io.Writer) error {
	if err := node.Print(w, l.mesh.Gateways(), "sluice "+boot.ReadBuild().Version+" lab:", l.mesh.Admin()); err != nil {
		return err
	}
	var b strings.Builder
	fmt.Fprintf(&b, "\nThe shop in two versions, open http://%s/ in a browser; knobs on http://%s/knobs\n", l.gateway, l.knobs)
	for _, in := range l.shop.Instances() {
		fmt.Fprintf(&b, "  %s on %s\n", in, in.Address())
	}
	if l.rate > 0 {
		fmt.Fprintf(&b, "Customers: %g requests a second, one in ten a beta guest\n", l.rate)
	}
	fmt.Fprintf(&b, `
Five things to try:

1. Nine requests in ten go to 1.0.0, one in ten to 1.1.0:
   for i in $(seq 100); do curl -s http://%[1]s/version; done | sort | uniq -c

2. Beta guests always see 1.1.0, for the condition "has cookie beta" holds:
   curl -s -H 'Cookie: beta=yes' http://%[1]s/version

3. What was asked for and what was achieved, by route:
   curl -s http://%[3]s/metrics | grep '^sluice_route_weight_ratio{gateway="shop"'

4. Make one request in two to 1.1.0 fail and all of them slow, and see its metrics tell:
   curl -s -X POST 'http://%[2]s/knobs?version=1.1.0&errors=50%%&latency=200ms'
   curl -s http://%[3]s/metrics | grep '^sluice_requests_total{.*gateway="shop"'

5. How every gateway stands, and what is wrong if anything is:
   curl -s http://%[3]s/status

The gateway speaks HTTP/2 as well, and does the same: add --http2-prior-knowledge to 1 and 2.

Ctrl-C ends it. "sluice lab --print" prints the gateways to begin with.
`, l.gateway, l.knobs, l.mesh.Admin())
	_, err := io.WriteString(w, b.String())
	return err
}

// trade tells a terminal every now and then how trade goes, and sends the
// customers, until ctx ends.
func (l *lab) trade(ctx context.Context, w io.Writer) error {
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error { return l.load.Run(ctx) })
	if l.rate > 0 && isTerminal(w) {
		g.Go(func() error { return l.summarize(ctx, w) })
	}
	return g.Wait()
}

func (l *lab) summarize(ctx context.Context, w io.Writer) error {
	tick := time.NewTicker(summaryEvery)
	defer tick.Stop()
	last := l.load.Sales()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
		now := l.load.Sales()
		if _, err := fmt.Fprintln(w, summary(now, last)); err != nil {
			return err
		}
		last = now
	}
}

// summary is one line on what customers saw between two looks.
func summary(now, last shop.Sales) string {
	sent := now.Sent - last.Sent
	if sent == 0 {
		return "customers: no answers"
	}
	parts := []string{fmt.Sprintf("customers: %.1f/s", float64(sent)/summaryEvery.Seconds())}
	for _, v := range shop.Versions() {
		parts = append(parts, fmt.Sprintf("%s %.0f %%", v, 100*float64(now.Served[v]-last.Served[v])/float64(sent)))
	}
	parts = append(parts, fmt.Sprintf("failed %d", now.Failed-last.Failed))
	return strings.Join(parts, " · ")
}

// isTerminal reports whether v is a terminal, or at least no file or pipe
// that somebody reads later.
func isTerminal(v any) bool {
	f, ok := v.(*os.File)
	if !ok {
		return false
	}
	info, err := f.Stat()
	return err == nil && info.Mode()&os.ModeCharDevice != 0
}
