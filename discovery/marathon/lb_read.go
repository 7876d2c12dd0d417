// SPDX-License-Identifier: Apache-2.0

package marathon

import (
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"strconv"
	"strings"

	"github.com/sluice-mesh/sluice/routing"
)

// Bounds of what the labels of an app may ask for.
const (
	maxHosts     = 256     // of all ports of an app
	maxOffers    = 256     // ports of an app
	maxPathBytes = 4 << 10 // of all paths of a port
	maxNetworks  = 100
	maxFiles     = 100 // of certificates, of a port
	maxEdits     = 64  // lines of HAProxy that change header fields, of a port
	maxRootBytes = 1 << 10
	maxShown     = 60 // of a value, in messages
)

// labelNote says what became of a label of an app.
type labelNote struct {
	port   int    // of the app, counted from 0; -1 if it is of none
	label  string // as written
	result Result
	note   string // how, or why not; empty if there is nothing to say
}

// lbApp is what the labels of an app say.
type lbApp struct {
	id     string
	offers []*offer // by the index of the port
	notes  []labelNote
	groups []string // of the ports that name none
	colour colour
}

// offer is a port of an app as labels offer it to clients.
type offer struct {
	app     string   // by which the routes of a host are sorted: the id, or the deployment group
	by      string   // the id of the app whose labels these are
	ids     []string // of the apps it leads to, sorted; more than one in a deployment group
	index   int      // of the port
	service int      // port at which load balancers offer it; 0 if it has none
	groups  []string // nil if it names none
	// dropped says that it is not offered, as a label cannot be understood, and
	// closed that its hosts lead nowhere, so that no other app has its requests.
	dropped, closed bool
	enabled         bool
	tcp             bool   // it takes TCP at all
	mode            string // as written
	http            bool
	listen          int  // instead of service; 0 if nothing is said
	hostsOnly       bool // it has no port of its own
	hosts           []string
	pathed          bool // a path is written
	rule            pathRule
	order           int
	balance         string
	sticky, secure  bool
	hsts            bool
	certificates    []string
	networks        []string // of clients that are let in; none for all
	strip           string   // the path that is taken away
	root            string   // where / leads
	edits           headerEdits
	serving         bool // one of the apps has a task
}

// pathRule is what a path has to begin with.
type pathRule struct {
	prefixes []string // any of them; none for every path
	fold     bool     // letter case does not count
	never    bool     // nothing can begin like that
}

// labelReader reads the labels of one app.
type labelReader struct {
	app  *app
	read *lbApp
	said labelNote // of the label that is being read

	edited optionLines // what was read last of lines of HAProxy: one label may be of all ports
}

// knownLabels are the rows by name.
var knownLabels = func() map[string]*labelRow {
	rows := labelRows()
	byName := make(map[string]*labelRow, len(rows))
	for i := range rows {
		byName[rows[i].name] = &rows[i]
	}
	return byName
}()

// readLabels returns what the labels of an app say, and a note for each label
// of marathon-lb or Traefik.
func readLabels(a *app) *lbApp {
	r := &labelReader{app: a, read: &lbApp{id: a.id}}
	for i := range a.ports[:min(len(a.ports), maxOffers)] {
		r.read.offers = append(r.read.offers, r.offer(i))
	}
	if len(a.ports) > maxOffers {
		r.read.notes = append(r.read.notes, labelNote{-1, "ports", NotSupported, fmt.Sprintf("of the %d ports of the app the first %d are offered", len(a.ports), maxOffers)})
	}
	for _, l := range a.labels {
		if name, is := strings.CutPrefix(l.Name, lbPrefix); is {
			r.said = labelNote{port: -1, label: l.Name}
			r.label(name, l.Value)
			r.read.notes = append(r.read.notes, r.said)
		} else if instead, is := insteadOfTraefik(a, l); is {
			r.read.notes = append(r.read.notes, labelNote{-1, l.Name, NotSupported, instead})
		}
	}
	for _, o := range r.read.offers {
		r.complete(o)
	}
	return r.read
}

// label takes a label over; its name is without the prefix.
func (r *labelReader) label(name, value string) {
	n, name, numbered := cutNumber(name)
	row := knownLabels[name]
	switch {
	case row == nil || name == labelOther:
		r.say(NotSupported, plain(knownLabels[labelOther].becomes)+didYouMean(name))
		return
	case numbered && row.scope&ofPort == 0:
		r.say(Wrong, "it is a label of the app: "+row.written())
		return
	case !numbered && row.scope&ofApp == 0:
		r.say(Wrong, "it says of no port of the app: "+row.written()+" does, counted from 0")
		return
	case numbered && n >= len(r.read.offers):
		r.say(Wrong, "the app has "+countPorts(len(r.read.offers))+", counted from 0")
		return
	}
	r.said.result = row.result
	if row.result != Translated {
		r.said.note = plain(row.becomes)
	}
	switch {
	case numbered:
		r.said.port = n
		if row.read != nil {
			row.read(r, r.read.offers[n], value)
		}
	case row.ofAll != nil:
		row.ofAll(r, value)
	case row.read != nil: // it is of all ports that have none of their own
		for k, o := range r.read.offers {
			if _, own := r.app.label(lbPrefix + strconv.Itoa(k) + "_" + name); !own {
				row.read(r, o, value)
			}
		}
	}
}

