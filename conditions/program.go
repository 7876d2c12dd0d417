// SPDX-License-Identifier: Apache-2.0

package conditions

import (
	"errors"
	"net/netip"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/expr-lang/expr/file"
	"github.com/expr-lang/expr/vm"
)

// Bounds of what expr( ) may hold and do. Nothing in it is evaluated twice,
// since there are no loops, and what takes long takes from a budget; so an
// evaluation ends within a millisecond.
const (
	// MaxProgramNodes bounds how many values, names, operators and calls a
	// program is made of.
	MaxProgramNodes = 200
	// MaxProgramWork bounds what its functions do in one evaluation: a unit
	// for each byte that they go through, for regular expressions times the
	// size of the expression.
	MaxProgramWork = 100_000

	maxProgramMemory = 10_000 // in elements of lists, as expr-lang counts
)

// program is the compiled source of expr( ).
type program struct {
	code     *vm.Program
	patterns map[string]*pattern
	asks     Facts         // what it looks at
	faults   atomic.Uint64 // evaluations that were given up
	idle     sync.Pool     // of *evaluation
}

// holds reports whether the program yields true of r. A fault counts as
// false.
func (p *program) holds(r Request) bool {
	held, err := p.run(r, nil)
	if err != nil {
		p.faults.Add(1)
	}
	return held
}

// run evaluates the program, which tells t what it sees.
func (p *program) run(r Request, t *transcript) (held bool, err error) {
	e, ok := p.idle.Get().(*evaluation)
	if !ok {
		e = newEvaluation(p)
	}
	e.request, e.work, e.transcript = r, 0, t
	result, err := e.machine.Run(p.code, e.names)
	e.request, e.transcript = nil, nil
	clear(e.machine.Stack[:cap(e.machine.Stack)]) // what it holds may outlive the request
	p.idle.Put(e)
	if err != nil {
		return false, err
	}
	held, _ = result.(bool)
	return held, nil
}

// evaluation is what one run of a program needs. It is used again, by one run
// at a time.
type evaluation struct {
	program    *program
	machine    vm.VM
	names      map[string]any // the functions below, bound to the evaluation
	request    Request
	work       int
	transcript *transcript // nil if nobody wants to know
}

func newEvaluation(p *program) *evaluation {
	e := &evaluation{program: p}
	e.machine.MemoryBudget = maxProgramMemory
	e.names = e.environment()
	return e
}

// environment returns the functions of a program by name. Those with "$" are
// not written by people: a program is changed to call them. All of them have
// types for which expr-lang has calls that do not reflect.
func (e *evaluation) environment() map[string]any {
	return map[string]any{
		"header":     e.header,
		"has_header": e.hasHeader,
		"cookie":     e.cookie,
		"has_cookie": e.hasCookie,
		"query":      e.query,
		"has_query":  e.hasQuery,
		"hash":       e.hash,
		"lower":      e.lower,
		"upper":      e.upper,
		"trim":       e.trim,
		"len":        e.len,
		"in_cidr":    e.inCIDR,
		"$method":    e.method,
		"$path":      e.path,
		"$host":      e.host,
		"$ip":        e.ip,
		"$matches":   e.matches,
		"$contains":  e.contains,
	}
}

var errTooMuchWork = errors.New("too much work")

// spend takes work from the budget; a run that overdraws it ends in a fault.
func (e *evaluation) spend(work int) {
	if e.work += work; e.work > MaxProgramWork {
		panic(errTooMuchWork) // the machine recovers and returns it
	}
}

// capped returns what programs see of a text.
func capped(text string) string { return text[:min(len(text), MaxMatchedBytes)] }

func (e *evaluation) header(name string) string {
	value, next := e.request.Field(name, 0)
	e.transcript.sawText("header", name, value, next >= 0)
	return capped(value)
}

func (e *evaluation) hasHeader(name string) bool {
	_, next := e.request.Field(name, 0)
	e.transcript.saw("has_header", name, next >= 0)
	return next >= 0
}

func (e *evaluation) cookie(name string) string {
	value, ok := e.findCookie(name)
	e.transcript.sawText("cookie", name, value, ok)
	return capped(value)
}

