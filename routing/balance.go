// SPDX-License-Identifier: Apache-2.0

package routing

import (
	"fmt"
	"net/textproto"
	"strconv"
	"strings"
)

// BalanceAlgorithm says by what an instance of a route is chosen.
type BalanceAlgorithm uint8

const (
	// BalanceDefault is round robin for http ports and least connections for
	// tcp ports.
	BalanceDefault BalanceAlgorithm = iota
	// BalanceRoundRobin takes instances in turn, by weight.
	BalanceRoundRobin
	// BalanceStaticRR is the same as BalanceRoundRobin: where the two differ in
	// HAProxy, weights that change while it runs, both do here what is better.
	BalanceStaticRR
	// BalanceLeastConn takes the instance with the least in flight for its
	// weight.
	BalanceLeastConn
	// BalanceFirst takes the first instance that has room.
	BalanceFirst
	// BalanceSource hashes the client's address.
	BalanceSource
	// BalanceURI hashes the path.
	BalanceURI
	// BalanceURLParam hashes a parameter of the query.
	BalanceURLParam
	// BalanceHeader hashes the first value of a header field.
	BalanceHeader
	// BalanceRandom takes the least loaded of a few that are drawn.
	BalanceRandom
	// BalanceEWMA takes the faster one of two that are drawn.
	BalanceEWMA
)

// balanceNames are the names as they are written.
var balanceNames = [...]string{
	BalanceDefault: "default", BalanceRoundRobin: "roundrobin", BalanceStaticRR: "static-rr",
	BalanceLeastConn: "leastconn", BalanceFirst: "first", BalanceSource: "source", BalanceURI: "uri",
	BalanceURLParam: "url_param", BalanceHeader: "hdr", BalanceRandom: "random", BalanceEWMA: "ewma",
}

// balanceForms are what may be written, for messages.
var balanceForms = []string{
	"default", "roundrobin", "static-rr", "leastconn", "first", "source", "uri", "url_param NAME", "hdr(NAME)", "random(N)", "ewma",
}

// The bounds of numbers in a balance.
const (
	maxBalanceDraws  = 16
	maxBalanceNumber = 1_000_000
)

// Balance is how the instance of a route is chosen. The zero Balance is the
// default. Balances are compared by ==.
type Balance struct {
	Algorithm BalanceAlgorithm
	// Name is that of the parameter or, in canonical form, of the header field
	// that is hashed.
	Name string
	// Number is how many are drawn (BalanceRandom, 1 to 16), or how many
	// exchanges fill an instance (BalanceFirst; 0 for no bound).
	Number int
	// Of BalanceURI: Whole hashes the query too, Length bounds the bytes that
	// are hashed and Depth the directories; 0 means no bound.
	Whole         bool
	Length, Depth int
}

// BalanceError says why a text is no balance.
type BalanceError struct {
	Problem string // what is wrong, lower case
	Allowed string // what is allowed instead
}

// Error returns the problem and what is allowed.
func (e *BalanceError) Error() string { return e.Problem + "; " + e.Allowed }

// ParseBalance reads the name of an algorithm with its arguments, as HAProxy
// writes them: default, roundrobin, static-rr, leastconn, first, source,
// uri [whole] [len N] [depth N], url_param NAME, hdr(NAME), random(N); and two
// of ours, first(N) and ewma. An empty text is the default. The error is a
// *BalanceError.
func ParseBalance(text string) (Balance, error) {
	name, argument, options, err := cutBalance(text)
	if err != nil {
		return Balance{}, err
	}
	var b Balance
	switch name {
	case "":
	case "uri":
		b.Algorithm = BalanceURI
		if err = readBalanceURI(&b, options); err == nil {
			options = nil
		}
	case "url_param":
		b.Algorithm = BalanceURLParam
		options, err = readBalanceParameter(&b, options)
	case "hdr":
		b.Algorithm = BalanceHeader
		err = readBalanceHeader(&b, argument)
		argument = ""
	case "random":
		b.Algorithm, b.Number = BalanceRandom, 2
		err = readBalanceNumber(&b, argument, maxBalanceDraws)
		argument = ""
	case "first":
		b.Algorithm = BalanceFirst
		err = readBalanceNumber(&b, argument, maxBalanceNumber)
		argument = ""
	default:
		b.Algorithm, err = plainBalance(name)
	}
	switch {
	case err != nil:
		return Balance{}, err
	case argument != "":
		return Balance{}, badBalance(quote(name)+" takes nothing in parentheses", "write "+name)
	case len(options) > 0:
		return Balance{}, badBalance(quote(options[0])+" stands behind "+name, "leave it out")
	}
	return b, nil
}

func badBalance(problem, allowed string) error { return &BalanceError{problem, allowed} }