// plain takes the marks out of a text of the manual.
func plain(text string) string { return strings.ReplaceAll(text, "`", "") }

// cutNumber cuts the number of a port from the beginning of a label.
func cutNumber(text string) (n int, rest string, numbered bool) {
	digits, rest, found := strings.Cut(text, "_")
	n, err := strconv.Atoi(digits)
	if !found || err != nil || n < 0 || strconv.Itoa(n) != digits {
		return 0, text, false
	}
	return n, rest, true
}

func countPorts(n int) string {
	if n == 1 {
		return "1 port"
	}
	return strconv.Itoa(n) + " ports"
}

// didYouMean names the label that differs from what is written in letter case,
// or lacks what marathon-lb has before it.
func didYouMean(name string) string {
	for _, known := range slices.Sorted(maps.Keys(knownLabels)) {
		if strings.EqualFold(strings.ReplaceAll(name, "-", "_"), known) || name == "COLOR" && known == "COLOUR" {
			return "; did you mean " + knownLabels[known].written() + "?"
		}
	}
	return ""
}

// offer returns a port as it is offered without labels.
func (r *labelReader) offer(index int) *offer {
	p := &r.app.ports[index]
	return &offer{
		app: r.app.id, by: r.app.id, ids: []string{r.app.id}, index: index, service: p.service, enabled: true, tcp: p.tcp,
		balance: inTurn, serving: len(r.app.tasks) > 0,
	}
}

// say says what became of the label that is being read.
func (r *labelReader) say(result Result, note string) {
	r.said.result, r.said.note = result, note
}

// amend says more of a label of a port that was read.
func (r *labelReader) amend(o *offer, name string, result Result, note string) {
	label := lbPrefix + strconv.Itoa(o.index) + "_" + name
	for i := range r.read.notes {
		if n := &r.read.notes[i]; n.label == label && (n.result == Translated || n.result == Approximated) {
			n.result, n.note = result, note
		}
	}
}

// complete settles what labels leave open, once all of them were read.
func (r *labelReader) complete(o *offer) {
	if o.groups == nil {
		o.groups = r.read.groups
	}
	o.http = o.mode == "http" || o.mode == "" && (len(o.hosts) > 0 || r.checkedByHTTP(o.index))
	if o.pathed && o.order == 0 {
		o.order = 1
	}
	if conditions := []string{o.rule.condition(), o.lets()}; !o.rule.never && conditions[0] != "" && !isCondition(conditions) {
		r.amend(o, labelPath, NotSupported, "there are too many paths for one condition, so its hosts have no route to the port; write a gateway with several routes")
		o.rule = pathRule{never: true}
	}
	if o.pathed && len(o.hosts) == 0 {
		r.amend(o, labelPath, Translated, "without effect, as in marathon-lb: it needs a VHOST")
	}
	if !o.http && needsHTTP(o.balance) {
		r.amend(o, labelBalance, Approximated, "connections know nothing of requests, so they go in turn")
		o.balance = inTurn
	}
	if o.sticky && !o.http {
		r.amend(o, labelSticky, Translated, "without effect, as in marathon-lb: connections of a tcp port have no cookies")
	}
	if !o.enabled {
		r.amend(o, labelEnabled, Translated, "the port is not offered")
	}
	if o.mode == "tcp" && len(o.hosts) > 0 {
		r.amend(o, labelVhost, Approximated, "its hosts are served by HTTP, its port by TCP")
	}
	if !o.tcp {
		o.dropped = true
	}
}

// isCondition reports whether a route may ask for all of some conditions, beside
// how its clients come.
func isCondition(conditions []string) bool {
	return acceptable(lbRoute{Condition: both("not < ssl_fc >", both(conditions...))})
}

// needsHTTP reports whether a balance asks for what only requests have.
func needsHTTP(balance string) bool {
	return strings.HasPrefix(balance, "uri") || strings.HasPrefix(balance, "url_param") || strings.HasPrefix(balance, "hdr")
}

// checkedByHTTP reports whether the first health check of a port asks by HTTP.
func (r *labelReader) checkedByHTTP(index int) bool {
	for i := range r.app.checks {
		if c := &r.app.checks[i]; c.port != 0 || c.index == index {
			return c.protocol == "HTTP"
		}
	}
	return false
}

// inTurn is how requests are spread unless a label says otherwise.
const inTurn = "roundrobin"

