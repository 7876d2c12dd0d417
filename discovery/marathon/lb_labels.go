// SPDX-License-Identifier: Apache-2.0

package marathon

// Result says what becomes of a label.
type Result uint8

const (
	// Translated means that it does here what it does in marathon-lb.
	Translated Result = iota
	// Approximated means that it does something like it.
	Approximated
	// NotSupported means that it does nothing, or that what it guards is not
	// offered at all.
	NotSupported
	// Wrong means that it cannot be understood, in marathon-lb either.
	Wrong
)

// String returns translated, approximated, not supported or wrong.
func (r Result) String() string {
	switch r {
	case Approximated:
		return "approximated"
	case NotSupported:
		return "not supported"
	case Wrong:
		return "wrong"
	default:
		return "translated"
	}
}

// MarshalText returns what String does.
func (r Result) MarshalText() ([]byte, error) { return []byte(r.String()), nil }

// lbPrefix begins the labels of marathon-lb.
const lbPrefix = "HAPROXY_"

// scope says where a label stands: for an app, a port of it, or either.
type scope uint8

const (
	ofApp scope = 1 << iota
	ofPort
	ofBoth = ofApp | ofPort
)

// labelRow is what is known of a label of marathon-lb. The rows make the table
// of the manual, too.
type labelRow struct {
	name   string // behind the prefix and the number of the port
	scope  scope
	result Result
	// becomes says what becomes of it, or why nothing does, and what to do
	// instead.
	becomes string
	// read takes it over, and may say more closely what became of it. Nil if
	// there is nothing to take over.
	read func(r *labelReader, o *offer, value string)
	// ofAll takes it over where it stands without a number; nil if it then is
	// read for each port.
	ofAll func(r *labelReader, value string)
}

// written returns the label as manuals write it.
func (l *labelRow) written() string {
	switch l.scope {
	case ofApp:
		return lbPrefix + l.name
	case ofPort:
		return lbPrefix + "{n}_" + l.name
	default:
		return lbPrefix + "[{n}_]" + l.name
	}
}

// The names of labels that are spoken of.
const (
	labelGroup      = "GROUP"
	labelEnabled    = "ENABLED"
	labelVhost      = "VHOST"
	labelPath       = "PATH"
	labelOrder      = "BACKEND_WEIGHT"
	labelMode       = "MODE"
	labelPort       = "PORT"
	labelBalance    = "BALANCE"
	labelSticky     = "STICKY"
	labelAllowed    = "BACKEND_NETWORK_ALLOWED_ACL"
	labelAuth       = "AUTH"
	labelColours    = "DEPLOYMENT_GROUP"
	labelStarted    = "DEPLOYMENT_STARTED_AT"
	labelWanted     = "DEPLOYMENT_TARGET_INSTANCES"
	labelNewcomers  = "DEPLOYMENT_NEW_INSTANCES"
	labelStrip      = "HTTP_BACKEND_PROXYPASS_PATH"
	labelRoot       = "HTTP_BACKEND_REDIR"
	labelCert       = "SSL_CERT"
	labelBind       = "BIND_ADDR"
	labelHTTPOption = "BACKEND_HTTP_OPTIONS"
	labelOther      = "..." // any other
)

// rawText is why templates are not honoured.
const rawText = "raw text of HAProxy, of which there is none here"

