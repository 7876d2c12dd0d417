// SPDX-License-Identifier: Apache-2.0

package routing

import (
	"cmp"
	"fmt"
	"net"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"
)

// lineWidth is how long lines for people are, in characters, where words can
// be broken apart.
const lineWidth = 80

// story is text for people while it is written.
type story struct{ strings.Builder }

// line writes a line, broken at blanks; what follows the first break stands
// further in.
func (s *story) line(indent int, format string, args ...any) {
	at := 0
	for i, word := range strings.Fields(fmt.Sprintf(format, args...)) {
		n := utf8.RuneCountInString(word)
		switch {
		case i == 0:
			at = indent
			s.WriteString(strings.Repeat(" ", indent))
		case at+1+n > lineWidth:
			at = indent + 2
			s.WriteString("\n" + strings.Repeat(" ", at))
		default:
			at++
			s.WriteByte(' ')
		}
		s.WriteString(word)
		at += n
	}
	s.WriteByte('\n')
}

// Format returns the explanation as text for people, in lines of 80
// characters where it has blanks.
func (e *Explanation) Format() string {
	var s story
	e.formatRequest(&s)
	s.line(0, "%s", e.Entrance.text(e.Request.Port))
	if e.Entrance.Problem != "" {
		s.line(0, "But it does not listen: %s.", e.Entrance.Problem)
	}
	for _, other := range e.Entrance.Others {
		s.line(2, "%s", other)
	}
	for i := range e.Hops {
		s.WriteByte('\n')
		e.Hops[i].format(&s, i+1)
	}
	s.WriteByte('\n')
	e.Outcome.format(&s)
	if e.WhyNot != nil {
		s.WriteByte('\n')
		e.WhyNot.format(&s)
	}
	s.WriteByte('\n')
	e.formatShares(&s)
	return s.String()
}

func (e *Explanation) formatRequest(s *story) {
	r := &e.Request
	scheme := cmp.Or(r.Scheme, schemeHTTP)
	s.line(0, "%s %s://%s%s", r.Method, scheme, hostAndPort(scheme, r.Host, r.Port), r.Target)
	if r.SNI != "" {
		s.line(2, "asks for the server name %s", r.SNI)
	}
	if len(r.ALPN) > 0 {
		s.line(2, "offers the protocols %s", strings.Join(r.ALPN, ", "))
	}
	if c := r.Certificate; c != nil {
		s.line(2, "has the certificate %s", strings.Join(append([]string{quote(c.Subject)}, c.SANs...), ", "))
	}
	for _, f := range r.Headers {
		if !strings.EqualFold(f.Name, "Host") {
			s.line(2, "%s: %s", f.Name, f.Value)
		}
	}
	if r.ClientIPFrom == "connection" {
		s.line(2, "from %s, the address of the connection", r.ClientIP)
	} else {
		s.line(2, "from %s, which a trusted proxy says in %s", r.ClientIP, r.ClientIPFrom)
	}
	if r.Random != nil {
		s.line(2, "with the number %d, which a condition asked chance for (--ticket random=N fixes it)", *r.Random)
	}
	s.WriteByte('\n')
}

// hostAndPort returns the host with the port that the request comes to, if it
// does not name one.
func hostAndPort(scheme, host string, port int) string {
	if scheme == schemeHTTP && port == 80 || scheme == schemeHTTPS && port == 443 || withoutPort(host) != host {
		return host
	}
	return net.JoinHostPort(strings.Trim(host, "[]"), strconv.Itoa(port))
}

func (e *Entrance) text(port int) string {
	switch e.By {
	case "host":
		return fmt.Sprintf("Virtual host %s on port %d leads to gateway %s.", e.Host, port, e.Gateway)
	case "port":
		return fmt.Sprintf("Port %d leads to gateway %s.", port, e.Gateway)
	case "name":
		return fmt.Sprintf("It is taken by gateway %s, as was asked for; that one has port %d.", e.Gateway, port)
	}
	if len(e.Others) == 0 {
		return "No gateway takes it: there are none."
	}
	return fmt.Sprintf("No gateway takes it on port %d. There are:", port)
}

