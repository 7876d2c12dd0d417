// SPDX-License-Identifier: Apache-2.0

package routing

import (
	"cmp"
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"github.com/sluice-mesh/sluice/conditions"
)

// Explanation is a decision with its reasons. It is made for programs, as
// JSON; Format writes it for people.
type Explanation struct {
	Version  string             `json:"version"` // of the table
	Request  RequestExplanation `json:"request"`
	Entrance Entrance           `json:"entrance"`
	Hops     []HopExplanation   `json:"hops"` // empty if no gateway takes the request
	Outcome  Outcome            `json:"outcome"`
	// Shares say where requests like this one go, over all draws: the largest
	// share first. They sum to 1.
	Shares []Share `json:"shares"`
	WhyNot *WhyNot `json:"why_not,omitempty"` // if it was asked for
}

// RequestExplanation is the request as conditions see it.
type RequestExplanation struct {
	// Scheme is https, or tcp of a connection without requests; empty means
	// http.
	Scheme   string        `json:"scheme,omitempty"`
	Method   string        `json:"method"`
	Host     string        `json:"host"` // as sent
	Port     int           `json:"port"` // that it comes to
	Target   string        `json:"target"`
	Headers  []HeaderField `json:"headers"` // as sent
	ClientIP string        `json:"client_ip"`
	// ClientIPFrom says where ClientIP was taken from: "connection", or the
	// field in which a trusted proxy says it.
	ClientIPFrom string `json:"client_ip_from"`
	// SNI and ALPN are what the client of a connection over TLS asks for.
	SNI  string   `json:"sni,omitempty"`
	ALPN []string `json:"alpn,omitempty"`
	// Certificate is that of the client; nil if it has none.
	Certificate *ExplainCertificate `json:"client_certificate,omitempty"`
	// Random is the number that conditions saw that leave something to
	// chance; nil if none asked. What is explained holds for this number.
	Random *uint32 `json:"random,omitempty"`
}

// Entrance says which gateway takes a request, and how it was found.
type Entrance struct {
	Gateway string `json:"gateway,omitempty"` // empty if none takes it
	Type    string `json:"type,omitempty"`    // http or tcp
	// By is host (a virtual host), port, name (it was asked for) or none.
	By   string `json:"by"`
	Host string `json:"host,omitempty"` // the virtual host that it was found by
	// Problem says why the gateway does not listen; empty if it does, or if
	// nobody looked.
	Problem string `json:"problem,omitempty"`
	// Others says, if no gateway takes the request, which ones there are.
	Others []string `json:"others,omitempty"`
}

// HopExplanation is what one gateway decided.
type HopExplanation struct {
	Gateway string `json:"gateway"`
	// Conditions are all of the gateway, in the order asked.
	Conditions []ConditionExplanation `json:"conditions"`
	Strength   *StrengthDraw          `json:"strength,omitempty"`
	Weights    *WeightDraw            `json:"weights,omitempty"`
	// Via says what chose the route: condition, weights, leastconn, pinned if
	// the client is kept there without a draw, or redistributed if what was
	// chosen first is not usable. It is empty if there is no route.
	Via    string `json:"via,omitempty"`
	Route  string `json:"route,omitempty"`
	Weight string `json:"weight,omitempty"` // of the route
	// Open are the routes between which the least connections decide.
	Open []OpenConnections `json:"open,omitempty"`
	// PinnedBy is what the client brought along that keeps it on the route, as
	// in StrengthDraw.
	PinnedBy string `json:"pinned_by,omitempty"`
	// Cookies are those that the answer sets, so that the client is kept. One
	// that keeps it with an instance may come in addition.
	Cookies []HeaderField `json:"cookies,omitempty"`
	// Unusable is the route that was chosen first, if the gateway gave its
	// share to others since nothing there can serve.
	Unusable  string   `json:"unusable,omitempty"`
	Next      string   `json:"next,omitempty"`      // the gateway that the route leads to
	Address   string   `json:"address,omitempty"`   // that the route leads to
	Instances []string `json:"instances,omitempty"` // found there
	// Bearers are whose instances bear the address as a name, which is therefore
	// not looked up: each a kind and an ID or name, such as app /shop/web.
	Bearers []string `json:"bearers,omitempty"`
	// Health says how they stand; empty if nobody looks and nothing happened.
	Health []InstanceState `json:"health,omitempty"`
	// Path is the path that the rewrites of the route gave the request; empty
	// if none applied.
	Path string `json:"path,omitempty"`
	// Limits say what bounds how much there may be to do at the gateway and on
	// the route. Whether one is reached now is not looked at.
	Limits []string `json:"limits,omitempty"`
	// Retries says what is tried again when an instance fails, if the route says
	// so itself.
	Retries string `json:"retries,omitempty"`
	// Protocol is what is spoken to the instances of the route, unless it is
	// HTTP/1: h2, h2c or grpc.
	Protocol string `json:"protocol,omitempty"`
	// Redirect reports that the route answers by itself.
	Redirect bool   `json:"redirect,omitempty"`
	Reason   string `json:"reason,omitempty"` // why the walk failed here
}