// cutBalance splits name(argument) options.
func cutBalance(text string) (name, argument string, options []string, err error) {
	text = strings.TrimSpace(text)
	end := strings.IndexAny(text, "( \t")
	if end < 0 {
		return text, "", nil, nil
	}
	name, rest := text[:end], text[end:]
	if name == "" {
		return text, "", nil, nil // unknown as a whole
	}
	if rest[0] == '(' {
		var closed bool
		argument, rest, closed = strings.Cut(rest[1:], ")")
		argument = strings.TrimSpace(argument)
		if !closed || argument == "" {
			return "", "", nil, badBalance(quote(text)+" has no argument in parentheses", "write "+name+"(...), or no parenthesis at all")
		}
	}
	return name, argument, strings.Fields(rest), nil
}

// plainBalance finds an algorithm that takes no arguments.
func plainBalance(name string) (BalanceAlgorithm, error) {
	for a, known := range balanceNames {
		if known == name {
			return BalanceAlgorithm(a), nil
		}
	}
	allowed := choices(balanceForms) + " is allowed"
	if s := suggest(name, balanceNames[:]); s != "" {
		allowed = "did you mean " + s + "? " + allowed
	}
	return 0, badBalance("the balance "+quote(name)+" is unknown", allowed)
}

func readBalanceURI(b *Balance, options []string) error {
	const allowed = "uri [whole] [len N] [depth N] is allowed"
	for len(options) > 0 {
		word := options[0]
		options = options[1:]
		var number *int
		switch word {
		case "whole":
			b.Whole = true
			continue
		case "path-only":
			continue // the authority of a target is never hashed here
		case "len":
			number = &b.Length
		case "depth":
			number = &b.Depth
		default:
			return badBalance("uri has no option "+quote(word), allowed)
		}
		if len(options) == 0 {
			return badBalance("no number stands behind "+word, allowed)
		}
		n, err := strconv.Atoi(options[0])
		if err != nil || n < 1 || n > maxBalanceNumber {
			return badBalance(quote(options[0])+" stands behind "+word, "a number from 1 to "+strconv.Itoa(maxBalanceNumber)+" is allowed")
		}
		*number = n
		options = options[1:]
	}
	return nil
}

func readBalanceParameter(b *Balance, options []string) ([]string, error) {
	switch {
	case len(options) == 0:
		return nil, badBalance("url_param names no parameter", "url_param NAME is allowed, such as url_param user")
	case strings.ContainsAny(options[0], "=&#?"):
		return nil, badBalance(quote(options[0])+" is no name of a parameter", "url_param NAME is allowed, such as url_param user")
	case len(options) > 1 && options[1] == "check_post":
		return nil, badBalance("check_post is not done here: bodies are not waited for", "url_param NAME is allowed")
	}
	b.Name = options[0]
	return options[1:], nil
}

func readBalanceHeader(b *Balance, name string) error {
	if !isToken(name) {
		return badBalance(quote(name)+" is no name of a header", "hdr(NAME) is allowed, such as hdr(X-User)")
	}
	b.Name = textproto.CanonicalMIMEHeaderKey(name)
	return nil
}

// readBalanceNumber reads an optional number in parentheses.
func readBalanceNumber(b *Balance, argument string, most int) error {
	if argument == "" {
		return nil
	}
	n, err := strconv.Atoi(argument)
	if err != nil || n < 1 || n > most {
		return badBalance(quote(argument)+" stands in parentheses", "a number from 1 to "+strconv.Itoa(most)+" is allowed")
	}
	b.Number = n
	return nil
}

// Or returns b, or other if b is the default.
func (b Balance) Or(other Balance) Balance {
	if b.Algorithm == BalanceDefault {
		return other
	}
	return b
}

// For returns b, or what the default means on a type of port.
func (b Balance) For(t PortType) Balance {
	if t == TCP {
		return b.Or(Balance{Algorithm: BalanceLeastConn})
	}
	return b.Or(Balance{Algorithm: BalanceRoundRobin})
}

// needsHTTP reports whether b looks at what only http requests have.
func (b Balance) needsHTTP() bool {
	return b.Algorithm == BalanceURI || b.Algorithm == BalanceURLParam || b.Algorithm == BalanceHeader
}

// String returns the balance as it may be written; ParseBalance reads it back.
func (b Balance) String() string {
	name := balanceNames[b.Algorithm]
	switch b.Algorithm {
	case BalanceURLParam:
		return name + " " + b.Name
	case BalanceHeader:
		return name + "(" + b.Name + ")"
	case BalanceURI:
		if b.Whole {
			name += " whole"
		}
		if b.Length > 0 {
			name += " len " + strconv.Itoa(b.Length)
		}
		if b.Depth > 0 {
			name += " depth " + strconv.Itoa(b.Depth)
		}
	case BalanceRandom, BalanceFirst:
		if b.Number > 0 {
			name += fmt.Sprintf("(%d)", b.Number)
		}
	default:
	}
	return name
}