func (h *HopExplanation) format(s *story, number int) {
	s.line(0, "%d. Gateway %s", number, h.Gateway)
	for i := range h.Conditions {
		h.Conditions[i].format(s)
	}
	h.formatChoice(s)
	if h.Path != "" {
		s.line(3, "It rewrites the path to %s.", h.Path)
	}
	switch {
	case h.Redirect:
		s.line(3, "It answers with a redirect.")
	case h.Reason == ReasonNoInstance.String():
		s.line(3, "Nothing there can serve.")
	case h.Next != "":
		s.line(3, "It leads to gateway %s.", h.Next)
	case h.Route != "":
		s.line(3, "It leads to %s.", where(h.Address, h.Instances))
	}
	if len(h.Bearers) > 0 {
		s.line(3, "That address is not looked up: it is a name of %s.", strings.Join(firstNames(h.Bearers), ", "))
	}
	for _, text := range h.Limits {
		s.line(3, "Limit: %s.", text)
	}
	if h.Protocol != "" {
		s.line(3, "What serves it is spoken to by HTTP/2 (%s).", h.Protocol)
	}
	if h.Retries != "" {
		s.line(3, "Retries: %s.", h.Retries)
	}
	for i := range h.Health {
		h.Health[i].format(s)
	}
	for _, c := range h.Cookies {
		s.line(3, "The answer sets the cookie %s=%s.", c.Name, c.Value)
	}
}

// format tells of an instance that does not serve like any other.
func (i *InstanceState) format(s *story) {
	why := ""
	if i.Why != "" {
		why = ": " + i.Why
	}
	switch {
	case i.Awaited:
		s.line(3, "%s is awaited: no check of it has succeeded yet%s.", i.Address, why)
	case i.State == StateUnhealthy || i.State == StateEjected:
		s.line(3, "%s is %s since %s%s.", i.Address, i.State, i.Since.UTC().Format(time.RFC3339), why)
	case i.Share > 0:
		s.line(3, "%s starts slowly: it takes %d%% of its share.", i.Address, i.Share)
	}
}

// where names an address and the instances behind it, if it is a name, or
// instances alone.
func where(address string, instances []string) string {
	if len(instances) == 0 || len(instances) == 1 && instances[0] == address {
		return address
	}
	if len(instances) == 1 && address == "" {
		return instances[0]
	}
	shown := strings.Join(firstNames(instances), ", ")
	if over := len(instances) - maxNames; over > 0 {
		shown += fmt.Sprintf(" and %d more", over)
	}
	if address == "" {
		return "one of " + shown
	}
	return address + ", behind which are " + shown
}

func (c *ConditionExplanation) format(s *story) {
	outcome := "not asked"
	if c.Asked {
		outcome = truth(c.Holds)
	}
	s.line(3, "%s: condition of %s, strength %s:", outcome, c.Route, c.Strength)
	s.line(5, "%s", c.Text)
	if len(c.Clauses) == 1 && c.Clauses[0].Text == c.Text {
		s.line(7, "%s", c.Clauses[0].sight())
		return
	}
	for i := range c.Clauses {
		if one := &c.Clauses[i]; one.Asked {
			s.line(7, "%s: %s; %s", truth(one.Holds), one.Text, one.sight())
		} else {
			s.line(7, "not asked: %s", one.Text)
		}
	}
}

func truth(holds bool) string {
	if holds {
		return "true"
	}
	return "false"
}

func yes(taken bool) string {
	if taken {
		return "yes"
	}
	return "no"
}

// formatChoice says how the route was chosen.
func (h *HopExplanation) formatChoice(s *story) {
	switch d := h.Strength; {
	case d == nil && len(h.Conditions) == 0:
		s.line(3, "It has no conditions.")
	case d == nil:
		s.line(3, "No condition holds.")
	case d.Ticket != nil:
		s.line(3, "Of what the condition matches %s is taken: ticket %d (period %d) says %s.",
			d.Strength, *d.Ticket, d.Period, yes(d.Taken))
	case d.PinnedBy != "":
		s.line(3, "Of what the condition matches %s is taken: the client brings %s, which says %s.", d.Strength, d.PinnedBy, yes(d.Taken))
	case !d.Taken:
		s.line(3, "The condition takes nothing: its strength is %s.", d.Strength)
	}
	switch h.Via {
	case viaCondition:
		s.line(3, "The condition takes it to route %s.", h.Route)
		return
	case viaPinned:
		s.line(3, "The client brings %s, which keeps it on route %s.", h.PinnedBy, h.Route)
		return
	case viaLeastConn:
		s.line(3, "The fewest connections for its weight has %s:", h.Route)
		for _, o := range h.Open {
			s.line(5, "%s: %d open, weight %s", o.Route, o.Connections, o.Weight)
		}
		return
	}
	h.formatWeights(s)
}