// ConditionExplanation is what became of one condition.
type ConditionExplanation struct {
	Route    string              `json:"route"`
	Text     string              `json:"text"`
	Strength string              `json:"strength"`
	Asked    bool                `json:"asked"` // conditions behind one that holds are not
	Holds    bool                `json:"holds"`
	Clauses  []ClauseExplanation `json:"clauses,omitempty"`
}

// ClauseExplanation is one test of a condition.
type ClauseExplanation struct {
	Text  string `json:"text"`
	Asked bool   `json:"asked"` // the outcome may have been known before
	Holds bool   `json:"holds"`
	Saw   string `json:"saw,omitempty"` // what it looked at
}

// StrengthDraw says whether the condition that held took the request.
type StrengthDraw struct {
	Strength string  `json:"strength"`
	Ticket   *uint64 `json:"ticket,omitempty"` // nil if nothing had to be drawn
	Period   int     `json:"period,omitempty"` // of the schedule, in tickets
	// PinnedBy is what the client brought along that decides without a draw:
	// "its key" or "its cookie NAME". Empty if it brought nothing.
	PinnedBy string `json:"pinned_by,omitempty"`
	Taken    bool   `json:"taken"`
}

// WeightDraw says on which route the weights fell.
type WeightDraw struct {
	Ticket uint64 `json:"ticket"` // the first one
	Period int    `json:"period"` // of the schedule, in tickets
	Route  string `json:"route"`  // of the first ticket
	// Again counts the tickets taken after it, since what the one before fell
	// on is not usable.
	Again int `json:"again,omitempty"`
}

// OpenConnections says how busy a route is.
type OpenConnections struct {
	Route       string `json:"route"`
	Weight      string `json:"weight"`
	Connections uint64 `json:"connections"`
}

// Outcome is where the request ends.
type Outcome struct {
	Address   string   `json:"address,omitempty"`
	Instances []string `json:"instances,omitempty"`
	// Target is the target that the instance gets, if rewrites changed it.
	Target string `json:"target,omitempty"`
	// Location is where a redirect leads, with its Status.
	Location string `json:"location,omitempty"`
	// Reason and Status are those of the proxy's own answer if there is no
	// address: no_gateway, no_route or no_ready_instance, or what ends it before
	// anything is decided: plain_on_tls, tls_on_plain, tls_handshake,
	// misdirected_request or version_refused. Status is 0 if nothing listens where the request
	// comes to, or the connection is closed.
	Reason string `json:"reason,omitempty"`
	Status int    `json:"status,omitempty"`
	// GRPCStatus is what a call of gRPC gets in place of Status; nil if it is no
	// call, or not answered by the proxy.
	GRPCStatus *uint8 `json:"grpc_status,omitempty"`
	// Text says for people what ends it before anything is decided.
	Text string `json:"text,omitempty"`
	// Headers are those that the proxy adds; its own replace a client's.
	Headers []HeaderField `json:"headers,omitempty"`
}

// ReasonNoGateway is the Outcome.Reason of a request that no gateway takes.
const ReasonNoGateway = "no_gateway"

// Live says what is there now. It is asked of routes to addresses only.
type Live interface {
	// Usable reports whether a route of a gateway leads to anything that may
	// serve.
	Usable(g *CompiledGateway, r *CompiledRoute) bool
	// Open counts the connections that are open on a route of a gateway. It is
	// asked where the least connections decide between routes.
	Open(g *CompiledGateway, r *CompiledRoute) uint64
	// Instances returns the addresses of the instances behind a route.
	Instances(g *CompiledGateway, r *CompiledRoute) []string
}

