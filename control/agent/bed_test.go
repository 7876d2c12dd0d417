// SPDX-License-Identifier: Apache-2.0

package agent_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/keepalive"
	"google.golang.org/grpc/status"
	"google.golang.org/grpc/test/bufconn"

	"github.com/sluice-mesh/sluice/control/agent"
	"github.com/sluice-mesh/sluice/control/controlpb"
	"github.com/sluice-mesh/sluice/control/wire"
	"github.com/sluice-mesh/sluice/metrics"
	"github.com/sluice-mesh/sluice/routing"
)

// control is a control plane that says what a test has it say, on an address
// that lives in memory.
type control struct {
	controlpb.UnimplementedControlServer
	t        *testing.T
	listener *bufconn.Listener
	server   *grpc.Server
	sessions chan *talk
}

// talk is one session, as the control plane sees it.
type talk struct {
	t      *testing.T
	hello  *controlpb.Hello
	stream controlpb.Control_ConnectServer
	end    chan error // what is sent here ends it
}

func newControl(t *testing.T) *control {
	t.Helper()
	c := &control{
		t: t, listener: bufconn.Listen(1 << 20), sessions: make(chan *talk),
		server: grpc.NewServer(
			grpc.MaxRecvMsgSize(16<<20), grpc.MaxSendMsgSize(64<<20),
			grpc.KeepaliveEnforcementPolicy(keepalive.EnforcementPolicy{MinTime: 5 * time.Second}),
		),
	}
	controlpb.RegisterControlServer(c.server, c)
	served := make(chan error, 1)
	go func() { served <- c.server.Serve(c.listener) }()
	t.Cleanup(func() {
		c.server.Stop()
		// A test that nobody connects in may stop it before it serves.
		if err := <-served; err != nil && !errors.Is(err, grpc.ErrServerStopped) {
			t.Errorf("Serve() = %v, want nil", err)
		}
	})
	return c
}

func (c *control) Connect(stream controlpb.Control_ConnectServer) error {
	m, err := stream.Recv()
	if err != nil {
		return err
	}
	one := &talk{t: c.t, hello: m.GetHello(), stream: stream, end: make(chan error)}
	select {
	case c.sessions <- one:
	case <-stream.Context().Done():
		return stream.Context().Err()
	}
	select {
	case err := <-one.end:
		return err
	case <-stream.Context().Done():
		return stream.Context().Err()
	}
}

// next returns the next session.
func (c *control) next() *talk {
	c.t.Helper()
	select {
	case one := <-c.sessions:
		return one
	case <-time.After(patience):
		c.t.Fatalf("no session within %s", patience)
	}
	return nil
}

// patience is by the clock of the bubble.
const patience = 5 * time.Minute

// welcomed returns the next session, greeted.
func (c *control) welcomed() *talk {
	c.t.Helper()
	s := c.next()
	s.say(&controlpb.ToProxy{Message: &controlpb.ToProxy_Welcome{Welcome: &controlpb.Welcome{Server: "cp", Protocol: 1}}})
	return s
}

func (s *talk) say(m *controlpb.ToProxy) {
	s.t.Helper()
	if err := s.stream.Send(m); err != nil {
		s.t.Errorf("send: %v", err)
	}
}

func (s *talk) update(u *controlpb.Update) {
	s.t.Helper()
	s.say(&controlpb.ToProxy{Message: &controlpb.ToProxy_Update{Update: u}})
}

// complete sends a table as the first of a session.
func (s *talk) complete(table *routing.Table) *wire.Table {
	s.t.Helper()
	next, errs := wire.Encode(nil, table)
	held, err := wire.ReadHeld(s.hello.GetHeld())
	if len(errs) > 0 || err != nil {
		s.t.Fatal(errs, err)
	}
	s.update(next.Complete(held))
	return next
}

// since sends what makes table of the one before.
func (s *talk) since(before *wire.Table, table *routing.Table) *wire.Table {
	s.t.Helper()
	next, errs := wire.Encode(before, table)
	if len(errs) > 0 {
		s.t.Fatal(errs)
	}
	s.update(next.Since(before))
	return next
}