// formatWeights says on which route the weights fell, and what came of it if
// nothing can serve where the request was to go.
func (h *HopExplanation) formatWeights(s *story) {
	w := h.Weights
	if h.Unusable != "" && w != nil && w.Route != h.Unusable {
		// It was not the weights that chose what cannot serve.
		s.line(3, "Nothing can serve at %s, and the gateway gives its share to the others.", h.Unusable)
	}
	if w == nil {
		if h.Route == "" {
			s.line(3, "No route has a weight.")
		}
		return
	}
	s.line(3, "By weight, ticket %d (period %d): %s.", w.Ticket, w.Period, w.Route)
	switch w.Route {
	case h.Route:
	case h.Unusable:
		s.line(3, "Nothing can serve there, and the gateway gives its share to the others: %s.", h.Route)
	default:
		s.line(3, "Nothing can serve there either: %s.", h.Route)
	}
}

func (o *Outcome) format(s *story) {
	if o.GRPCStatus != nil {
		defer s.line(0, "A call of gRPC is told so by grpc-status %d.", *o.GRPCStatus)
	}
	switch {
	case o.Location != "":
		s.line(0, "The proxy answers it itself: %d, to %s.", o.Status, o.Location)
		return
	case o.Reason == "":
	case o.Status == 0 && o.Text != "":
		s.line(0, "The connection ends there, %s: %s.", o.Reason, o.Text)
		return
	case o.Status == 0:
		s.line(0, "Nothing listens there.")
		return
	case o.Text != "":
		s.line(0, "The proxy answers it itself: %d, %s: %s.", o.Status, o.Reason, o.Text)
		return
	default:
		s.line(0, "The proxy answers it itself: %d, %s.", o.Status, o.Reason)
		return
	}
	if o.Address != "" {
		s.line(0, "It goes to %s.", o.Address)
	} else {
		s.line(0, "It goes to %s.", where("", o.Instances))
	}
	if o.Target != "" {
		s.line(0, "It asks there for %s.", o.Target)
	}
	if len(o.Headers) == 0 {
		return
	}
	s.line(0, "The proxy adds, in place of any that were sent:")
	for _, f := range o.Headers {
		s.line(2, "%s: %s", f.Name, f.Value)
	}
}

func (w *WhyNot) format(s *story) {
	where := w.Route
	if w.Gateway != "" {
		where += " of gateway " + w.Gateway
	}
	s.line(0, "Why not %s? Because %s.", where, w.Text)
	s.line(2, "Of the requests like this one it gets %s.", w.Percent)
}

// maxShownFraction bounds the fractions in tables for people. Chains of
// gateways make longer ones.
const maxShownFraction = 15

// formatShares writes the table of where requests like this one go.
func (e *Explanation) formatShares(s *story) {
	s.line(0, "Where requests like this one go:")
	for i := range e.Shares {
		one := &e.Shares[i]
		fraction := one.Fraction
		if len(fraction) > maxShownFraction {
			fraction = "..."
		}
		fmt.Fprintf(s, "  %7s  %-*s  %s", one.Percent, e.fractionWidth(), fraction, one.place())
		if one.Chosen {
			s.WriteString("  <- this one")
		}
		s.WriteByte('\n')
	}
}

func (e *Explanation) fractionWidth() int {
	width := 0
	for i := range e.Shares {
		if n := len(e.Shares[i].Fraction); n <= maxShownFraction {
			width = max(width, n)
		}
	}
	return max(width, len("..."))
}

// place says where a share ends.
func (s *Share) place() string {
	switch {
	case s.Gateway == "":
		return s.Reason
	case s.Route == "":
		return s.Gateway + ": " + s.Reason
	case s.Reason != "":
		return s.Gateway + " > " + s.Route + ": " + s.Reason
	default:
		return s.Gateway + " > " + s.Route
	}
}