// States is a Live that knows how instances stand.
type States interface {
	// States returns how the instances behind a route stand; nil if nothing is
	// known.
	States(g *CompiledGateway, r *CompiledRoute) []InstanceState
}

// steady asks once what is usable, so that all of an explanation speaks of one
// moment. Without Live every address is usable, and instances that are ready.
type steady struct {
	Live
	usable map[branch]bool
	open   map[branch]uint64
}

func (l *steady) Usable(g *CompiledGateway, r *CompiledRoute) bool {
	if l.Live == nil {
		return r.Target.Kind != TargetInstances || slices.ContainsFunc(r.Instances, func(i *Instance) bool { return i.Ready })
	}
	usable, known := l.usable[branch{g, r}]
	if !known {
		usable = l.Live.Usable(g, r)
		l.usable[branch{g, r}] = usable
	}
	return usable
}

func (l *steady) Open(g *CompiledGateway, r *CompiledRoute) uint64 {
	if l.Live == nil {
		return 0
	}
	n, known := l.open[branch{g, r}]
	if !known {
		n = l.Live.Open(g, r)
		l.open[branch{g, r}] = n
	}
	return n
}

func (l *steady) Instances(g *CompiledGateway, r *CompiledRoute) []string {
	if l.Live != nil {
		return l.Live.Instances(g, r)
	}
	var all []string
	for _, i := range r.Instances {
		all = append(all, i.AddrPort().String())
	}
	return all
}

// ExplainOptions say what surrounds the snapshot that explains. The zero
// ExplainOptions are ready to use.
type ExplainOptions struct {
	// VirtualHostsPort is the port of all virtual hosts. Zero means 80.
	VirtualHostsPort int
	// VirtualHostsTLSPort is the one of those that speak TLS. Zero means 443.
	VirtualHostsTLSPort int
	// Vouched reports whether a trusted proxy in front says that a request came
	// to it by TLS. Nil means that none is trusted.
	Vouched func(r conditions.Request) bool
	// Live is asked what is usable. Nil means that every address is.
	Live Live
	// Client returns the client of a request that comes to gateway g, and where
	// that was taken from, as ClientIPFrom has it. Nil means that no proxy in
	// front is trusted.
	Client func(g *CompiledGateway, r conditions.Request) (client netip.AddrPort, from string)
	// Headers returns the fields that a proxy adds to a request that came to
	// gateway g, which is of HTTP, and keeps to the bounds b, before it sends it
	// on. Nil means none.
	Headers func(g *CompiledGateway, b *Bounds, r conditions.Request) []HeaderField
	// CallStatus returns the status of gRPC by which a call is told of a reason
	// for which the proxy answers others with an HTTP status. Nil means that it
	// is not said.
	CallStatus func(reason string, status int) uint8
}

// Explain decides the request that e describes, as Decide would, and says
// why. It takes no ticket: what it draws is what the next request would. An
// error is an *ExplainError; that no gateway takes the request is none.
func (s *Snapshot) Explain(e ExplainRequest, o ExplainOptions) (*Explanation, error) {
	r, err := e.read()
	if err != nil {
		return nil, err
	}
	x := &explainer{snapshot: s, options: o, asked: e, request: r, live: &steady{Live: o.Live, usable: make(map[branch]bool), open: make(map[branch]uint64)}}
	if err := x.checkNames(); err != nil {
		return nil, err
	}
	return x.explain()
}

// explainer is one run of Explain.
type explainer struct {
	snapshot *Snapshot
	options  ExplainOptions
	asked    ExplainRequest
	request  *described
	live     Live

	trace    Trace
	decision Decision
	flow     flow
	out      Explanation
}