// labelRows are the labels of marathon-lb, in the order of the manual. It is a
// function, as its rows call what looks them up.
func labelRows() []labelRow {
	return []labelRow{
		{labelGroup, ofBoth, Translated, "the app, or the port, is offered if one of the groups is served (`--marathon-lb-groups`); without one it is not, unless all are served (`*`)", (*labelReader).group, (*labelReader).groups},
		{labelEnabled, ofPort, Translated, "a port that is not enabled is not offered", (*labelReader).enabled, nil},
		{labelVhost, ofPort, Translated, "a gateway for each host, `marathon-lb/HOST`, with a route for each port that asks for it; by HTTP, also where the mode is tcp", (*labelReader).vhost, nil},
		{labelPath, ofPort, Translated, "the condition of the route: `path starts with`, by bytes; `-i` ignores letter case, other flags are not supported", (*labelReader).path, nil},
		{labelOrder, ofPort, Translated, "the order of the routes of a host, no share of requests: higher ones first, then by app and port; the first that holds has the request", (*labelReader).order, nil},
		{labelMode, ofPort, Translated, "the type of the gateway of the port: http or tcp; without it tcp, but http with a VHOST or a health check by HTTP", (*labelReader).mode, nil},
		{labelPort, ofPort, Translated, "the port of the gateway `marathon-lb/PORT`, instead of the service port", (*labelReader).port, nil},
		{labelBalance, ofPort, Translated, "`balance` of the route", (*labelReader).balance, nil},
		{labelSticky, ofPort, Approximated, "`sticky: instance`: clients stay with their instance by a cookie of the gateway, not by mesosphere_server_id, so each is placed anew once", (*labelReader).sticky, nil},
		{"REDIRECT_TO_HTTPS", ofPort, Translated, "a route that answers plain requests for the host with 301 to https; certificates come from SSL_CERT or `--marathon-lb-certificates`", (*labelReader).secure, nil},
		{"USE_HSTS", ofPort, Translated, "`Strict-Transport-Security: max-age=15768000` in answers", (*labelReader).hsts, nil},
		{labelCert, ofPort, Translated, "`tls` of the gateways of the port and of its hosts, with certificate and key in the file named, as the proxies have it", (*labelReader).certificate, nil},
		{labelAllowed, ofPort, Approximated, "`ip in (...)`; all others are answered 503, where marathon-lb answers 403, or are reset on tcp ports", (*labelReader).allowed, nil},
		{labelStrip, ofPort, Translated, "a rewrite that takes the path away from the beginning, and the VHOST as Host", (*labelReader).strip, nil},
		{labelRoot, ofPort, Translated, "a route that answers `/` of the host with 301 to the path", (*labelReader).root, nil},
		{"BACKEND_HEALTHCHECK_PORT_INDEX", ofPort, Approximated, "proxies make no checks of their own of ports that Marathon checks: its verdict counts, whichever port it comes from", (*labelReader).number, nil},
		{labelHTTPOption, ofBoth, Approximated, "lines that set, add or remove header fields become `headers`, others that Sluice does anyway are left out; the rest is not supported and named", (*labelReader).options, nil},
		{labelColours, ofApp, Translated, "apps of one group share their gateways, with the labels of the older one", nil, (*labelReader).coloured},
		{"DEPLOYMENT_ALT_PORT", ofApp, Translated, "the service port of the newer app is not offered beside that of the older", nil, nil},
		{"DEPLOYMENT_COLOUR", ofApp, Translated, "for the eye only, as in marathon-lb", nil, nil},
		{"DEPLOYMENT_COLOR", ofApp, Translated, "as `HAPROXY_DEPLOYMENT_COLOUR`, which is how zdd spells it", nil, nil},
		{labelStarted, ofApp, Translated, "which app of a group is the older one", nil, (*labelReader).started},
		{labelWanted, ofApp, Translated, "how many tasks of both apps serve, if NEW_INSTANCES is there: tasks of the older one that are too many get no new requests", nil, (*labelReader).wanted},
		{labelNewcomers, ofApp, Translated, "the app of the group that was scaled last counts as the newer one", nil, (*labelReader).newcomers},
		{labelAuth, ofPort, NotSupported, "gateways ask nobody for a password, so the port is not offered at all; ask in the app, or in front", (*labelReader).auth, nil},
		{labelBind, ofPort, NotSupported, "gateways listen where their proxy does (`--gateway-address`): a port with an address of its own is offered by its hosts alone", (*labelReader).bind, nil},
		{"BIND_OPTIONS", ofPort, NotSupported, rawText + "; PROXY headers: a gateway with `proxy_protocol`; versions of TLS: `tls: {min_version}`", nil, nil},
		{"HTTP_BACKEND_REVPROXY_PATH", ofPort, NotSupported, "answers are not rewritten by their own fields; have the app send relative locations", nil, nil},
		{"HEAD", ofApp, NotSupported, rawText + "; limits and timeouts of a gateway stand under `sluice`", nil, nil},
		{"FRONTEND_HEAD", ofBoth, NotSupported, rawText + "; write a gateway with `limits` or `timeouts`", nil, nil},
		{"BACKEND_HEAD", ofBoth, NotSupported, rawText + "; write a gateway with `timeouts`, `retries` or `headers`", nil, nil},
		{"BACKEND_REDIRECT_HTTP_TO_HTTPS", ofBoth, NotSupported, rawText + "; REDIRECT_TO_HTTPS redirects", nil, nil},
		{"BACKEND_HSTS_OPTIONS", ofBoth, NotSupported, rawText + "; write a gateway with `hsts`", nil, nil},
		{"BACKEND_STICKY_OPTIONS", ofBoth, NotSupported, rawText + "; write a gateway with `sticky` or `affinity`", nil, nil},
		{"BACKEND_SERVER_OPTIONS", ofBoth, NotSupported, rawText + "; write a gateway with `tls`, `proxy_protocol` or `limits` at the route", nil, nil},
		{"BACKEND_SERVER_TCP_HEALTHCHECK_OPTIONS", ofBoth, NotSupported, rawText + "; write a gateway with `health`", nil, nil},
		{"BACKEND_SERVER_HTTP_HEALTHCHECK_OPTIONS", ofBoth, NotSupported, rawText + "; write a gateway with `health`", nil, nil},
		{"BACKEND_TCP_HEALTHCHECK_OPTIONS", ofBoth, NotSupported, rawText + "; write a gateway with `health`", nil, nil},
		{"BACKEND_HTTP_HEALTHCHECK_OPTIONS", ofBoth, NotSupported, rawText + "; write a gateway with `health`", nil, nil},
		{labelOther, ofBoth, NotSupported, "a template of marathon-lb, " + rawText + ", or no label of it", nil, nil},
	}
}
