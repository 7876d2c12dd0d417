// SPDX-License-Identifier: Apache-2.0

package routing

import "github.com/sluice-mesh/sluice/conditions"

// Snapshot is a table, compiled: immutable, indexed for look-up, safe for
// concurrent use. The zero Snapshot is empty.
type Snapshot struct {
	version   Version
	options   CompileOptions
	gateways  []*CompiledGateway // in table order
	slots     []*CompiledGateway // by slot; nil where a slot is free
	byName    map[string]*CompiledGateway
	byPort    map[int]*CompiledGateway
	hosts     hostIndex
	schedules schedules

	// For Compile, which makes the next snapshot of this one.
	table   *Table          // what was compiled
	faults  []*Fault        // what was found
	warned  map[string]bool // the gateways of these
	settled bool            // nothing was refused
}

// CompiledGateway is a gateway as requests see it. One that did not change
// is the same pointer in successive snapshots.
type CompiledGateway struct {
	// Slot is a small number that the gateway keeps while its name stays in
	// successive snapshots. Live parts are found by it.
	Slot       int
	Name       string
	Port       int // 1 to 65535, assigned if none was asked for
	Type       PortType
	Hosts      []string         // virtual hosts, lower case, without final dot, in order
	Routes     []*CompiledRoute // in the order written
	Conditions []*CompiledRoute // the routes that have a condition, in the order asked
	Weights    *Split           // over Routes; nil if all weights are 0
	Sticky     *Sticky          // nil if each request stands alone
	Entry      Entry            // what holds before the route of a request is known
	Bounds     *Bounds          // what holds for exchanges without a route
	Forwarded  ForwardedMode    // by which fields instances are told of the client
	HTTP2      HTTP2            // how HTTP/2 is spoken to clients, defaults applied
	// Sniffs reports that a condition of it, or of a gateway to which it leads,
	// asks what only the ClientHello of a TLS connection tells. Of a tcp port
	// without TLS: others know it, or have none.
	Sniffs bool
	Asked  *Gateway // what it was compiled from
}

// CompiledRoute is a branch of a compiled gateway.
type CompiledRoute struct {
	Index     int    // position in CompiledGateway.Routes
	Path      string // as in the table
	Weight    Weight
	Condition *conditions.Condition // nil if none
	Strength  Weight
	// Taken decides whether a request for which the condition holds is taken:
	// choice 0 takes it, choice 1 leaves it to the weights. nil without a
	// condition, and for strengths of 0 and 100 %, which need no draw.
	Taken *Split
	// Remainder is Weights once more with a counter of its own, for requests
	// that lost the draw of this route's strength. nil where Taken or Weights
	// is.
	Remainder *Split
	Edits     *Edits        // what it changes; nil if nothing
	Target    *Target       // never nil; not to be changed
	Balance   Part[Balance] // how an instance is chosen; never the default
	Watch     Part[Watch]   // how instances are looked after
	Instances []*Instance   // of a TargetInstances; not to be changed
	// Bounds are what holds for the exchanges of the route, where no chain leads
	// to it or further: see Decision.Bounds.
	Bounds  *Bounds
	Load    *Load    // what bounds how much there is to do on it; nil if nothing
	Retries *Retries // what is tried again when an instance fails; nil if that is the default
	TLS     *DialTLS // how it speaks TLS to its instances; nil if it does not
	// ProxyProtocol is the header with which connections to instances begin.
	ProxyProtocol ProxyVersion
	Protocol      Protocol // what is spoken to instances

	// ID names the route in cookies; empty unless the gateway is sticky.
	ID string

	pins *pins // nil unless the gateway is sticky
}

// pins are by what a route of a sticky gateway keeps its clients.
type pins struct {
	strengthCookie string
	salt           uint64 // of keys
}

// TargetKind says what a target leads to.
type TargetKind uint8

const (
	// TargetNone leads nowhere: what it names does not exist (yet).
	TargetNone TargetKind = iota
	// TargetAddress leads to Host and Port.
	TargetAddress
	// TargetGateway leads to the gateway in Slot, in process.
	TargetGateway
	// TargetInstances leads to the Instances of the route, maybe none. If they
	// were found by an address that they bear as a name, the target has it, too.
	TargetInstances
)

// What is the same wherever it stands.
var (
	noTarget    = &Target{}
	toInstances = &Target{Kind: TargetInstances}
)

// Target is what a route leads to.
type Target struct {
	Kind    TargetKind
	Address string // as written between the brackets, such as "[::1]:80"
	Host    string // IP address or name, without brackets
	Port    int    // 1 to 65535
	Slot    int    // of the gateway
}

// Version returns the version of the table that was compiled.
func (s *Snapshot) Version() Version { return s.version }

// Gateways returns the gateways in table order, then those that serve in
// their last good form because their text is broken. The slice is not to be
// changed.
func (s *Snapshot) Gateways() []*CompiledGateway { return s.gateways }

// Slots returns how many slots live parts need: every Slot is below it.
func (s *Snapshot) Slots() int { return len(s.slots) }

// Slot returns the gateway in a slot, or nil. The slot is from 0 to Slots()-1.
func (s *Snapshot) Slot(i int) *CompiledGateway { return s.slots[i] }
