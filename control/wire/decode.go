// SPDX-License-Identifier: Apache-2.0

package wire

import (
	"crypto/tls"
	"net/netip"

	"github.com/sluice-mesh/sluice/control/controlpb"
	"github.com/sluice-mesh/sluice/routing"
)

// ToGateway returns the gateway that a message tells of, which shares texts
// and lists of texts with it. The error joins up to 100 *FieldError in the
// order of the fields; the gateway is nil then. A nil message is one without
// fields, which lacks a name.
func ToGateway(m *controlpb.Gateway) (*routing.Gateway, error) { return toGateway(m, &known{}) }

// toGateway is ToGateway, with what the gateways read before have in common.
func toGateway(m *controlpb.Gateway, before *known) (*routing.Gateway, error) {
	r := &reader{known: before}
	if m.GetName() == "" {
		r.fault(nil, "name", "it is missing")
	}
	g := &routing.Gateway{
		Name:          m.GetName(),
		Metadata:      r.metadata(nil, "metadata", m.GetMetadata(), maxNesting),
		Port:          r.port(nil, "port", m.GetPort()),
		Sticky:        word(r, nil, "sticky", m.GetSticky(), stickies),
		VirtualHosts:  m.GetVirtualHosts(),
		Selector:      m.GetSelector(),
		Service:       r.service(m.GetService()),
		Deployed:      m.GetDeployed(),
		Routes:        r.routes(m.GetRoutes()),
		Split:         word(r, nil, "split", m.GetSplit(), splitModes),
		Unavailable:   word(r, nil, "unavailable", m.GetUnavailable(), unavailableModes),
		Affinity:      r.affinity(m.GetAffinity()),
		Balance:       r.known.text(m.GetBalance()),
		Locality:      r.locality(m.GetLocality()),
		Limits:        routing.PartOf(r.limits(nil, m.GetLimits())),
		Timeouts:      routing.PartOf(r.timeouts(nil, m.GetTimeouts())),
		Load:          routing.PartOf(r.load(nil, m.GetLoad())),
		Health:        routing.PartOf(r.health(nil, m.GetHealth())),
		Ejection:      routing.PartOf(r.ejection(nil, m.GetEjection())),
		SlowStart:     r.time(nil, "slow_start_ns", m.GetSlowStartNs(), routing.SlowStartNone),
		Forwarded:     word(r, nil, "forwarded", m.GetForwarded(), forwardedModes),
		TLS:           r.listenTLS(m.GetTls()),
		ProxyFrom:     r.networks(m.GetProxyFrom()),
		BetweenRoutes: word(r, nil, "between_routes", m.GetBetweenRoutes(), betweenRoutes),
		HTTP2:         r.http2(m.GetHttp2()),
		NoRoute:       r.number(nil, "no_route", m.GetNoRoute(), maxNumber),
		Portless:      m.GetPortless(),
		Unexplained:   m.GetUnexplained(),
		At:            r.position(nil, "at", m.GetAt()),
	}
	switch g.NoRoute {
	case 0, 404, 503:
	default:
		r.fault(nil, "no_route", "%d is neither 404 nor 503", g.NoRoute)
	}
	if err := r.err(); err != nil {
		return nil, err
	}
	return g, nil
}

func (r *reader) routes(all []*controlpb.Route) []*routing.Route {
	if len(all) == 0 {
		return nil
	}
	list := make([]*routing.Route, len(all))
	for i, m := range all {
		list[i] = r.route(&path{name: "routes", index: i + 1}, m)
	}
	return list
}