func (e *evaluation) hasCookie(name string) bool {
	value, _ := e.findCookie(name)
	e.transcript.saw("has_cookie", name, value != "")
	return value != ""
}

// findCookie returns the first cookie of a name that has a value, or else one
// that has none.
func (e *evaluation) findCookie(name string) (value string, ok bool) {
	for line, next := e.request.Field("Cookie", 0); next >= 0; line, next = e.request.Field("Cookie", next) {
		e.spend(len(line))
		for n, v := range pairs(line) {
			if n != name {
				continue
			}
			if ok = true; v != "" {
				return v, true
			}
		}
	}
	return "", ok
}

func (e *evaluation) query(name string) string {
	value, ok := e.findParameter(name)
	e.transcript.sawText("query", name, value, ok)
	return value
}

func (e *evaluation) hasQuery(name string) bool {
	_, ok := e.findParameter(name)
	e.transcript.saw("has_query", name, ok)
	return ok
}

// findParameter returns the value of the first parameter of a name, decoded.
func (e *evaluation) findParameter(name string) (value string, ok bool) {
	query := e.request.Query()
	e.spend(len(query))
	for n, v := range parameters(query) {
		if !equalDecoded(n, name) {
			continue
		}
		if !isEncoded(v) {
			return capped(v), true
		}
		e.spend(len(v))
		return capped(string(appendDecoded(nil, v))), true
	}
	return "", false
}

func (e *evaluation) method() string {
	method := e.request.Method()
	e.transcript.sawText("method", "", method, true)
	return capped(method)
}

func (e *evaluation) path() string {
	path := e.request.Path()
	e.transcript.sawText("path", "", path, true)
	return capped(path)
}

func (e *evaluation) host() string {
	host := e.request.Host()
	e.transcript.sawText("host", "", host, true)
	return capped(host)
}

// ip returns the address of the client; empty if it is not known.
func (e *evaluation) ip() string {
	client := e.request.Conn().Client.Addr().Unmap().WithZone("")
	if !client.IsValid() {
		e.transcript.sawText("ip", "", "", false)
		return ""
	}
	text := client.String()
	e.transcript.sawText("ip", "", text, true)
	return text
}

// inCIDR reports whether an address lies in a network. A text that is no
// address lies in none.
func (e *evaluation) inCIDR(address, network string) bool {
	a, err := netip.ParseAddr(address)
	if err != nil {
		return false
	}
	n, ok := parseNetwork(network)
	return ok && n.Contains(a.Unmap().WithZone(""))
}

func (e *evaluation) matches(text, expression string) bool {
	p := e.program.patterns[expression]
	e.spend(len(text) * p.size)
	return p.matches(text)
}

func (e *evaluation) contains(text, part string) bool {
	e.spend(len(text))
	return strings.Contains(text, part)
}

func (e *evaluation) lower(text string) string {
	e.spend(len(text))
	return mapped(text, 'A', 'Z')
}

func (e *evaluation) upper(text string) string {
	e.spend(len(text))
	return mapped(text, 'a', 'z')
}

// mapped returns a text with the letters between two, which are ASCII, in the
// other case. Other letters stay: what they cost depends on too much.
func mapped(text string, from, to byte) string {
	for i := range len(text) {
		if from <= text[i] && text[i] <= to {
			b := []byte(text)
			for ; i < len(b); i++ {
				if from <= b[i] && b[i] <= to {
					b[i] ^= 'a' - 'A'
				}
			}
			return view(b)
		}
	}
	return text
}

func (e *evaluation) trim(text string) string {
	e.spend(len(text))
	return strings.TrimSpace(text)
}

func (e *evaluation) len(text string) int { return len(text) }

// hash returns FNV-1a with 64 bits, without the highest, so that it is never
// negative. Users split their visitors by it: it must never change.
func (e *evaluation) hash(text string) int {
	const offset, prime = 14695981039346656037, 1099511628211
	e.spend(len(text))
	h := uint64(offset)
	for i := range len(text) {
		h = (h ^ uint64(text[i])) * prime
	}
	return int(h &^ (1 << 63))
}

// faultText returns why a run was given up, in one line.
func faultText(err error) string {
	if located, ok := errors.AsType[*file.Error](err); ok {
		return located.Message
	}
	return err.Error()
}