// checkNames refuses names of gateways that do not exist.
func (x *explainer) checkNames() error {
	check := func(field, name string) error {
		if x.snapshot.ByName(name) != nil {
			return nil
		}
		var names []string
		for _, g := range x.snapshot.gateways {
			names = append(names, g.Name)
		}
		slices.Sort(names)
		problem := "there is no gateway " + quote(name)
		if best := suggest(name, names); best != "" {
			problem += "; did you mean " + best + "?"
		}
		return &ExplainError{field, problem}
	}
	if x.asked.Gateway != "" {
		if err := check("gateway", x.asked.Gateway); err != nil {
			return err
		}
	}
	for key := range x.asked.Ticket {
		if _, name, special := strings.Cut(key, "@"); special {
			if err := check("ticket", name); err != nil {
				return err
			}
		}
	}
	return nil
}

func (x *explainer) explain() (*Explanation, error) {
	s, r := x.snapshot, x.request
	x.out = Explanation{
		Version: s.version.String(),
		Request: RequestExplanation{
			Method: r.method, Host: r.host, Target: r.target, Headers: r.fields,
			ClientIP: r.conn.Client.Addr().String(), ClientIPFrom: "connection",
			SNI: r.hello.ServerName, ALPN: r.hello.ALPN, Certificate: x.asked.Certificate,
		},
		Hops: []HopExplanation{},
	}
	if r.scheme != schemeHTTP {
		x.out.Request.Scheme = r.scheme
	}
	if x.out.Request.Headers == nil {
		x.out.Request.Headers = []HeaderField{}
	}
	g := x.enter()
	if g != nil && g.Type == HTTP && r.scheme == schemeTCP {
		return nil, explainErrorf("url", "gateway %s takes requests; write http:// or https://", g.Name)
	}
	x.out.Request.Port = r.port
	x.identify(g)
	x.settle(g)
	x.tellCall(&x.out.Outcome)
	if x.asked.WhyNot != "" {
		x.out.WhyNot = x.whyNot()
	}
	if r.randomAsked {
		x.out.Request.Random = &r.random
	}
	return &x.out, nil
}

// settle says where a request ends that gateway g takes, or nobody if that is
// nil.
func (x *explainer) settle(g *CompiledGateway) {
	if g == nil {
		x.out.Outcome = Outcome{Reason: ReasonNoGateway}
		if x.virtualHosts() {
			x.out.Outcome.Status = statusUnavailable
		}
		x.out.Shares = []Share{nowhere()}
		return
	}
	if out := x.arrive(g); out != nil {
		x.out.Outcome = *out
		x.out.Shares = []Share{allOf(g, cmp.Or(out.Reason, reasonRedirect))}
		return
	}
	x.trace.Reset(x.draws())
	x.snapshot.Decide(g, x.request, &x.trace, &x.decision)
	for i := range x.decision.Depth {
		x.out.Hops = append(x.out.Hops, x.hop(i))
	}
	x.out.Outcome = x.outcome()
	x.flow = x.snapshot.flowFrom(g, x.request, x.live)
	x.out.Shares = x.shares()
}

// byHost is how a gateway is found by a virtual host.
const byHost = "host"

// enter finds the gateway that takes the request: on the port of virtual
// hosts by host first, otherwise by port.
func (x *explainer) enter() *CompiledGateway {
	s, r := x.snapshot, x.request
	if g := s.ByName(x.asked.Gateway); g != nil {
		x.setPort(g.Port)
		x.out.Entrance = Entrance{Gateway: g.Name, Type: g.Type.String(), By: "name"}
		return g
	}
	if x.virtualHosts() {
		if g := s.ByHostAndPath(r.host, r.Path()); g != nil && x.serves(g) {
			x.out.Entrance = Entrance{Gateway: g.Name, Type: g.Type.String(), By: byHost, Host: strings.ToLower(withoutPort(r.host))}
			return g
		}
	}
	if g := s.ByPort(r.port); g != nil {
		x.out.Entrance = Entrance{Gateway: g.Name, Type: g.Type.String(), By: "port"}
		return g
	}
	x.out.Entrance = Entrance{By: "none", Others: x.others()}
	return nil
}

// identify finds out who the client is, if a proxy in front is trusted to say.
func (x *explainer) identify(g *CompiledGateway) {
	if g == nil || g.Type != HTTP || x.options.Client == nil {
		return
	}
	client, from := x.options.Client(g, x.request)
	x.request.conn.Client = client
	x.out.Request.ClientIP, x.out.Request.ClientIPFrom = client.Addr().String(), from
}