func (r *reader) route(p *path, m *controlpb.Route) *routing.Route {
	if m.GetPath() == "" {
		r.fault(p, "path", "it is missing")
	}
	return &routing.Route{
		Path:          r.known.text(m.GetPath()),
		Metadata:      r.metadata(p, "metadata", m.GetMetadata(), maxNesting),
		Weight:        r.share(p, "weight_cp", m.GetWeightCp()),
		Condition:     m.GetCondition(),
		Strength:      r.share(p, "strength_cp", m.GetStrengthCp()),
		Balance:       r.known.text(m.GetBalance()),
		Selector:      m.GetSelector(),
		Rewrites:      r.rewrites(p, m.GetRewrites()),
		Headers:       toHeaders(m.GetHeaders()),
		Redirect:      r.redirect(p, m.GetRedirect()),
		Limits:        routing.PartOf(r.limits(p, m.GetLimits())),
		Timeouts:      routing.PartOf(r.timeouts(p, m.GetTimeouts())),
		Load:          routing.PartOf(r.load(p, m.GetLoad())),
		Retries:       routing.PartOf(r.retries(p, m.GetRetries())),
		Health:        routing.PartOf(r.health(p, m.GetHealth())),
		Ejection:      routing.PartOf(r.ejection(p, m.GetEjection())),
		SlowStart:     r.time(p, "slow_start_ns", m.GetSlowStartNs(), routing.SlowStartNone),
		TLS:           r.dialTLS(p, m.GetTls()),
		ProxyProtocol: word(r, p, "proxy_protocol", m.GetProxyProtocol(), proxyVersions),
		Protocol:      word(r, p, "protocol", m.GetProtocol(), protocols),
		Instances:     r.instances(p, m.GetInstances()),
		At:            r.position(p, "at", m.GetAt()),
		ConditionAt:   r.position(p, "condition_at", m.GetConditionAt()),
	}
}

func (r *reader) rewrites(up *path, all []*controlpb.Rewrite) (list []routing.Rewrite) {
	for i, m := range all {
		p := path{up: up, name: "rewrites", index: i + 1}
		list = append(list, routing.Rewrite{Path: m.GetPath(), Ref: m.GetRef(), At: r.position(&p, "at", m.GetAt())})
	}
	return list
}

func toHeaders(m *controlpb.Headers) *routing.Headers {
	if m == nil {
		return nil
	}
	return &routing.Headers{Request: toHeaderChanges(m.GetRequest()), Response: toHeaderChanges(m.GetResponse())}
}

func toHeaderChanges(m *controlpb.HeaderChanges) routing.HeaderChanges {
	return routing.HeaderChanges{Remove: m.GetRemove(), Set: toFields(m.GetSet()), Add: toFields(m.GetAdd())}
}

func toFields(all []*controlpb.Field) (list []routing.HeaderField) {
	for _, m := range all {
		list = append(list, routing.HeaderField{Name: m.GetName(), Value: m.GetValue()})
	}
	return list
}

func (r *reader) redirect(up *path, m *controlpb.Redirect) *routing.Redirect {
	if m == nil {
		return nil
	}
	return &routing.Redirect{To: m.GetTo(), Code: r.number(&path{up: up, name: "redirect"}, "code", m.GetCode(), lastStatus)}
}

func (r *reader) service(m *controlpb.Service) *routing.Service {
	if m == nil {
		return nil
	}
	return &routing.Service{Host: m.GetHost(), Port: r.port(&path{name: "service"}, "port", m.GetPort())}
}

func (r *reader) port(up *path, name string, m *controlpb.Port) routing.Port {
	p := path{up: up, name: name}
	return routing.Port{
		Number: r.number(&p, "number", m.GetNumber(), maxPort),
		Type:   word(r, &p, "type", m.GetType(), portTypes),
		Text:   m.GetText(),
	}
}

func (r *reader) affinity(m *controlpb.Affinity) routing.Affinity {
	key := word(r, &path{name: "affinity"}, "key", m.GetKey(), keySources)
	return routing.Affinity{Key: key, Name: m.GetName(), Instance: m.GetInstance(), Cut: m.GetCut()}
}

func (r *reader) locality(m *controlpb.Locality) routing.Locality {
	p := path{name: "locality"}
	l := routing.Locality{
		Prefer: word(r, &p, "prefer", m.GetPrefer(), nearnesses),
		Enough: r.share(&p, "enough_cp", m.GetEnoughCp()),
	}
	if l.Prefer != routing.NearnessNone && l.Enough == 0 {
		r.fault(&p, "enough_cp", "it is missing beside prefer")
	}
	return l
}

func (r *reader) networks(texts []string) (list []netip.Prefix) {
	for i, text := range texts {
		n, err := netip.ParsePrefix(text)
		switch {
		case err != nil:
			r.fault(&path{name: "proxy_from", index: i + 1}, "", "%q is no network", text)
		case n != n.Masked():
			r.fault(&path{name: "proxy_from", index: i + 1}, "", "%s has bits behind its prefix", n)
		}
		list = append(list, n)
	}
	return list
}

