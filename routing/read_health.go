// SPDX-License-Identifier: Apache-2.0

package routing

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"
)

// healthKeys are the keys of health and of ejection that are times or numbers.
var healthKeys = []quantity{
	{key: "every", least: int64(100 * time.Millisecond), most: int64(time.Hour), time: true},
	{key: "timeout", least: minTimeout, most: int64(5 * time.Minute), time: true},
	{key: "fall", least: 1, most: 100, plain: true},
	{key: "rise", least: 1, most: 100, plain: true},
}

var ejectionKeys = []quantity{
	{key: "failures", least: 1, most: 1000, plain: true, none: "none"},
	{key: "connects", least: 1, most: 1000, plain: true, none: "none"},
	{key: "over", least: int64(time.Second), most: int64(10 * time.Minute), time: true},
	{key: "at_least", least: 1, most: 1_000_000, plain: true},
	{key: "time", least: int64(time.Second), most: int64(time.Hour), time: true},
	{key: "most_time", least: int64(time.Second), most: int64(24 * time.Hour), time: true},
}

// slowStart is the key slow_start.
var slowStartKeys = []quantity{
	{key: "slow_start", least: int64(time.Second), most: int64(time.Hour), time: true, none: "none"},
}

const (
	methodHead     = "HEAD"
	maxHealthText  = 1 << 10 // bytes of a path, a host, a body
	healthAllowed  = "tcp, http, grpc, none or a map is allowed"
	statusAllowed  = "a status from 200 to 599, a range such as 200-299, or a list of them is allowed"
	ejectAllowed   = "a map or none is allowed"
	panicAllowed   = `a percentage is allowed, or none, such as "50%"`
	leastStatus    = 200
	mostStatus     = 599
	mostEjected    = FullWeight / 2
	mostAllowed    = `a percentage above 0% and up to "50%" is allowed`
	errorsAllowed  = `a percentage above 0% is allowed, such as "30%", or none`
	oneHeaderValue = "one line of visible characters, blanks and tabs is allowed"
)

// health reads how instances are checked: a word, or a map. What cannot be
// read is as if it were not written.
func (r *reader) health(v *value, path string) Health {
	switch v.kind {
	case textValue:
		word := r.choice(v, path, healthNames[HealthNone:]...)
		return DefaultHealth(healthKind(word))
	case mapValue:
		h := healthForm{reader: r, Health: DefaultHealth(HealthHTTP)}
		r.fields(SectionHealth, v, path, h.set)
		return h.whole()
	default:
		r.wrongType(codeUnexpectedType, v, path, healthAllowed)
		return Health{}
	}
}

func healthKind(word string) HealthKind {
	for k, name := range healthNames {
		if name == word {
			return HealthKind(k)
		}
	}
	return HealthUnwritten
}

// healthForm is a Health on its way, with the defaults of HTTP.
type healthForm struct {
	*reader
	Health
	kind   HealthKind // as written
	ofHTTP httpOnly   // the first key that only HTTP has
	ofGRPC httpOnly   // the key that only gRPC has
	body   httpOnly   // where the body is, if one is asked for
}

func (h *healthForm) set(e entry, path string) {
	switch e.key {
	case "type":
		h.kind = healthKind(h.choice(e.value, path, healthNames[HealthTCP:]...))
		return
	case "service":
		h.ofGRPC.note(e.place, path)
		h.Service = h.visible(e.value, path, h.Service, "the name of a service is allowed, such as shop.v1.Cart", func(string) bool { return true })
		return
	case "panic":
		h.Panic = h.panicShare(e.value, path)
		return
	}
	if quantityOf(healthKeys, e.key) != nil {
		h.number(e, path)
		return
	}
	h.ofHTTP.note(e.place, path)
	switch e.key {
	case "method":
		h.Method = h.method(e.value, path, h.Method)
	case "path":
		h.Path = h.visible(e.value, path, h.Path, "a path is allowed, such as /healthz", func(text string) bool {
			return strings.HasPrefix(text, "/") && !strings.Contains(text, "#")
		})
	case "host":
		h.Host = h.visible(e.value, path, h.Host, "a host is allowed, with or without port, such as shop.example", func(text string) bool {
			return !strings.ContainsAny(text, "/?#@")
		})
	case "status":
		if h.Status = h.statuses(e.value, path); e.value.kind == listValue && len(e.value.items) == 0 {
			h.refuse(codeUnexpectedType, e.value.place, path, "the list is empty: no check could succeed", statusAllowed)
		}
	case "headers":
		h.Fields = h.checkFields(e.value, path)
	case "body":
		h.body.note(e.place, path)
		h.Body = h.bodyText(e.value, path)
	}
}