func (x *explainer) setPort(port int) {
	x.request.port = port
	local := &x.request.conn.Local
	*local = netip.AddrPortFrom(local.Addr(), uint16(port))
}

// serves reports whether a gateway that was found by its host takes requests
// that come as this one does: over TLS if it speaks it, in plain text unless it
// does not want to be known there.
func (x *explainer) serves(g *CompiledGateway) bool {
	asks := g.Asked.TLS
	if x.request.secure {
		return asks != nil
	}
	return asks == nil || asks.Plain != PlainRefuse
}

// virtualHosts reports whether the port of the request is the one of virtual
// hosts, or of those that speak TLS: it is opened if there are any and no
// gateway of TCP has it.
func (x *explainer) virtualHosts() bool {
	s, shared := x.snapshot, cmp.Or(x.options.VirtualHostsPort, 80)
	secure := x.request.scheme == schemeHTTPS
	if secure {
		shared = cmp.Or(x.options.VirtualHostsTLSPort, 443)
	}
	if x.request.port != shared || x.request.scheme == schemeTCP {
		return false
	}
	if g := s.ByPort(x.request.port); g != nil && g.Type == TCP {
		return false
	}
	return slices.ContainsFunc(s.gateways, func(g *CompiledGateway) bool {
		return len(g.Hosts) > 0 && g.Type == HTTP && (!secure || g.Asked.TLS != nil)
	})
}

// others names the gateways that there are, and how they are reached.
func (x *explainer) others() (all []string) {
	gateways := x.snapshot.gateways
	for _, g := range gateways[:min(len(gateways), maxNames)] {
		how := fmt.Sprintf("%s on port %d", g.Name, g.Port)
		if len(g.Hosts) > 0 {
			shared := cmp.Or(x.options.VirtualHostsPort, 80)
			if g.Asked.TLS != nil {
				shared = cmp.Or(x.options.VirtualHostsTLSPort, 443)
			}
			how += fmt.Sprintf(", and by host on port %d: %s", shared, strings.Join(g.Hosts, ", "))
		}
		all = append(all, how)
	}
	if over := len(gateways) - maxNames; over > 0 {
		all = append(all, fmt.Sprintf("and %d more", over))
	}
	return all
}

// hop tells of one hop of the decision.
func (x *explainer) hop(i int) HopExplanation {
	h := &x.decision.Hops[i]
	out := HopExplanation{Gateway: h.Gateway.Name, Conditions: x.conditions(h, x.seen(h))}
	if c := h.held(); c != nil {
		out.Strength = &StrengthDraw{Strength: c.Strength.String(), Taken: h.Taken}
		if d := x.trace.strength(h); d != nil {
			out.Strength.Ticket, out.Strength.Period = &d.ticket, d.split.Period()
		}
	}
	if draws := x.trace.weights(h); len(draws) > 0 {
		first := draws[0]
		out.Weights = &WeightDraw{
			Ticket: first.ticket, Period: first.split.Period(), Again: len(draws) - 1,
			Route: h.Gateway.Routes[first.split.Pick(first.ticket)].Path,
		}
	}
	if i == x.decision.Depth-1 {
		out.Reason = x.decision.Reason.String()
	}
	if r := h.Route; r != nil {
		out.Route, out.Weight = r.Path, r.Weight.String()
		out.Via, out.Unusable = x.via(h)
		x.lead(&out, h)
	}
	if out.Via == viaLeastConn {
		out.Open = x.open(h.Gateway)
	}
	x.pins(&out, h)
	load := h.Gateway.Asked.Load.Value()
	out.Limits = rateTexts(&load.Rates, "the gateway")
	if h.Route != nil {
		out.Limits = append(out.Limits, h.Route.Load.texts()...)
		out.Retries = h.Route.retryText()
		out.Protocol = h.Route.spoken()
	}
	return out
}

// open says how busy the routes of a gateway are that may be chosen.
func (x *explainer) open(g *CompiledGateway) (all []OpenConnections) {
	for _, r := range g.Routes {
		if r.Weight > 0 && x.snapshot.usable(g, r, &x.trace) {
			all = append(all, OpenConnections{Route: r.Path, Weight: r.Weight.String(), Connections: x.live.Open(g, r)})
		}
	}
	return all
}

