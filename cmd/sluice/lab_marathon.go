// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"context"
	_ "embed"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"strconv"
	"strings"
	"text/template"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/sluice-mesh/sluice/cmd/internal/boot"
	"github.com/sluice-mesh/sluice/cmd/internal/edge"
	"github.com/sluice-mesh/sluice/cmd/internal/marathon"
	"github.com/sluice-mesh/sluice/cmd/internal/node"
	"github.com/sluice-mesh/sluice/cmd/internal/plane"
	"github.com/sluice-mesh/sluice/cmd/internal/shop"
	"github.com/sluice-mesh/sluice/control/client"
	"github.com/sluice-mesh/sluice/control/store"
	"github.com/sluice-mesh/sluice/discovery/marathon/marathontest"
)

//go:embed lab_marathon.yaml
var labMarathonYAML string

//go:embed lab_marathon.json
var labMarathonJSON string

var (
	labMarathonGateways = template.Must(template.New("lab_marathon.yaml").Parse(labMarathonYAML))
	labMarathonApp      = template.Must(template.New("lab_marathon.json").Parse(labMarathonJSON))
)

const (
	// marathonPort is the port of the lab's gateway in front of a Marathon.
	marathonPort = 8080
	// maxLabTasks bounds the processes that the lab's Marathon starts.
	maxLabTasks = 40
	// labCheckEvery is how often it checks tasks, whatever apps say.
	labCheckEvery = time.Second
	// labInstances is how many tasks each version has.
	labInstances = 2
)

// labMarathonFlags are the flags of a lab with a Marathon.
type labMarathonFlags struct {
	on     bool
	listen string
	api    string
}

func (f *labMarathonFlags) check() error {
	if !f.on {
		return nil
	}
	for flag, address := range map[string]string{"--marathon-listen": f.listen, "--api": f.api} {
		if a, err := netip.ParseAddrPort(address); err != nil || !a.Addr().IsLoopback() {
			return usagef("%s: %q is no address of this machine alone, such as 127.0.0.1:8081: whoever reaches it starts processes here", flag, address)
		}
	}
	return nil
}

// labApp is an app of the lab.
type labApp struct {
	Version   string
	Instances int
	Boot      string // how long a task takes to start; empty means no time
}

// definition returns the app as POST /v2/apps takes it.
func (a labApp) definition() (string, error) {
	var b strings.Builder
	err := labMarathonApp.Execute(&b, a)
	return strings.TrimSpace(b.String()), err
}

// marathonLab is a lab with a Marathon: its tasks are processes, a control plane
// watches it, and a proxy serves.
type marathonLab struct {
	f        *labFlags
	marathon *marathontest.Cluster
	plane    *plane.Plane
	edge     *edge.Edge
	client   *client.Client
	every    int // port of the gateway of all versions
	dir      string
}

// runMarathon runs a lab with a Marathon until it is told to end.
func (f *labFlags) runMarathon(ctx context.Context, stdout io.Writer, log *slog.Logger, signals *boot.Signals) (err error) {
	l := &marathonLab{f: f}
	if l.dir, err = os.MkdirTemp("", "sluice-lab-"); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(l.dir)) }()
	if err := l.open(ctx, log); err != nil {
		return err
	}
	defer l.client.Close()
	ctx, end := context.WithCancel(ctx)
	defer end()
	// The Marathon outlives who watches it: they would complain.
	watched, unwatched := context.WithCancel(context.WithoutCancel(ctx))
	var g errgroup.Group
	g.Go(func() error { return l.marathon.Run(watched) })
	g.Go(func() error {
		select {
		case <-signals.Hangup: // the terminal is gone
			end()
		case <-ctx.Done():
		}
		return nil
	})
	g.Go(func() error {
		defer unwatched()
		defer end()
		return l.serve(ctx, stdout)
	})
	return g.Wait()
}

// serve deploys what the lab begins with, and then has it watched and served: so
// the first table has all of it.
func (l *marathonLab) serve(ctx context.Context, stdout io.Writer) error {
	deployed := l.deploy(ctx)
	if deployed != nil {
		cancelled, cancel := context.WithCancel(ctx)
		cancel()
		ctx = cancelled // the parts let go of what they have opened
	}
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error { return l.plane.Run(ctx) })
	g.Go(func() error { return l.edge.Run(ctx) })
	g.Go(func() error {
		err := l.trade(ctx, stdout)
		if ctx.Err() != nil {
			return nil //nolint:nilerr // what was under way broke off
		}
		return err
	})
	return errors.Join(deployed, g.Wait())
}

// open makes all parts. What it has opened when it fails is let go of.
func (l *marathonLab) open(ctx context.Context, log *slog.Logger) (err error) {
	ports, err := freePorts(ctx, l.f.mesh.GatewayAddress, 1)
	if err != nil {
		return fmt.Errorf("--gateway-address: %w", err)
	}
	l.every = ports[0]
	if l.client, err = client.New(client.Options{Server: "http://" + l.f.marathon.api}); err != nil {
		return err
	}
	l.marathon, err = marathontest.New(ctx, marathontest.Options{
		Addresses: []string{l.f.marathon.listen}, Instances: 1, Killing: true, MaxTasks: maxLabTasks,
		Runner: processes{}, Probe: true, ProbeEvery: labCheckEvery, Log: log,
	})
	if err != nil {
		return taken("--marathon-listen", l.f.marathon.listen, err)
	}
	defer func() {
		if err != nil {
			ended, end := context.WithCancel(ctx)
			end()
			_ = l.marathon.Run(ended) // lets go of its address
		}
	}()
	watched, err := (&marathon.Options{URLs: l.marathon.URLs(), Resync: time.Minute}).Open()
	if err != nil {
		return err
	}
	l.plane, err = plane.Open(ctx, plane.Options{
		Dir: l.dir, Node: "lab", API: l.f.marathon.api, Stream: "127.0.0.1:0", Marathon: watched, Log: log,
	})
	if err != nil {
		return err
	}
	o := l.f.mesh.Options
	o.Drain, o.Log = -1, log
	l.edge, err = edge.Open(ctx, edge.Options{
		Options: o, Servers: []string{l.plane.Stream()}, Name: "lab", Namespaces: []string{store.DefaultNamespace},
	})
	if err != nil {
		return errors.Join(err, l.plane.Close())
	}
	return nil
}

