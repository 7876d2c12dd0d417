// SPDX-License-Identifier: Apache-2.0

package routing

import "slices"

// Section is a map in a document whose keys are known.
type Section string

// The sections of all kinds of documents.
const (
	SectionGateway    Section = "gateway"
	SectionService    Section = "gateway.service"
	SectionGatewayOwn Section = "gateway.sluice"
	SectionTLS        Section = "gateway.sluice.tls"
	SectionKeyPair    Section = "gateway.sluice.tls.certificates"
	SectionHSTS       Section = "gateway.sluice.tls.hsts"
	// SectionProxyProtocol is the one of gateways; that of routes is a word.
	SectionProxyProtocol Section = "gateway.sluice.proxy_protocol"
	SectionHTTP2         Section = "gateway.sluice.http2"
	SectionAffinity      Section = "gateway.sluice.affinity"
	SectionLocality      Section = "gateway.sluice.locality"
	SectionLimits        Section = "gateway.sluice.limits"
	// SectionRate and SectionBreaker are those of gateways and routes alike.
	SectionRate     Section = "*.sluice.limits.rate"
	SectionBreaker  Section = "*.sluice.limits.breaker"
	SectionTimeouts Section = "gateway.sluice.timeouts"
	// SectionHealth and SectionEjection are those of gateways and routes alike.
	SectionHealth   Section = "*.sluice.health"
	SectionEjection Section = "*.sluice.ejection"
	SectionRoute    Section = "route"
	SectionRouteOwn Section = "route.sluice"
	SectionHeaders  Section = "route.sluice.headers"
	// SectionHeaderChanges is the one of requests and of answers alike.
	SectionHeaderChanges Section = "route.sluice.headers.*"
	SectionRedirect      Section = "route.sluice.redirect"
	SectionRouteTLS      Section = "route.sluice.tls"
	SectionRouteLimits   Section = "route.sluice.limits"
	SectionRouteTimeouts Section = "route.sluice.timeouts"
	SectionRetries       Section = "route.sluice.retries"
	SectionCondition     Section = "condition"
	SectionRewrite       Section = "rewrite"
)

// Support says what becomes of a known key.
type Support uint8

const (
	// Supported keys take effect.
	Supported Support = iota
	// Ignored keys are answers of a control plane, accepted so that what was
	// read from it can be sent back.
	Ignored
)

// Key describes a key of a section.
type Key struct {
	Section Section
	Name    string
	Support Support
	Form    string // what is written, in words
	Default string // what holds without the key; empty if nothing does
	Bound   string // limits; empty if there are none
	Meaning string
}

// Schema returns every known key, by section, in the order in which they are
// documented. The slice may be changed.
func Schema() []Key { return slices.Clone(schema) }

// Keys that gateways and routes have alike.
const (
	keyTLS           = "tls"
	keyProxyProtocol = "proxy_protocol"
	keyExplain       = "explain"
)