// lead says where the route of a hop leads.
func (x *explainer) lead(out *HopExplanation, h *Hop) {
	to := h.Route.Target
	if edits := h.Route.Edits; edits != nil {
		out.Redirect = edits.Redirect != nil
		before := x.seen(h)
		if after, _ := rewriteFor(before, h.Route); after.Path() != before.Path() {
			out.Path = after.Path()
		}
	}
	switch {
	case out.Redirect:
	case to.Kind == TargetGateway:
		out.Next = x.snapshot.slots[to.Slot].Name
	case to.leaves():
		out.Address, out.Instances = to.Address, x.live.Instances(h.Gateway, h.Route)
		if to.Address != "" {
			out.Bearers = bearers(h.Route.Instances)
		}
		if s, ok := x.options.Live.(States); ok {
			out.Health = s.States(h.Gateway, h.Route)
		}
	}
}

// bearers says what some instances belong to, each once.
func bearers(list []*Instance) (all []string) {
	for _, i := range list {
		one := strings.TrimSpace(i.Kind + " " + cmp.Or(i.ID, i.Name, i.AddrPort().String()))
		if !slices.Contains(all, one) {
			all = append(all, one)
		}
	}
	return all
}

// The ways in which a route is chosen.
const (
	viaCondition     = "condition"
	viaWeights       = "weights"
	viaPinned        = "pinned"
	viaRedistributed = "redistributed"
	viaLeastConn     = "leastconn"
)

// via says what chose the route of a hop, and which one was chosen first if
// that is not usable. Both are empty if there is no route.
func (t *Trace) via(h *Hop) (how, unusable string) {
	if h.Route == nil {
		return "", ""
	}
	first := h.held()
	how = viaCondition
	if !h.Taken {
		draws := t.weights(h)
		if len(draws) == 0 {
			return viaPinned, ""
		}
		if h.Gateway.leastConn() {
			return viaLeastConn, ""
		}
		first, how = h.Gateway.Routes[draws[0].split.Pick(draws[0].ticket)], viaWeights
	}
	if first != h.Route {
		return viaRedistributed, first.Path
	}
	return how, ""
}

// conditions tells of the conditions of a hop, which saw r: the path that
// rewrites gave it.
func (x *explainer) conditions(h *Hop, r conditions.Request) []ConditionExplanation {
	all := make([]ConditionExplanation, 0, len(h.Gateway.Conditions))
	for i, c := range h.Gateway.Conditions {
		one := ConditionExplanation{Route: c.Path, Text: c.Condition.String(), Strength: c.Strength.String()}
		if i <= h.Held {
			one.Asked, one.Holds = true, i == h.Held
			one.Clauses = clauses(c.Condition, r)
		}
		all = append(all, one)
	}
	return all
}

func clauses(c *conditions.Condition, r conditions.Request) (all []ClauseExplanation) {
	_, asked := c.Explain(r)
	for _, one := range asked {
		all = append(all, ClauseExplanation{Text: one.Text, Asked: one.Asked, Holds: one.Holds, Saw: one.Saw})
	}
	return all
}

const statusUnavailable = 503

// outcome says where the decision ends.
func (x *explainer) outcome() Outcome {
	h := x.decision.Last()
	switch x.decision.Reason {
	case ReasonNone:
		if edits := h.Route.Edits; edits != nil && edits.Redirect != nil {
			return x.redirected(edits.Redirect)
		}
		out := Outcome{Address: h.Route.Target.Address, Instances: x.used(h)}
		if sent := x.decision.Rewritten(x.request); sent.Target() != x.request.Target() {
			out.Target = sent.Target()
		}
		if x.options.Headers != nil && h.Gateway.Type == HTTP {
			out.Headers = x.options.Headers(x.decision.Hops[0].Gateway, x.decision.Bounds(new(Bounds)), x.request)
		}
		return out
	case ReasonNoRoute:
		return Outcome{Reason: x.decision.Reason.String(), Status: cmp.Or(h.Gateway.Asked.NoRoute, statusUnavailable)}
	default:
		return Outcome{Reason: x.decision.Reason.String(), Status: statusUnavailable}
	}
}