// groupsOf reads a list of groups, not nil.
func groupsOf(value string) []string {
	groups := []string{}
	for g := range strings.SplitSeq(value, ",") {
		if g = strings.TrimSpace(g); g != "" {
			groups = append(groups, g)
		}
	}
	return groups
}

// isTrue reads a boolean as marathon-lb does: what it does not know is false.
func isTrue(value string) bool {
	switch strings.ToLower(value) {
	case "true", "t", "yes", "y":
		return true
	}
	return false
}

// truth reads a boolean, and says what is none.
func (r *labelReader) truth(value string) bool {
	is := isTrue(value)
	switch strings.ToLower(value) {
	case "true", "t", "yes", "y", "false", "f", "no", "n":
	default:
		r.say(Approximated, quoted(value)+" counts as false, as in marathon-lb; true or false is meant")
	}
	return is
}

// quoted returns a value as messages show it.
func quoted(value string) string {
	if len(value) > maxShown {
		return strconv.QuoteToASCII(value[:maxShown]) + "..."
	}
	return strconv.QuoteToASCII(value)
}

// integer reads a number of a label; a wrong one takes the port away, and
// nothing else.
func (r *labelReader) integer(o *offer, value string, least, most int) (int, bool) {
	n, err := strconv.Atoi(strings.TrimSpace(value))
	if err != nil || n < least || n > most {
		o.dropped = true
		r.say(Wrong, fmt.Sprintf("%s is no number from %d to %d, so the port is not offered", quoted(value), least, most))
		return 0, false
	}
	return n, true
}

// The readers of labels, in the order of labelRows.

func (r *labelReader) enabled(o *offer, value string) { o.enabled = r.truth(value) }

func (r *labelReader) vhost(o *offer, value string) {
	var wrong []string
	named := 0
	for _, other := range r.read.offers {
		named += len(other.hosts)
	}
	for host := range strings.SplitSeq(value, ",") {
		host = strings.ToLower(strings.TrimSpace(host))
		switch {
		case host == "" || slices.Contains(o.hosts, host):
		case !isHost(host) || named == maxHosts:
			wrong = append(wrong, quoted(host))
		default:
			named++
			o.hosts = append(o.hosts, host)
		}
	}
	switch {
	case len(wrong) > 0:
		r.say(Wrong, "not served: "+strings.Join(wrong[:min(len(wrong), 5)], ", ")+fmt.Sprintf(
			"; up to %d names of an app are, without port and star, and beyond ASCII as browsers send them (xn--...); a gateway with virtual_hosts may stand for all names below one", maxHosts))
	case len(o.hosts) == 0:
		r.say(Wrong, "no host is named")
	}
}

// isHost reports whether a text in lower case is the name of a host. One of
// digits alone is none, as gateways of ports are called so.
func isHost(text string) bool {
	if len(text) > 253 || strings.HasPrefix(text, ".") || strings.Contains(text, "..") {
		return false
	}
	named := false
	for i := range len(text) {
		switch c := text[i]; {
		case 'a' <= c && c <= 'z', c == '.', c == '-', c == '_':
			named = true
		case '0' <= c && c <= '9':
		default:
			return false
		}
	}
	return named
}