// deploy deploys the versions of the shop and waits until their tasks answer.
func (l *marathonLab) deploy(ctx context.Context) error {
	for _, version := range shop.Versions() {
		definition, err := labApp{Version: version, Instances: labInstances}.definition()
		if err != nil {
			return err
		}
		d, err := l.marathon.Put(definition, false)
		if err != nil {
			return err
		}
		select {
		case <-ctx.Done():
			return nil
		case <-d.Done():
		}
	}
	return nil
}

// trade writes the lab's gateways, tells what to try, and sends the customers,
// until ctx ends.
func (l *marathonLab) trade(ctx context.Context, w io.Writer) error {
	// Then the API is ready, and waits for the proxy.
	for _, first := range []<-chan struct{}{l.plane.First(), l.edge.Node().First()} {
		select {
		case <-ctx.Done():
			return nil
		case <-first:
		}
	}
	text, err := labMarathonText("Written when the lab was started.", l.f.port, l.every)
	if err != nil {
		return err
	}
	written, err := l.client.Apply(ctx, text, client.Write{})
	if err != nil {
		return err
	}
	if _, err = l.client.Await(ctx, written.Change, nil); err != nil {
		return err
	}
	if err := l.introduce(w); err != nil {
		return err
	}
	load := shop.NewLoad(shop.LoadOptions{URL: "http://" + l.f.reachable(), Rate: l.f.load})
	told := lab{load: load, rate: l.f.load}
	return told.trade(ctx, w)
}

// labMarathonText returns the lab's gateways as YAML.
func labMarathonText(note string, port, every int) ([]byte, error) {
	var b bytes.Buffer
	err := labMarathonGateways.Execute(&b, struct {
		Note            string
		Port, EveryPort int
	}{note, port, every})
	return b.Bytes(), err
}

// introduce prints what was started and what to try.
func (l *marathonLab) introduce(w io.Writer) error {
	if err := node.Print(w, l.edge.Node().Gateways(), "sluice "+boot.ReadBuild().Version+" lab:", l.edge.Node().Admin()); err != nil {
		return err
	}
	app, err := labApp{Version: "1.2.0", Instances: labInstances, Boot: "5s"}.definition()
	if err != nil {
		return err
	}
	var b strings.Builder
	fmt.Fprintf(&b, "\nA Marathon on %s, whose tasks are processes of this machine:\n", l.marathon.URL())
	for _, id := range l.marathon.Apps() {
		for _, task := range l.marathon.Tasks(id) {
			fmt.Fprintf(&b, "  %s on %s\n", task.App, net.JoinHostPort(task.Host, strconv.Itoa(task.Ports[0])))
		}
	}
	if l.f.load > 0 {
		fmt.Fprintf(&b, "Customers: %g requests a second\n", l.f.load)
	}
	host := ""
	if server := "http://" + l.f.marathon.api; server != client.DefaultServer {
		host = " --host " + server
	}
	fmt.Fprintf(&b, `
Seven things to try:

1. Half of the requests go to each version, which is an app of its own:
   for i in $(seq 100); do curl -s http://%[1]s/version; done | cut -d' ' -f2 | sort | uniq -c

2. Deploy the next version, whose tasks take 5 s until they answer:
   curl -s -X POST http://%[3]s/v2/apps -H 'Content-Type: application/json' -d '%[4]s'

3. It is a route of the gateway "every-version" at once. Give it half of that one's requests:
   sluice weight every-version '(1.0.0)=0%%' '(1.1.0)=50%%' '(1.2.0)=50%%' --wait%[5]s

4. It gets none before Marathon's health checks say that it answers, and then its half:
   for i in $(seq 100); do curl -s http://%[2]s/version; done | cut -d' ' -f2 | sort | uniq -c

5. Move all of the first gateway's requests to 1.1.0, and remove 1.0.0:
   sluice weight simpleservice '[simple-service-1.1.0.marathon.l4lb.thisdcos.directory:3000]=100%%' --wait%[5]s
   curl -s -X DELETE http://%[3]s/v2/apps/simple-service-1.0.0

6. Kill a process: another one takes over, and Marathon starts a new one:
   kill -9 $(curl -s http://%[1]s/version | cut -d' ' -f4)
   curl -s http://%[1]s/version

7. What Marathon says of its tasks, and what Sluice makes of it:
   curl -s 'http://%[3]s/v2/apps?embed=apps.tasks'
   sluice get gateway simpleservice -o yaml%[5]s

Ctrl-C ends it, the processes too. "sluice lab --marathon --print" prints the gateways.
`, l.f.reachable(), l.f.address(l.every), l.f.marathon.listen, strings.ReplaceAll(app, "\n", "\n   "), host)
	_, err = io.WriteString(w, b.String())
	return err
}