// tellCall says what a call of gRPC gets that the proxy answers itself.
func (x *explainer) tellCall(out *Outcome) {
	if out.Reason == "" || out.Status == 0 || x.options.CallStatus == nil {
		return
	}
	if kind, _ := x.request.Field("Content-Type", 0); isCall(kind) {
		out.GRPCStatus = new(x.options.CallStatus(out.Reason, out.Status))
	}
}

// isCall reports whether a Content-Type is that of a call of gRPC, of which
// application/grpc-web is none.
func isCall(kind string) bool {
	const name = "application/grpc"
	if len(kind) < len(name) || !strings.EqualFold(kind[:len(name)], name) {
		return false
	}
	rest := kind[len(name):]
	return rest == "" || rest[0] == '+' || rest[0] == ';'
}

// used returns the instances of the last hop that may be given something now.
func (x *explainer) used(h *Hop) []string {
	all := x.live.Instances(h.Gateway, h.Route)
	s, ok := x.options.Live.(States)
	if !ok {
		return all
	}
	var unused []string
	for _, i := range s.States(h.Gateway, h.Route) {
		if i.Unused {
			unused = append(unused, i.Address)
		}
	}
	return slices.DeleteFunc(all, func(i string) bool { return slices.Contains(unused, i) })
}

// redirected says where a redirect leads; one that leads nowhere is the
// request's fault.
func (x *explainer) redirected(rule *RedirectRule) Outcome {
	location, ok := rule.Append(nil, x.decision.Rewritten(x.request))
	if !ok {
		return Outcome{Reason: "bad_request", Status: 400}
	}
	return Outcome{Location: string(location), Status: rule.Code}
}

// draws returns draws that leave the counters alone.
func (x *explainer) draws() Draws {
	d := &lookedAt{Live: x.live, next: make(map[*Split]uint64)}
	if len(x.asked.Ticket) == 0 {
		return d
	}
	for _, g := range x.snapshot.gateways {
		if n, fixed := x.asked.Ticket.of(roleWeights, g.Name); fixed && g.Weights != nil {
			d.next[g.Weights] = n
		}
		for _, c := range g.Conditions {
			if n, fixed := x.asked.Ticket.of(roleStrength, g.Name); fixed && c.Taken != nil {
				d.next[c.Taken] = n
			}
			if n, fixed := x.asked.Ticket.of(roleWeights, g.Name); fixed && c.Remainder != nil {
				d.next[c.Remainder] = n
			}
		}
	}
	return d
}

// lookedAt are draws that take no ticket from the splits: each begins where
// its counter stands, or where it was fixed.
type lookedAt struct {
	Live
	next map[*Split]uint64
}

// Ticket returns the next ticket of a split.
func (d *lookedAt) Ticket(s *Split) uint64 {
	n, known := d.next[s]
	if !known {
		n = s.due()
	}
	d.next[s] = n + 1
	return n
}

// Line says in one line what was decided with the trace, for a header or a
// log: hop by hop the gateway, its route and what chose that one, then where
// the request went. It has visible ASCII and blanks only; other characters of
// names are replaced by "?".
func (t *Trace) Line(d *Decision, instance string) string {
	var b strings.Builder
	for i := range d.Depth {
		h := &d.Hops[i]
		b.WriteString(h.Gateway.Name)
		b.WriteByte('>')
		if h.Route == nil {
			b.WriteString("nothing")
		} else {
			how, unusable := t.via(h)
			fmt.Fprintf(&b, "%s via %s", h.Route.Path, how)
			if unusable != "" {
				b.WriteString(" from " + unusable)
			}
		}
		t.writeDraws(&b, h)
		b.WriteString("; ")
	}
	b.WriteString(cmp.Or(instance, d.Reason.String()))
	return strings.Map(func(c rune) rune {
		if c < ' ' || c > '~' {
			return '?'
		}
		return c
	}, b.String())
}

// writeDraws writes the condition that held at a hop and the tickets.
func (t *Trace) writeDraws(b *strings.Builder, h *Hop) {
	if h.held() != nil {
		fmt.Fprintf(b, " held=%d", h.Held+1)
	}
	if s := t.strength(h); s != nil {
		fmt.Fprintf(b, " strength=%d", s.ticket)
	}
	if draws := t.weights(h); len(draws) > 0 {
		fmt.Fprintf(b, " weights=%d", draws[0].ticket)
	}
}