// hear returns the next message that is neither counters nor health.
func (s *talk) hear() *controlpb.FromProxy {
	s.t.Helper()
	for {
		m, err := s.stream.Recv()
		if err != nil {
			s.t.Fatalf("the session ended: %v", err)
		}
		if m.GetCounters() == nil && m.GetHealth() == nil {
			return m
		}
	}
}

// answer returns what comes up to the next ack: the gateways that are served
// and those that are refused, each with the code of its first reason.
func (s *talk) answer() string {
	s.t.Helper()
	var out []string
	for {
		m := s.hear()
		if n := m.GetNack(); n != nil {
			out = append(out, fmt.Sprintf("refused %s: %s", n.GetGateway().GetGateway(), n.GetReasons()[0].GetCode()))
			if n.GetGateway() == nil {
				return strings.Join(out, "; ")
			}
			continue
		}
		a := m.GetAck()
		if a == nil {
			s.t.Fatalf("%v came where an ack was due", m)
		}
		names := make([]string, 0, len(a.GetServed()))
		for _, h := range a.GetServed() {
			names = append(names, h.GetGateway())
		}
		return strings.Join(append(out, fmt.Sprintf("%s serves [%s]", wire.ToVersion(a.GetVersion()), strings.Join(names, " "))), "; ")
	}
}

func (s *talk) wantAnswer(want string) {
	s.t.Helper()
	if got := s.answer(); got != want {
		s.t.Errorf("the proxy answers %q, want %q", got, want)
	}
}

// gone waits until the proxy has ended the session.
func (s *talk) gone() {
	s.t.Helper()
	for {
		if _, err := s.stream.Recv(); err != nil {
			return
		}
	}
}

// lose ends a session as a connection that breaks does.
func (s *talk) lose() {
	s.t.Helper()
	select {
	case s.end <- status.Error(codes.Unavailable, "broken"):
	case <-s.stream.Context().Done():
		s.t.Error("the session ended before")
	}
}

// bed is an agent with what it is handed.
type bed struct {
	t        *testing.T
	agent    *agent.Agent
	log      *lines
	registry *metrics.Registry
	stop     context.CancelFunc
	ended    chan error
	on       func(*routing.Table) // is told of each table; nil if nobody asks

	mu       sync.Mutex // guards the fields below
	snapshot *routing.Snapshot
	tables   []*routing.Table
	unserved map[string]error
}

// servers are what the agents of the tests are told, by address.
type servers map[string]*control

func (s servers) dial(ctx context.Context, address string) (net.Conn, error) {
	c := s[address]
	if c == nil {
		return nil, errors.New("connection refused")
	}
	return c.listener.DialContext(ctx)
}

// options returns options that are ready to use with a control plane.
func options(c *control) agent.Options {
	return agent.Options{
		Servers: []string{"127.0.0.1:1"}, Node: "edge-1", Namespaces: []string{"default/default"}, Build: "test",
		Dial: servers{"127.0.0.1:1": c}.dial, Draw: func() float64 { return 0.5 },
	}
}

// start runs an agent until the test ends.
func start(t *testing.T, o agent.Options) *bed {
	t.Helper()
	b := open(t, o)
	b.run()
	return b
}

func open(t *testing.T, o agent.Options) *bed {
	t.Helper()
	b := &bed{t: t, registry: metrics.New(metrics.Options{}), log: &lines{}, ended: make(chan error, 1)}
	o.Metrics = b.registry
	o.Log = slog.New(slog.NewTextHandler(b.log, nil))
	o.Apply = b.apply
	o.Unserved = func() map[string]error {
		b.mu.Lock()
		defer b.mu.Unlock()
		return b.unserved
	}
	var err error
	if b.agent, err = agent.New(o); err != nil {
		t.Fatal(err)
	}
	return b
}