func (r *labelReader) path(o *offer, value string) {
	o.pathed = true
	fields := strings.Fields(value)
	for len(fields) > 0 && strings.HasPrefix(fields[0], "-") {
		flag := fields[0]
		fields = fields[1:]
		if flag == "--" {
			break
		}
		if flag != "-i" {
			o.rule = pathRule{never: true}
			r.say(NotSupported, "the flag "+quoted(flag)+" is not known here, so its hosts have no route to the port; write a gateway with conditions")
			return
		}
		o.rule.fold = true
	}
	if len(value) > maxPathBytes {
		o.rule = pathRule{never: true}
		r.say(NotSupported, fmt.Sprintf("there are more than %d bytes of paths, so its hosts have no route to the port; write a gateway with conditions", maxPathBytes))
		return
	}
	for _, p := range fields {
		switch {
		case !isPath(p) || strings.ContainsAny(p, `#\`):
			r.say(Wrong, quoted(p)+" begins no path: paths begin with /, and have neither quotes, # nor \\, nor characters beyond ASCII")
		case !slices.Contains(o.rule.prefixes, p):
			o.rule.prefixes = append(o.rule.prefixes, p)
		}
	}
	o.rule.never = len(o.rule.prefixes) == 0
	if len(fields) == 0 {
		r.say(Wrong, "no path is named, so its hosts have no route to the port")
	}
}

// isPath reports whether a text can stand in quotes in a condition, and begin a
// path.
func isPath(text string) bool {
	return strings.HasPrefix(text, "/") && !strings.ContainsFunc(text, func(c rune) bool {
		return c <= ' ' || c > '~' || c == '"' || c == '\'' || c == '<' || c == '>'
	})
}

func (r *labelReader) order(o *offer, value string) {
	if n, ok := r.integer(o, value, -1_000_000, 1_000_000); ok {
		o.order = n
	}
}

func (r *labelReader) mode(o *offer, value string) {
	switch mode := strings.ToLower(strings.TrimSpace(value)); mode {
	case "http", "tcp":
		o.mode = mode
	default:
		o.dropped = true
		r.say(Wrong, quoted(value)+" is neither http nor tcp, so the port is not offered")
	}
}

func (r *labelReader) groups(value string)          { r.read.groups = groupsOf(value) }
func (r *labelReader) group(o *offer, value string) { o.groups = groupsOf(value) }

func (r *labelReader) port(o *offer, value string) {
	if n, ok := r.integer(o, value, 1, 65535); ok {
		o.listen = n
	}
}

func (r *labelReader) balance(o *offer, value string) {
	if _, err := routing.ParseBalance(value); err != nil {
		r.say(NotSupported, err.Error()+"; requests go in turn")
		return
	}
	o.balance = strings.TrimSpace(value)
}

func (r *labelReader) sticky(o *offer, value string) { o.sticky = r.truth(value) }
func (r *labelReader) secure(o *offer, value string) { o.secure = r.truth(value) }
func (r *labelReader) hsts(o *offer, value string)   { o.hsts = r.truth(value) }

func (r *labelReader) certificate(o *offer, value string) {
	for f := range strings.FieldsSeq(value) {
		switch {
		case f == "crt":
		case slices.Contains(o.certificates, f):
		case len(o.certificates) == maxFiles:
			r.say(NotSupported, fmt.Sprintf("of its files the first %d are shown", maxFiles))
			return
		case strings.HasPrefix(f, "secret:") || !readable(withCertificate(f)):
			o.dropped = true
			r.say(Wrong, quoted(f)+" is no file, absolute or below the directory of certificates of the proxies, so the port is not offered")
			return
		default:
			o.certificates = append(o.certificates, f)
		}
	}
}

// withCertificate returns a gateway that shows what is in a file.
func withCertificate(file string) lbGateway {
	return lbGateway{
		Name: "a", Port: "1", Routes: []map[string]lbRoute{},
		Sluice: &lbGatewayOwn{TLS: &lbTLS{Certificates: []lbCertificate{{file, file}}}},
	}
}

func (r *labelReader) allowed(o *offer, value string) {
	for f := range strings.FieldsSeq(value) {
		switch {
		case !isNetwork(f):
			o.closed = true
			r.say(Wrong, quoted(f)+" is no address and no network, so nobody is let in")
			return
		case len(o.networks) == maxNetworks:
			o.closed = true
			r.say(NotSupported, fmt.Sprintf("more than %d addresses and networks are too many, so nobody is let in", maxNetworks))
			return
		}
		o.networks = append(o.networks, f)
	}
	if len(o.networks) == 0 {
		o.closed = true
		r.say(Wrong, "no address and no network is named, so nobody is let in")
	}
}

func isNetwork(text string) bool {
	if _, err := netip.ParsePrefix(text); err == nil {
		return true
	}
	a, err := netip.ParseAddr(text)
	return err == nil && a.Zone() == ""
}

func (r *labelReader) strip(o *offer, value string) {
	path := strings.TrimRight(strings.TrimSpace(value), "/")
	switch {
	case path == "":
	case !isPath(path) || len(path) > 256 || strings.ContainsAny(path, `\()[],%;*+?^$|{}#`):
		r.say(NotSupported, quoted(value)+" cannot be taken from the beginning of paths: letters, digits and /._~- are allowed; write a gateway with rewrites")
	default:
		o.strip = path
	}
}

func (r *labelReader) root(o *offer, value string) {
	value = strings.TrimSpace(value)
	if !isPath(value) && !strings.HasPrefix(value, "https://") && !strings.HasPrefix(value, "http://") ||
		strings.HasPrefix(value, "//") || strings.ContainsFunc(value, func(c rune) bool { return c <= ' ' || c > '~' }) {
		r.say(Wrong, quoted(value)+" is no path")
		return
	}
	if len(value) > maxRootBytes {
		r.say(NotSupported, fmt.Sprintf("it is longer than %d bytes, so nothing leads there", maxRootBytes))
		return
	}
	o.root = value
}

func (r *labelReader) number(o *offer, value string) { r.integer(o, value, 0, 65535) }

func (r *labelReader) auth(o *offer, _ string) { o.closed = true }

func (r *labelReader) bind(o *offer, value string) {
	if value = strings.TrimSpace(value); value == "*" || value == "0.0.0.0" || value == "::" || value == "" {
		r.say(Translated, "")
		return
	}
	o.hostsOnly = true
}