// number reads a key that is a time or a number.
func (h *healthForm) number(e entry, path string) {
	switch e.key {
	case "every":
		h.span(healthKeys, e, path, &h.Every)
	case "timeout":
		h.span(healthKeys, e, path, &h.Timeout)
	case "fall":
		h.count(healthKeys, e, path, &h.Fall)
	case "rise":
		h.count(healthKeys, e, path, &h.Rise)
	}
}

// count reads a number into n, if it is one; the word for none makes it 0.
func (r *reader) count(list []quantity, e entry, path string, n *int) {
	got, ok := r.size(quantityOf(list, e.key), e.value, path)
	switch {
	case ok && got == Unlimited:
		*n = 0
	case ok:
		*n = int(got)
	}
}

// whole returns the Health once all keys were read.
func (h *healthForm) whole() Health {
	if h.kind == HealthUnwritten {
		h.kind = HealthTCP
		switch {
		case h.ofHTTP.path != "":
			h.kind = HealthHTTP
		case h.ofGRPC.path != "":
			h.kind = HealthGRPC
		}
	}
	h.only(HealthHTTP, &h.ofHTTP)
	h.only(HealthGRPC, &h.ofGRPC)
	if h.kind == HealthHTTP && h.Body != "" && h.Method == methodHead {
		h.refuse(codeUnexpectedElement, h.body.place, h.body.path, "answers to HEAD have no body", "use another method, such as GET")
	}
	out := h.Health
	out.Kind = h.kind
	if h.kind != HealthGRPC {
		out.Service = ""
	}
	if h.kind != HealthHTTP {
		out.Method, out.Path, out.Host, out.Fields, out.Body, out.Status = "", "", "", "", "", StatusSet{}
	}
	return out
}

// only refuses a key that checks of another type have.
func (h *healthForm) only(kind HealthKind, key *httpOnly) {
	if h.kind != kind && key.path != "" {
		h.refuse(codeUnexpectedElement, key.place, key.path, fmt.Sprintf("the setting is for checks of type %s, and the type is %s", kind, h.kind),
			fmt.Sprintf("write type: %s, or leave one of the two out", kind))
	}
}

func (r *reader) panicShare(v *value, path string) Weight {
	if v.kind == textValue && v.text == "none" {
		return 0
	}
	w, _ := r.share(v, path, 2, panicAllowed)
	return w
}

func (r *reader) method(v *value, path, before string) string {
	const allowed = "a method is allowed, such as GET or HEAD"
	text, ok := r.text(v, path, allowed)
	switch {
	case !ok:
	case !isToken(text) || len(text) > 32 || text == "CONNECT":
		r.refuse(codeUnexpectedType, v.place, path, quote(text)+" is no method of a check", allowed)
	default:
		return text
	}
	return before
}

// visible reads a text of visible ASCII that fits; before stays where it does
// not.
func (r *reader) visible(v *value, path, before, allowed string, fits func(string) bool) string {
	text, ok := r.text(v, path, allowed)
	switch {
	case !ok:
	case len(text) > maxHealthText:
		r.refuse(codeBound, v.place, path, "the text has "+strconv.Itoa(len(text))+" bytes", "at most "+formatSize(maxHealthText)+" is allowed")
	case text == "" || strings.ContainsFunc(text, notInPaths) || !fits(text):
		r.refuse(codeUnexpectedType, v.place, path, quote(text)+" cannot be sent", allowed)
	default:
		return text
	}
	return before
}

func (r *reader) bodyText(v *value, path string) string {
	text, ok := r.text(v, path, "a text is allowed")
	switch {
	case !ok:
	case text == "" || len(text) > maxHealthText:
		r.refuse(codeBound, v.place, path, "the text has "+strconv.Itoa(len(text))+" bytes", "1B to "+formatSize(maxHealthText)+" are allowed")
	default:
		return text
	}
	return ""
}

// ownOfChecks are the fields that a check sends by itself.
var ownOfChecks = []string{"host", "connection", "content-length", "transfer-encoding", "upgrade", "expect", "te", "trailer"}

// checkFields reads the header fields of a check, as they are sent.
func (r *reader) checkFields(v *value, path string) string {
	if v.kind != mapValue {
		r.wrongType(codeUnexpectedType, v, path, "a map of names and values is allowed")
		return ""
	}
	var b strings.Builder
	for _, e := range v.entries {
		here := under(path, e.key)
		text, ok := r.text(e.value, here, "a text is allowed")
		switch {
		case !isToken(e.key):
			r.refuse(codeHeaders, e.place, here, quote(e.key)+" is no name of a header", "letters, digits and -_ are allowed")
		case slices.Contains(ownOfChecks, strings.ToLower(e.key)):
			r.refuse(codeHeaders, e.place, here, "the check sends "+e.key+" by itself", "other fields are allowed; host is a key of health")
		case !ok:
		case strings.ContainsFunc(text, notInFields):
			r.refuse(codeHeaders, e.value.place, here, "the value has characters that no header may have", oneHeaderValue)
		default:
			b.WriteString(e.key + ": " + strings.Trim(text, " \t") + "\r\n")
		}
	}
	if b.Len() > 4*maxHealthText {
		r.refuse(codeBound, v.place, path, "the fields have "+strconv.Itoa(b.Len())+" bytes", "at most "+formatSize(4*maxHealthText)+" is allowed")
	}
	return b.String()
}