// run starts the agent and follows the control plane until the test ends.
func (b *bed) run() {
	b.t.Helper()
	if _, err := b.agent.Start(); err != nil {
		b.t.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.Background())
	b.stop = stop
	go func() { b.ended <- b.agent.Run(ctx) }()
	b.t.Cleanup(b.halt)
}

// halt ends the agent, and does nothing when called again.
func (b *bed) halt() {
	b.t.Helper()
	if b.stop == nil {
		return
	}
	b.stop()
	b.stop = nil
	if err := <-b.ended; err != nil {
		b.t.Errorf("Run() = %v, want nil", err)
	}
}

// apply compiles tables as a proxy does.
func (b *bed) apply(t *routing.Table) agent.Outcome {
	b.mu.Lock()
	defer b.mu.Unlock()
	next, faults := routing.Compile(b.snapshot, t, routing.CompileOptions{})
	b.snapshot, b.tables = next, append(b.tables, t)
	if b.on != nil {
		b.on(t)
	}
	return agent.Outcome{Faults: faults}
}

// serves returns what serves: the version, and the gateways with their number
// of instances.
func (b *bed) serves() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.snapshot == nil {
		return "nothing"
	}
	var all []string
	for _, g := range b.snapshot.Gateways() {
		n := 0
		for _, r := range g.Asked.Routes {
			n += len(r.Instances)
		}
		all = append(all, fmt.Sprintf("%s:%d", g.Name, n))
	}
	return b.snapshot.Version().String() + " " + strings.Join(all, " ")
}

func (b *bed) wantServes(want string) {
	b.t.Helper()
	synctest.Wait()
	if got := b.serves(); got != want {
		b.t.Errorf("%s serves, want %s", got, want)
	}
}

func (b *bed) wantHeld(names ...string) {
	b.t.Helper()
	synctest.Wait()
	var got []string
	for _, h := range b.agent.Status().HeldBack {
		got = append(got, h.Gateway)
	}
	if !slices.Equal(got, names) {
		b.t.Errorf("held back are %q, want %q", got, names)
	}
	if n := b.registry.TableHeldBack().Value(); n != int64(len(names)) {
		b.t.Errorf("sluice_table_held_back = %d, want %d", n, len(names))
	}
}

// unserve sets which gateways cannot take traffic.
func (b *bed) unserve(all map[string]error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.unserved = all
}

// lines is a log that is read while it is written.
type lines struct {
	mu   sync.Mutex // guards text
	text bytes.Buffer
}

func (l *lines) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(p)
}

func (l *lines) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.String()
}

// table returns a table of the epoch 1.
func table(revision uint64, gateways ...*routing.Gateway) *routing.Table {
	return &routing.Table{Version: routing.Version{Epoch: 1, Revision: revision}, Gateways: gateways}
}

// another is table in another epoch.
func another(revision uint64, gateways ...*routing.Gateway) *routing.Table {
	t := table(revision, gateways...)
	t.Version.Epoch = 2
	return t
}

// gateway returns a gateway with so many instances, whose addresses begin at
// 10.0.0.1.
func gateway(name string, port, instances int) *routing.Gateway {
	r := &routing.Route{Path: name + "/all", Weight: routing.FullWeight, Strength: routing.FullWeight}
	for i := range instances {
		r.Instances = append(r.Instances, &routing.Instance{
			Name: fmt.Sprintf("i-%d", i), Address: netip.AddrFrom4([4]byte{10, 0, 0, byte(i + 1)}), Port: 80, Weight: 1, Ready: true,
		})
	}
	return &routing.Gateway{Name: name, Port: routing.Port{Number: port}, Routes: []*routing.Route{r}}
}

// partitioned is a connection that carries nothing once cut is closed, and does
// not end.
type partitioned struct {
	net.Conn
	cut <-chan struct{}
}

func (p *partitioned) Write(b []byte) (int, error) {
	select {
	case <-p.cut:
		return len(b), nil
	default:
		return p.Conn.Write(b)
	}
}
