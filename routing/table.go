// SPDX-License-Identifier: Apache-2.0

package routing

import (
	"fmt"
	"net/netip"
	"strconv"
	"time"
)

// Version orders tables. A new epoch is a new or restored store; within an
// epoch the revision only grows. The zero Version is older than any other.
type Version struct {
	Epoch    uint64 `json:"epoch"`
	Revision uint64 `json:"revision"`
}

// Newer reports whether v comes after o in the same epoch, or is of another
// epoch.
func (v Version) Newer(o Version) bool {
	return v.Epoch != o.Epoch || v.Revision > o.Revision
}

// String returns epoch.revision.
func (v Version) String() string {
	return strconv.FormatUint(v.Epoch, 16) + "." + strconv.FormatUint(v.Revision, 10)
}

// Table is what was asked for: all gateways, references resolved and defaults
// applied. It is not changed once it was handed on.
type Table struct {
	Version  Version
	Gateways []*Gateway // in the order written; names are unique
	// Broken names gateways that are still asked for but whose present text
	// is refused; they keep their last good form.
	Broken []string
}

// Gateway takes traffic on a port or for virtual hosts and spreads it over
// its routes.
type Gateway struct {
	Name         string         // 1 to 4 segments
	Metadata     map[string]any // as written; may be nil
	Port         Port           // the zero Port is unassigned, type http
	Sticky       string         // "", "route" or "instance"
	VirtualHosts []string       // as written, in order
	Selector     string         // as written; empty means none
	Service      *Service       // where it can be reached from outside; may be nil
	Deployed     bool           // as written; an output of the control plane
	Routes       []*Route       // in the order written, which conditions follow
	Split        SplitMode
	Unavailable  UnavailableMode
	Affinity     Affinity // by key; Sticky is by cookies of ours
	// Balance is that of the routes that have none, as written; empty means the
	// default of the port's type.
	Balance  string
	Locality Locality // which instances are preferred
	Limits   Part[Limits]
	Timeouts Part[Timeouts]
	Load     Part[Load] // its rates are of all requests, the rest holds for each route
	// Health, Ejection and SlowStart are those of the routes that say none.
	Health    Part[Health]
	Ejection  Part[Ejection]
	SlowStart time.Duration // 0 is not written
	// Forwarded says by which fields instances are told of the client.
	Forwarded ForwardedMode
	// TLS is how it speaks TLS to clients; nil if it does not. On a tcp port
	// the bytes within are what is forwarded.
	TLS *ListenTLS
	// ProxyFrom are the networks, without host bits, whose connections must
	// begin with a PROXY header; those of others have none.
	ProxyFrom     []netip.Prefix
	BetweenRoutes BetweenRoutes // of tcp ports
	HTTP2         HTTP2         // how it speaks HTTP/2 to clients; of http ports
	NoRoute       int           // status when nothing can be chosen: 503 (also the zero value) or 404
	// Portless says that it has no port of its own: requests come to it for its
	// virtual hosts, or from other gateways, and the number of Port means nothing.
	Portless    bool
	Unexplained bool     // requests get no explanation of themselves, whoever asks; of http ports
	At          Position // of the gateway's document
}

// Service says where a gateway can be reached from outside the proxy.
type Service struct {
	Host string
	Port Port
}

// PortType is the protocol of a port.
type PortType uint8

const (
	// HTTP is the default.
	HTTP PortType = iota
	// TCP forwards bytes by connection.
	TCP
)

// String returns http or tcp.
func (t PortType) String() string {
	if t == TCP {
		return "tcp"
	}
	return "http"
}

// Port is a port as a gateway asks for it.
type Port struct {
	Number int      // 1 to 65535; 0 asks for an assigned one
	Type   PortType // HTTP is the zero value
	Text   string   // as written, such as "8080/http"; empty if it was absent
}

// String returns the text as written, or number/type.
func (p Port) String() string {
	if p.Text != "" {
		return p.Text
	}
	return fmt.Sprintf("%d/%s", p.Number, p.Type)
}

// Weight is a share in hundredths of a percent: 0 to 10,000.
type Weight int32

// FullWeight is 100 %.
const FullWeight Weight = 10_000

// String returns the weight as a percentage, such as 12.5%.
func (w Weight) String() string {
	s := strconv.FormatInt(int64(w/100), 10)
	switch frac := w % 100; {
	case frac == 0:
	case frac%10 == 0:
		s += "." + strconv.Itoa(int(frac/10))
	default:
		s += fmt.Sprintf(".%02d", frac)
	}
	return s + "%"
}

// Route is a branch of a gateway.
type Route struct {
	Path      string         // the key: 1 to 4 segments joined by "/", or "[host:port]"
	Metadata  map[string]any // as written; may be nil
	Weight    Weight         // default applied
	Condition string         // text; empty means none
	Strength  Weight         // share of matching requests that is really taken; default applied
	Balance   string         // as written; empty and "default" mean that of the gateway
	Selector  string         // as written; empty means none
	Rewrites  []Rewrite      // in order
	Headers   *Headers       // nil if none change
	Redirect  *Redirect      // nil unless the route answers by itself
	Limits    Part[Limits]   // in place of those of the gateway
	Timeouts  Part[Timeouts] // in place of those of the gateway
	Load      Part[Load]     // in place of that of the gateway; but rates hold beside its own
	Retries   Part[Retries]  // what is tried again when an instance fails
	Health    Part[Health]   // in place of that of the gateway, as a whole
	Ejection  Part[Ejection] // in place of that of the gateway, as a whole
	SlowStart time.Duration  // in place of that of the gateway; 0 is not written
	TLS       *DialTLS       // how it speaks TLS to its instances; nil if it does not
	// ProxyProtocol is the header with which connections to instances begin.
	ProxyProtocol ProxyVersion
	Protocol      Protocol // what is spoken to instances
	// Instances are what a selector found for the route: its own, or that of
	// its gateway; sorted by address, each once.
	Instances []*Instance
	At        Position // of the route's key
	// ConditionAt is the place of the condition's text, which may stand in a
	// document of its own; zero if there is none.
	ConditionAt Position
}

// Rewrite is one "path: NEW if COND" of a route.
type Rewrite struct {
	Path string   // the text as written, here or in the stored rewrite
	Ref  string   // the stored rewrite's name; empty for inline ones
	At   Position // of the text
}

// SplitMode says how tickets become routes.
type SplitMode uint8

const (
	// SplitExact spreads by a periodic schedule: weights hold exactly.
	SplitExact SplitMode = iota
	// SplitRandom draws each request on its own.
	SplitRandom
)

// ForwardedMode says by which fields an instance is told where a request
// comes from.
type ForwardedMode uint8

const (
	// ForwardedX is X-Forwarded-For and those that go with it.
	ForwardedX ForwardedMode = iota
	// ForwardedStandard is Forwarded (RFC 7239).
	ForwardedStandard
	// ForwardedBoth is all of them.
	ForwardedBoth
)

// UnavailableMode says what happens to the share of a route that has no
// usable instance.
type UnavailableMode uint8

const (
	// UnavailableError answers it 503, as Vamp does.
	UnavailableError UnavailableMode = iota
	// UnavailableRedistribute gives it to the usable routes of weight > 0.
	UnavailableRedistribute
)