const (
	percentForm = `whole percentage: "50%"`
	portForm    = "number, or number/http, number/tcp"
	balanceForm = "roundrobin, static-rr, leastconn, first(N), source, uri, url_param NAME, hdr(NAME), random(N), ewma or default"
	kindMeaning = "the kind of the artifact; the singular is accepted"

	timeForm                 = "time: 10s, 1m30s, 500ms"
	sizeForm                 = "size: 32KB, 1MB, 512"
	bodyForm                 = sizeForm + ", or unlimited"
	totalForm                = timeForm + ", or none"
	rateForm                 = "size a second: 1KB, or 1KB over 30s, or none"
	rateBound                = "1B to 1MB, over 1s to 10m"
	ofGateway                = "that of the gateway"
	bodyMeaning              = "the content of a request; more is answered 413"
	answerHeadMeaning        = "the head of an answer; a larger one is answered 502"
	rateMeaning              = "how slowly a client may send or take content, judged over each such time in which it is waited for; slower ones are answered 408, or cut"
	connectMeaning           = "one attempt to reach an instance; then the next one is tried, at last 504"
	firstByteMeaning         = "from the end of the request to the head of the answer; then 504"
	idleMeaning              = "how long content may stand still: 408 to a client that sends none, otherwise the answer is cut"
	upstreamKeepAliveMeaning = "how long a connection to an instance waits for its next request"
	tunnelMeaning            = "how long a tunnel, or a connection of a tcp port, may stand still in both directions"
	countForm                = "number, or none"
	rateMapForm              = "map, or a list of up to 4"
	breakerForm              = "map, or none"
	requestsMeaning          = "how many requests are under way on the route at once; the others wait, then 503 overloaded"
	instanceRequestsMeaning  = "how many requests are under way at each instance of the route at once, counted over all that lead to the instance; others are tried, then the request waits"
	queueMeaning             = "how many requests may wait for requests or instance_requests at once; more are answered 503 overloaded"
	queueTimeMeaning         = "how long each of them waits; then 503 overloaded"
	breakerMeaning           = "when a route that fails is left alone; then 503 circuit_open"
	statusForm               = "status or range, or a list of them: [200-299, 404]"
	healthWritten            = "tcp, http, grpc or none, or a map"
	healthMeaning            = "whether instances are checked, so that those which fail get nothing"
	ejectionWritten          = "map, or none"
	ejectionMeaning          = "when an instance that fails its requests gets nothing for a while"
	slowStartForm            = timeForm + ", or none"
	slowStartMeaning         = "how long an instance that is new, or comes back, takes to get its whole share; from 10% on it grows evenly"
	minVersionForm           = `"1.2" or "1.3"`
	minVersionMeaning        = "the oldest version of TLS that is spoken"
	fileForm                 = "PEM file, below --tls-dir unless it is absolute, or secret:NAMESPACE/NAME"
	totalMeaning             = "the whole exchange, from the end of the head; then 504, or the answer is cut"
	halfClosedMeaning        = "how long an exchange goes on, while nothing comes from its instance, for a client that has ended its own direction"
)