func notInFields(c rune) bool { return c != '\t' && (c < ' ' || c == 0x7f) }

// statuses reads a status, a range, or a list of them.
func (r *reader) statuses(v *value, path string) (set StatusSet) {
	items := []*value{v}
	if v.kind == listValue {
		items = v.items
	}
	for i, item := range items {
		here := path
		if v.kind == listValue {
			here += "[" + strconv.Itoa(i) + "]"
		}
		if item.kind != textValue && item.kind != integerValue {
			r.wrongType(codeUnexpectedType, item, here, statusAllowed)
			continue
		}
		for part := range strings.SplitSeq(item.text, ",") {
			from, to, ok := statusRange(strings.TrimSpace(part))
			if !ok {
				r.refuse(codeUnexpectedType, item.place, here, quote(item.text)+" is no status", statusAllowed)
				break
			}
			set.add(from, to)
		}
	}
	return set
}

// statusRange reads 200 or 200-299.
func statusRange(text string) (from, to int, ok bool) {
	low, high, ranged := strings.Cut(text, "-")
	if !ranged {
		high = low
	}
	if !isDigits(low, 3) || !isDigits(high, 3) {
		return 0, 0, false
	}
	from, _ = strconv.Atoi(low)
	to, _ = strconv.Atoi(high)
	return from, to, leastStatus <= from && from <= to && to <= mostStatus
}

// ejection reads when instances are ejected.
func (r *reader) ejection(v *value, path string, only *httpOnly) Ejection {
	e := DefaultEjection()
	if v.kind == textValue && v.text == "none" {
		return Ejection{Off: true}
	}
	if v.kind != mapValue {
		r.wrongType(codeUnexpectedType, v, path, ejectAllowed)
		return Ejection{}
	}
	var most httpOnly // where most_time is
	r.fields(SectionEjection, v, path, func(entry entry, path string) {
		if entry.key == "most_time" || entry.key == "time" {
			most = httpOnly{entry.place, path}
		}
		r.ejectionKey(&e, entry, path, only)
	})
	if e.MostTime < e.Time {
		r.refuse(codeBound, most.place, most.path, "the longest time, "+formatTime(int64(e.MostTime))+", is shorter than the first one, "+formatTime(int64(e.Time)), "most_time is at least as long as time")
	}
	return e
}

func (r *reader) ejectionKey(e *Ejection, of entry, path string, only *httpOnly) {
	v := of.value
	switch of.key {
	case "failures":
		r.count(ejectionKeys, of, path, &e.Failures)
	case "connects":
		r.count(ejectionKeys, of, path, &e.Connects)
	case "statuses":
		only.note(of.place, path)
		e.Statuses = r.statuses(v, path)
	case "errors":
		e.Errors = r.above0(v, path, errorsAllowed, FullWeight)
	case "over":
		r.span(ejectionKeys, of, path, &e.Over)
	case "at_least":
		r.count(ejectionKeys, of, path, &e.AtLeast)
	case "time":
		r.span(ejectionKeys, of, path, &e.Time)
	case "most_time":
		r.span(ejectionKeys, of, path, &e.MostTime)
	case "most":
		e.Most = r.above0(v, path, mostAllowed, mostEjected)
	}
}

// above0 reads a percentage that is not 0 and not above most; 0 stands for the
// word none, where it is allowed, and for what is refused.
func (r *reader) above0(v *value, path, allowed string, most Weight) Weight {
	if v.kind == textValue && v.text == "none" && strings.Contains(allowed, "none") {
		return 0
	}
	w, ok := r.share(v, path, 2, allowed)
	if ok && (w == 0 || w > most) {
		r.refuse(codeBound, v.place, path, w.String()+" is out of bounds", allowed)
	}
	return w
}

// slowStart reads how long an instance takes to get its whole share.
func (r *reader) slowStart(v *value, path string) time.Duration {
	q := &slowStartKeys[0]
	d, ok := r.duration(q, v, path)
	switch {
	case ok && d == Never:
		return SlowStartNone
	case ok:
		return d
	}
	return 0
}