func (r *reader) listenTLS(m *controlpb.ListenTLS) *routing.ListenTLS {
	if m == nil {
		return nil
	}
	p := path{name: "tls"}
	t := &routing.ListenTLS{
		MinVersion: r.tlsVersion(&p, m.GetMinVersion()),
		ClientAuth: word(r, &p, "client_auth", m.GetClientAuth(), clientAuths),
		ClientCA:   m.GetClientCa(),
		Plain:      word(r, &p, "plain", m.GetPlain(), plainAnswers),
		HSTS:       m.GetHsts(),
	}
	for _, pair := range m.GetCertificates() {
		t.Certificates = append(t.Certificates, toKeyPair(pair))
	}
	return t
}

func (r *reader) dialTLS(up *path, m *controlpb.DialTLS) *routing.DialTLS {
	if m == nil {
		return nil
	}
	return &routing.DialTLS{
		CA:         m.GetCa(),
		Name:       m.GetName(),
		KeyPair:    toKeyPair(m.GetKeyPair()),
		SkipVerify: m.GetSkipVerify(),
		MinVersion: r.tlsVersion(&path{up: up, name: "tls"}, m.GetMinVersion()),
	}
}

func toKeyPair(m *controlpb.KeyPair) routing.KeyPair {
	return routing.KeyPair{Certificate: m.GetCertificate(), Key: m.GetKey()}
}

func (r *reader) tlsVersion(p *path, n uint32) uint16 {
	if n != tls.VersionTLS12 && n != tls.VersionTLS13 {
		r.fault(p, "min_version", "%#04x is neither TLS 1.2 nor 1.3", n)
		return 0
	}
	return uint16(n)
}

func (r *reader) http2(m *controlpb.HTTP2) routing.HTTP2 {
	p := path{name: "http2"}
	return routing.HTTP2{
		Off:         m.GetOff(),
		Streams:     r.number(&p, "streams", m.GetStreams(), maxNumber),
		HeaderList:  r.number(&p, "header_list_bytes", m.GetHeaderListBytes(), maxNumber),
		MaxAge:      r.time(&p, "max_age_ns", m.GetMaxAgeNs(), routing.Never),
		MaxAgeGrace: r.time(&p, "max_age_grace_ns", m.GetMaxAgeGraceNs()),
		Ping:        r.time(&p, "ping_ns", m.GetPingNs(), routing.Never),
	}
}

func (r *reader) instances(up *path, all []*controlpb.Instance) []*routing.Instance {
	if len(all) == 0 {
		return nil
	}
	list, room := make([]*routing.Instance, len(all)), make([]routing.Instance, len(all))
	for i, m := range all {
		r.instance(&path{up: up, name: "instances", index: i + 1}, m, &room[i])
		list[i] = &room[i]
	}
	return list
}

func (r *reader) instance(p *path, m *controlpb.Instance, to *routing.Instance) {
	address, err := netip.ParseAddr(m.GetAddress())
	if err != nil {
		r.fault(p, "address", "%q is no address", m.GetAddress())
	}
	*to = routing.Instance{
		Name:      r.known.text(m.GetName()),
		Address:   address,
		Port:      r.number(p, "port", m.GetPort(), maxPort),
		Declared:  r.number(p, "declared", m.GetDeclared(), maxPort),
		Index:     r.number(p, "index", m.GetIndex(), maxNumber),
		Kind:      r.known.text(m.GetKind()),
		Namespace: r.known.text(m.GetNamespace()),
		Image:     r.known.text(m.GetImage()),
		Zone:      r.known.text(m.GetZone()),
		Node:      r.known.text(m.GetNode()),
		Weight:    r.number(p, "weight", m.GetWeight(), maxInstanceWeight),
		Ready:     m.GetReady(),
		Since:     r.moment(p, "since", m.GetSince()),
		At:        r.position(p, "at", m.GetAt()),
		ID:        r.known.text(m.GetId()),
		Unproven:  m.GetUnproven(),
		SlowStart: r.time(p, "slow_start_ns", m.GetSlowStartNs()),
	}
	for _, name := range m.GetNames() {
		to.Names = append(to.Names, r.known.text(name))
	}
	if m.GetPort() == 0 {
		r.fault(p, "port", "it is missing")
	}
	to.Labels = r.known.labels(m.GetLabels())
}

func (r *reader) position(up *path, name string, m *controlpb.Position) routing.Position {
	if m == nil {
		return routing.Position{}
	}
	p := path{up: up, name: name}
	return routing.Position{
		Source: r.known.text(m.GetSource()),
		Line:   r.number(&p, "line", m.GetLine(), maxNumber),
		Column: r.number(&p, "column", m.GetColumn(), maxNumber),
	}
}