// schema is the one list of keys: reading, suggestions and the reference all
// follow it.
var schema = []Key{
	{SectionGateway, "name", Supported, "text", "", "1 to 4 segments joined by /, no white space, no [ ]", "the name of the gateway; required"},
	{SectionGateway, "kind", Supported, "gateways", "gateways", "", kindMeaning},
	{SectionGateway, "metadata", Supported, "map", "", "", "free notes; kept"},
	{SectionGateway, "import", Supported, "text or list of texts", "", "", "templates (NAME) or other artifacts (KIND/NAME) that this one is merged over"},
	{SectionGateway, "port", Supported, portForm, "one of 40000-45000, http", "0 (assigned) to 65535", "the port to listen on, and its protocol"},
	{SectionGateway, "sticky", Supported, "route, instance or none", "none", "http ports only", "whether a client stays with its route or instance"},
	{SectionGateway, "virtual_hosts", Supported, "text or list of texts", "", "host names without port; *.NAME covers all names below; NAME/PATH covers the paths below", "names under which the gateway is reached on the shared virtual host port"},
	{SectionGateway, "selector", Supported, "selector", "", "8 KB, at most 1000 groups", "the instances whose groups become routes"},
	{SectionGateway, "routes", Supported, "map, list or text", "no routes", "weights add up to 0% or 100%", "the routes, by path"},
	{SectionGateway, "service", Supported, "map of host and port", "", "", "where the gateway is reached from outside; set by a control plane"},
	{SectionGateway, "deployed", Supported, "true or false", "false", "", "set by a control plane"},
	{SectionGateway, "sluice", Supported, "map", "", "", "settings that go beyond Vamp"},
	{SectionGateway, "lookup_name", Ignored, "any", "", "", "answer only"},
	{SectionGateway, "internal", Ignored, "any", "", "", "answer only"},
	{SectionGateway, "proxy", Ignored, "any", "", "", "answer only"},

	{SectionService, "host", Supported, "text", "", "", "name or address; required"},
	{SectionService, "port", Supported, portForm, "", "0 to 65535", "port; required"},

	{SectionGatewayOwn, "split", Supported, "exact or random", "exact", "", "exact: weights hold over any run of requests; random: each request is drawn on its own"},
	{SectionGatewayOwn, "unavailable", Supported, "error or redistribute", "error", "", "what happens to the share of a route without usable instance: 503, or the other routes take it"},
	{SectionGatewayOwn, "port", Supported, "none", "a port of its own", "http ports only, and without port", "no port of its own: requests come for its virtual hosts, or from other gateways"},
	{SectionGatewayOwn, "no_route", Supported, "503 or 404", "503", "", "the status when no route can be chosen"},
	{SectionGatewayOwn, "balance", Supported, balanceForm, "roundrobin on http ports, leastconn on tcp ports", "uri, url_param and hdr need an http port", "how each route chooses among its instances, unless it says so itself"},
	{SectionGatewayOwn, "locality", Supported, "node, zone or none, or a map", "none", "", "whether instances near the proxy are preferred"},
	{SectionGatewayOwn, "forwarded", Supported, "x-forwarded, rfc7239 or both", "x-forwarded", "http ports only", "by which fields instances are told where a request comes from: X-Forwarded-For, -Proto, -Host and -Port, Forwarded, or all; the same are read where a proxy in front is trusted"},
	{SectionGatewayOwn, keyTLS, Supported, "map with certificates", "none", "", "how clients are spoken to in TLS; on tcp ports the bytes within are forwarded"},
	{SectionGatewayOwn, "affinity", Supported, "map", "", "http ports only", "keeps the requests of a client together by a key, and says what weight 0 means to those who are on a route"},
	{SectionGatewayOwn, "limits", Supported, "map", "", "of tcp ports: connections and rate", "how large messages may be, how slow clients, and how much there may be to do"},
	{SectionGatewayOwn, "timeouts", Supported, "map", "", "of tcp ports: connect, head and tunnel", "how long things may take"},
	{SectionGatewayOwn, "health", Supported, healthWritten, "none", "", "of each route: " + healthMeaning},
	{SectionGatewayOwn, "ejection", Supported, ejectionWritten, "the map with its defaults", "", "of each route: " + ejectionMeaning},
	{SectionGatewayOwn, "slow_start", Supported, slowStartForm, "none", boundOf(slowStartKeys, "slow_start"), "of each route: " + slowStartMeaning},
	{SectionGatewayOwn, keyProxyProtocol, Supported, "network, address, or a list of them: [10.0.0.0/8, 192.0.2.7], or a map of from", "none", "up to 256", "from whom connections must begin with a header of the PROXY protocol, which names the client; from others none is looked for"},
	{SectionGatewayOwn, "between_routes", Supported, "weights or leastconn", "weights", "tcp ports only", "how connections are spread that no condition took: exactly by weight, or to the route with the fewest open ones for its weight"},
	{SectionGatewayOwn, keyHTTP2, Supported, "map, or none", "the map with its defaults", "http ports only", "how clients are spoken to by HTTP/2: over TLS if they agree to h2, otherwise if they begin with it; none: by HTTP/1 alone"},
	{SectionGatewayOwn, keyExplain, Supported, "header or none", "header", "http ports only", "whether a request that carries the header of explanations gets its own one; none: the answers of this gateway never tell, whoever asks"},

	{SectionTLS, "certificates", Supported, "map of certificate and key, secret:NAMESPACE/NAME for both, or a list of them", "", "1 to 100", "what the gateway shows: the one whose names fit the server name that the client asks for, otherwise the first; required"},
	{SectionTLS, "min_version", Supported, minVersionForm, `"1.2"`, "", minVersionMeaning},
	{SectionTLS, "client_auth", Supported, "none, optional or required", "none", "", "whether clients are asked for a certificate: optional ones are verified if they are sent"},
	{SectionTLS, "client_ca", Supported, fileForm, "", "with client_auth", "who vouches for clients; required then"},
	{SectionTLS, "plain", Supported, "redirect, serve or refuse", "redirect", "http ports only", "what a plain request to a virtual host gets: 308 to https, its answer, or what an unknown host gets"},
	{SectionTLS, "hsts", Supported, "time: 365d, or a map, or none", "none", "0s to 3650d; http ports only", "Strict-Transport-Security in answers over TLS, unless the instance sends it"},

	{SectionKeyPair, "certificate", Supported, fileForm, "", "", "the certificate, then those that vouch for it; required"},
	{SectionKeyPair, "key", Supported, fileForm, "", "", "its key; required"},

	{SectionHSTS, "max_age", Supported, "time: 365d, 1h", "", "0s to 3650d", "how long browsers use https only; required"},
	{SectionHSTS, "subdomains", Supported, "true or false", "false", "", "whether that holds for all names below, too"},
	{SectionHSTS, "preload", Supported, "true or false", "false", "with subdomains and 365d or more", "whether browsers may list the name"},

	{SectionProxyProtocol, "from", Supported, "network, address, or a list of them", "", "up to 256", "the same as the list alone; required"},

	{SectionHTTP2, "max_concurrent_streams", Supported, "number", "100", boundOf(http2Keys, "max_concurrent_streams"), "how many requests a client may have under way in one connection; further ones are refused, and may be sent again"},
	{SectionHTTP2, "max_connection_age", Supported, totalForm, "none", boundOf(http2Keys, "max_connection_age"), "how old a connection becomes, give or take a tenth, before its client is told by GOAWAY to make another"},
	{SectionHTTP2, keyAgeGrace, Supported, timeForm, "30s", boundOf(http2Keys, keyAgeGrace), "how long requests that are under way may go on after that; then they are cut"},
	{SectionHTTP2, "ping", Supported, totalForm, "30s", boundOf(http2Keys, "ping"), "how long nothing may come from a client with requests under way before it is sent a PING; without an answer in 15s its connection is ended"},

	{SectionAffinity, "key", Supported, "header(NAME), cookie(NAME) or ip", "", "not beside sticky", "what tells one client from another; no cookie of ours is set"},
	{SectionAffinity, "level", Supported, "route or instance", "route", "with key", "whether the instance is kept as well"},
	{SectionAffinity, "at_zero", Supported, "drain or cut", "drain", "with sticky", "drain: a client stays on its route when the weight becomes 0; cut: it is moved"},

	{SectionLocality, "prefer", Supported, "node, zone or none", "node", "", "node: instances of the proxy's own node (--node), then of its zone (--zone), then the others; zone: those of its zone, then the others"},
	{SectionLocality, "enough", Supported, `percentage with up to two decimals: "12.5%"`, "30%", "0.01% to 100%", "the share of the ready capacity over which requests are spread, the nearest first"},

	{SectionLimits, "head", Supported, sizeForm, "32KB", boundOf(sizes, "head"), "the head of a request; a larger one is answered 431"},
	{SectionLimits, "fields", Supported, "number", "200", boundOf(sizes, "fields"), "the header fields of a request; more are answered 431"},
	{SectionLimits, "target", Supported, sizeForm, "16KB", boundOf(sizes, "target"), "the target of a request; a longer one is answered 414"},
	{SectionLimits, "body", Supported, bodyForm, "unlimited", boundOf(sizes, "body"), bodyMeaning},
	{SectionLimits, "answer_head", Supported, sizeForm, "64KB", boundOf(sizes, "answer_head"), answerHeadMeaning},
	{SectionLimits, "min_rate", Supported, rateForm, "1KB over 30s", rateBound, rateMeaning},
	{SectionLimits, "connections", Supported, "number", "none", boundOf(sizes, "connections"), "of clients, to the port of the gateway: further ones are answered 503, or reset on tcp ports; those to the port of virtual hosts do not count"},
	{SectionLimits, "requests", Supported, countForm, "none", boundOf(amounts, "requests"), "of each route: " + requestsMeaning},
	{SectionLimits, "instance_requests", Supported, countForm, "none", boundOf(amounts, "instance_requests"), "of each route: " + instanceRequestsMeaning},
	{SectionLimits, "queue", Supported, "number", "100", boundOf(amounts, "queue"), "of each route: " + queueMeaning},
	{SectionLimits, "queue_time", Supported, timeForm, "100ms", boundOf(amounts, "queue_time"), queueTimeMeaning},
	{SectionLimits, "rate", Supported, rateMapForm, "none", "", "how many requests the gateway takes in a time; more are answered 429"},
	{SectionLimits, "breaker", Supported, breakerForm, "none", "", "of each route: " + breakerMeaning},

	{SectionRate, "requests", Supported, "number", "", boundOf(rateKeys, "requests"), "how many in the time; required"},
	{SectionRate, "per", Supported, timeForm, "1s", boundOf(rateKeys, "per"), "the time"},
	{SectionRate, "burst", Supported, "number", "as many as requests", "1 to 100 times requests", "how many may come at once; they come evenly otherwise"},
	{SectionRate, "key", Supported, "header(NAME), cookie(NAME) or ip", "", "an IPv6 address counts as its network of 64 bits", "each value has the rate for itself; requests without one have it together"},

	{SectionBreaker, "errors", Supported, `percentage with up to two decimals: "50%"`, "none", "above 0%", "the share of requests that fail (an answer 5xx, or none) that opens the breaker"},
	{SectionBreaker, "latency", Supported, "text: p99 > 500ms", "none", "p0.01 to p99.99, 1ms to 1h", "opens the breaker when this quantile of the times to the head of the answer is above the bound"},
	{SectionBreaker, "over", Supported, timeForm, "10s", boundOf(breakerKeys, "over"), "the time over which both are judged"},
	{SectionBreaker, "at_least", Supported, "number", "20", boundOf(breakerKeys, "at_least"), "how many requests there must be in it"},
	{SectionBreaker, "open_for", Supported, timeForm, "5s", boundOf(breakerKeys, "open_for"), "how long the route gets nothing"},
	{SectionBreaker, "trials", Supported, "number", "3", boundOf(breakerKeys, "trials"), "how many requests are let through then; if all go well the breaker closes, with the first that does not it opens again"},

	{SectionTimeouts, "head", Supported, timeForm, "10s", boundOf(times, "head"), "from the first byte of a request to the end of its head; then 408. Also, of all of them together, what comes before it: a PROXY header, the handshake of TLS; on tcp ports the ClientHello, where conditions ask for its names"},
	{SectionTimeouts, "connect", Supported, timeForm, "5s", boundOf(times, "connect"), connectMeaning},
	{SectionTimeouts, "first_byte", Supported, timeForm, "50s", boundOf(times, "first_byte"), firstByteMeaning},
	{SectionTimeouts, "idle", Supported, timeForm, "50s", boundOf(times, "idle"), idleMeaning},
	{SectionTimeouts, "keep_alive", Supported, timeForm, "65s", boundOf(times, "keep_alive"), "how long a client may wait with its next request"},
	{SectionTimeouts, "upstream_keep_alive", Supported, timeForm, "30s", boundOf(times, "upstream_keep_alive"), upstreamKeepAliveMeaning},
	{SectionTimeouts, "tunnel", Supported, timeForm, "1h", boundOf(times, "tunnel"), tunnelMeaning},
	{SectionTimeouts, "total", Supported, totalForm, "none", boundOf(times, "total"), totalMeaning},
	{SectionTimeouts, "half_closed", Supported, totalForm, "5s", boundOf(times, "half_closed"), halfClosedMeaning},

	{SectionHealth, "type", Supported, "tcp, http or grpc", "http or grpc if a key of it is written, otherwise tcp", "", "tcp: a connection can be made; http: a request is answered as it should be; grpc: grpc.health.v1.Health says SERVING"},
	{SectionHealth, "every", Supported, timeForm, "2s", boundOf(healthKeys, "every"), "how often each instance is checked, give or take a tenth"},
	{SectionHealth, "timeout", Supported, timeForm, "2s", boundOf(healthKeys, "timeout"), "how long a check may take in all"},
	{SectionHealth, "fall", Supported, "number", "3", boundOf(healthKeys, "fall"), "how many checks in a row must fail for an instance to be unhealthy"},
	{SectionHealth, "rise", Supported, "number", "2", boundOf(healthKeys, "rise"), "how many must succeed for it to be healthy again"},
	{SectionHealth, "panic", Supported, `percentage with up to two decimals, or none: "50%"`, "50%", "0% to 100%", "below this share of usable instances all are used, healthy or not"},
	{SectionHealth, "path", Supported, "path", "/", "up to 1KB", "of type http: the path that is asked for, with or without query"},
	{SectionHealth, "host", Supported, "host, with or without port", "the address of the instance", "up to 1KB", "of type http: the Host that is sent"},
	{SectionHealth, "method", Supported, "method", "GET", "not CONNECT", "of type http: the method"},
	{SectionHealth, "headers", Supported, "map of names and values", "none", "up to 4KB", "of type http: further header fields"},
	{SectionHealth, "status", Supported, statusForm, "200-399", "200 to 599", "of type http: the statuses of a success"},
	{SectionHealth, "body", Supported, "text", "", "up to 1KB; not with HEAD", "of type http: a text that must stand in the first 64KB of the answer's content"},
	{SectionHealth, "service", Supported, "name of a service", "the server as a whole", "up to 1KB", "of type grpc: the service that is asked for"},

	{SectionEjection, "failures", Supported, "number, or none", "5", boundOf(ejectionKeys, "failures"), "how many failures in a row eject an instance: connections that cannot be made or that end before the answer, answers that do not come in time or are not HTTP, and statuses"},
	{SectionEjection, "connects", Supported, "number, or none", "3", boundOf(ejectionKeys, "connects"), "how many of them eject it if all are connections that cannot be made"},
	{SectionEjection, "statuses", Supported, statusForm, "none", "200 to 599; http ports only", "answers that are failures as well, such as 502, 503 and 504"},
	{SectionEjection, "errors", Supported, `percentage with up to two decimals, or none: "30%"`, "none", "above 0%", "by how many points its share of failures must exceed that of all other instances together to eject it"},
	{SectionEjection, "over", Supported, timeForm, "10s", boundOf(ejectionKeys, "over"), "the time over which both shares are taken"},
	{SectionEjection, "at_least", Supported, "number", "20", boundOf(ejectionKeys, "at_least"), "how many requests the instance, and the others, must have had in that time"},
	{SectionEjection, "time", Supported, timeForm, "30s", boundOf(ejectionKeys, "time"), "how long the first ejection lasts; the next ones two, three, ... times as long. For each such time of good service one is forgotten"},
	{SectionEjection, "most_time", Supported, timeForm, "5m", boundOf(ejectionKeys, "most_time"), "the longest time"},
	{SectionEjection, "most", Supported, `percentage with up to two decimals: "25%"`, "50%", "above 0%, up to 50%", "no instance is ejected if more than this share of them would then be ejected or unhealthy"},

	{SectionRoute, "weight", Supported, percentForm, "what the written weights leave of 100%, shared", "0% to 100%", "the share of the requests that no condition took"},
	{SectionRoute, "condition", Supported, "text, or map of condition or ref", "none", "http ports only", "when the route applies"},
	{SectionRoute, "condition_strength", Supported, percentForm, "100% with a condition", "0% to 100%", "the share of the matching requests that the route really takes"},
	{SectionRoute, "rewrites", Supported, "list of maps of path, or refs", "none", "http ports only", "changes of the path"},
	{SectionRoute, "balance", Supported, balanceForm, "sluice.balance of the gateway", "uri, url_param and hdr need an http port", "how the route chooses among its instances"},
	{SectionRoute, "selector", Supported, "selector", "", "8 KB; paths of one segment", "the instances of the route"},
	{SectionRoute, "metadata", Supported, "map", "", "", "free notes; kept"},
	{SectionRoute, "sluice", Supported, "map", "", "", "settings that go beyond Vamp"},
	{SectionRoute, "ref", Supported, "text", "", "", "a stored route instead; also written reference"},
	{SectionRoute, "reference", Supported, "text", "", "", "the same as ref"},
	{SectionRoute, "name", Supported, "text", "", "no white space, no / [ ]", "stored routes only"},
	{SectionRoute, "kind", Supported, "routes", "routes", "", kindMeaning},
	{SectionRoute, "import", Supported, "text or list of texts", "", "", "stored routes only: as for gateways"},
	{SectionRoute, "lookup_name", Ignored, "any", "", "", "answer only"},
	{SectionRoute, "targets", Ignored, "any", "", "", "answer only"},

	{SectionRouteOwn, "weight", Supported, `percentage with up to two decimals: "12.5%"`, "", "0% to 100% in steps of 0.01%", "a weight finer than 1%, instead of weight"},
	{SectionRouteOwn, "health", Supported, healthWritten, ofGateway, "", healthMeaning},
	{SectionRouteOwn, "ejection", Supported, ejectionWritten, ofGateway, "", ejectionMeaning},
	{SectionRouteOwn, "timeouts", Supported, "map", "those of the gateway", "of tcp ports: connect and tunnel", "how long things may take"},
	{SectionRouteOwn, "retries", Supported, "map", "as its keys say", "http ports only", "what is tried again when an instance fails"},
	{SectionRouteOwn, "headers", Supported, "map of request and response", "none", "http ports only", "changes of header fields"},
	{SectionRouteOwn, "redirect", Supported, "map of to and code", "none", "http ports only", "answers with another place to go to, instead of a target"},
	{SectionRouteOwn, keyTLS, Supported, "on, off or a map", "off", "routes to instances", "how instances are spoken to in TLS"},
	{SectionRouteOwn, keyProxyProtocol, Supported, "v1, v2 or none", "none", "routes to instances", "the header of the PROXY protocol with which connections to instances begin"},
	{SectionRouteOwn, keyProtocol, Supported, "http1, h2, h2c or grpc", "http1", "routes to instances; h2 with tls, h2c without; http1 with proxy_protocol", "what is spoken to instances: HTTP/1.1, or HTTP/2 in TLS (h2) or in plain text (h2c); grpc is h2 with tls, otherwise h2c"},
	{SectionRouteOwn, "limits", Supported, "map", "those of the gateway", "http ports only", "how large messages may be, how slow clients, and how much there may be to do"},
	{SectionRouteOwn, "slow_start", Supported, slowStartForm, ofGateway, boundOf(slowStartKeys, "slow_start"), slowStartMeaning},

	{SectionHeaders, "request", Supported, "map of remove, set and add", "", "", "what changes on the way to the target"},
	{SectionHeaders, "response", Supported, "map of remove, set and add", "", "", "what changes on the way to the client"},

	{SectionHeaderChanges, "remove", Supported, "text or list of texts", "", "names of fields", "fields that go; first of the three"},
	{SectionHeaderChanges, "set", Supported, "map of texts with %[...]", "", "names of fields", "fields that stand in place of all of their name"},
	{SectionHeaderChanges, "add", Supported, "map of texts with %[...]", "", "names of fields; not Host", "fields beside those that are there; last of the three"},

	{SectionRedirect, "to", Supported, "text with %[...]", "", "a URL or a path", "where the client is sent; required"},
	{SectionRedirect, "code", Supported, "301, 302, 303, 307 or 308", "302", "", "the status"},

	{SectionRouteTLS, "ca", Supported, fileForm, "those of the system", "", "who vouches for instances"},
	{SectionRouteTLS, "name", Supported, "host name or IP address", "the host name of the route", "needed for addresses and selectors, but with verify: false", "the server name that is sent, and for which certificates must be"},
	{SectionRouteTLS, "certificate", Supported, fileForm, "none", "with key", "what is shown to instances that ask for one"},
	{SectionRouteTLS, "key", Supported, fileForm, "", "with certificate", "its key"},
	{SectionRouteTLS, "verify", Supported, "true or false", "true", "", "false takes any certificate: whoever is in between can read and change everything"},
	{SectionRouteTLS, "min_version", Supported, minVersionForm, `"1.2"`, "", minVersionMeaning},

	{SectionRouteLimits, "body", Supported, bodyForm, ofGateway, boundOf(sizes, "body"), bodyMeaning},
	{SectionRouteLimits, "answer_head", Supported, sizeForm, ofGateway, boundOf(sizes, "answer_head"), answerHeadMeaning},
	{SectionRouteLimits, "min_rate", Supported, rateForm, ofGateway, rateBound, rateMeaning},
	{SectionRouteLimits, "requests", Supported, countForm, ofGateway, boundOf(amounts, "requests"), requestsMeaning},
	{SectionRouteLimits, "instance_requests", Supported, countForm, ofGateway, boundOf(amounts, "instance_requests"), instanceRequestsMeaning},
	{SectionRouteLimits, "queue", Supported, "number", ofGateway, boundOf(amounts, "queue"), queueMeaning},
	{SectionRouteLimits, "queue_time", Supported, timeForm, ofGateway, boundOf(amounts, "queue_time"), queueTimeMeaning},
	{SectionRouteLimits, "rate", Supported, rateMapForm, "none", "", "how many requests the route takes in a time, beside the rate of the gateway; more are answered 429"},
	{SectionRouteLimits, "breaker", Supported, breakerForm, ofGateway, "", breakerMeaning},

	{SectionRouteTimeouts, "connect", Supported, timeForm, ofGateway, boundOf(times, "connect"), connectMeaning},
	{SectionRouteTimeouts, "first_byte", Supported, timeForm, ofGateway, boundOf(times, "first_byte"), firstByteMeaning},
	{SectionRouteTimeouts, "idle", Supported, timeForm, ofGateway, boundOf(times, "idle"), idleMeaning},
	{SectionRouteTimeouts, "upstream_keep_alive", Supported, timeForm, ofGateway, boundOf(times, "upstream_keep_alive"), upstreamKeepAliveMeaning},
	{SectionRouteTimeouts, "tunnel", Supported, timeForm, ofGateway, boundOf(times, "tunnel"), tunnelMeaning},
	{SectionRouteTimeouts, "total", Supported, totalForm, ofGateway, boundOf(times, "total"), totalMeaning},
	{SectionRouteTimeouts, "half_closed", Supported, totalForm, ofGateway, boundOf(times, "half_closed"), halfClosedMeaning},

	{SectionRetries, "attempts", Supported, "number", "2", boundOf(retryKeys, "attempts"), "how many instances are tried after the first one"},
	{SectionRetries, "statuses", Supported, "status or list of statuses", "none", "400 to 599", "the answers after which another instance is asked, if the request may be sent twice"},
	{SectionRetries, "methods", Supported, "text or list of texts", "none", "up to 8, in capital letters", "methods that may be sent twice, beside GET, HEAD, OPTIONS and TRACE"},
	{SectionRetries, "budget", Supported, `percentage with up to two decimals: "12.5%"`, "20%", "0% to 100%", "the share of the requests under way on the route that may be retries"},
	{SectionRetries, "budget_min", Supported, "number", "3", boundOf(retryKeys, "budget_min"), "how many retries may be under way beside that share"},

	{SectionCondition, "condition", Supported, "text", "", "", "the condition; required"},
	{SectionCondition, "metadata", Supported, "map", "", "", "free notes"},
	{SectionCondition, "ref", Supported, "text", "", "", "a stored condition instead; also written reference"},
	{SectionCondition, "reference", Supported, "text", "", "", "the same as ref"},
	{SectionCondition, "name", Supported, "text", "", "no white space, no / [ ]", "stored conditions only"},
	{SectionCondition, "kind", Supported, "conditions", "conditions", "", kindMeaning},
	{SectionCondition, "import", Supported, "text or list of texts", "", "", "stored conditions only: as for gateways"},
	{SectionCondition, "lookup_name", Ignored, "any", "", "", "answer only"},

	{SectionRewrite, "path", Supported, "NEW if CONDITION", "", "", "the new path and when it applies; required"},
	{SectionRewrite, "metadata", Supported, "map", "", "", "free notes"},
	{SectionRewrite, "ref", Supported, "text", "", "", "a stored rewrite instead; also written reference"},
	{SectionRewrite, "reference", Supported, "text", "", "", "the same as ref"},
	{SectionRewrite, "name", Supported, "text", "", "no white space, no / [ ]", "stored rewrites only"},
	{SectionRewrite, "kind", Supported, "rewrites", "rewrites", "", kindMeaning},
	{SectionRewrite, "import", Supported, "text or list of texts", "", "", "stored rewrites only: as for gateways"},
	{SectionRewrite, "lookup_name", Ignored, "any", "", "", "answer only"},
}

// boundOf says between what a key of limits or timeouts is allowed.
func boundOf(list []quantity, key string) string { return quantityOf(list, key).bound() }

// keysBySection indexes schema.
var keysBySection = func() map[Section][]Key {
	m := make(map[Section][]Key)
	for _, k := range schema {
		m[k.Section] = append(m[k.Section], k)
	}
	return m
}()

// key finds a key of a section.
func (s Section) key(name string) (Key, bool) {
	for _, k := range keysBySection[s] {
		if k.Name == name {
			return k, true
		}
	}
	return Key{}, false
}

// names returns the keys of a section that a user may have meant.
func (s Section) names() []string {
	var names []string
	for _, k := range keysBySection[s] {
		if k.Support != Ignored {
			names = append(names, k.Name)
		}
	}
	return names
}
