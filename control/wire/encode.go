// SPDX-License-Identifier: Apache-2.0

package wire

import (
	"math"
	"net/netip"
	"time"

	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/sluice-mesh/sluice/control/controlpb"
	"github.com/sluice-mesh/sluice/routing"
)

// FromGateway returns the message of a gateway, which shares nothing with it
// but texts. The only errors are of metadata, whose values must be such as
// JSON has; they are *FieldError.
//
// A number that has no place in the message becomes one that ToGateway
// refuses.
func FromGateway(g *routing.Gateway) (*controlpb.Gateway, error) {
	w := &writer{}
	m := &controlpb.Gateway{
		Name:          g.Name,
		Metadata:      w.entries(path{name: "metadata"}, g.Metadata),
		Port:          fromPort(g.Port),
		Sticky:        unword[controlpb.Sticky](g.Sticky, stickies),
		VirtualHosts:  g.VirtualHosts,
		Selector:      g.Selector,
		Deployed:      g.Deployed,
		Split:         unword[controlpb.SplitMode](g.Split, splitModes),
		Unavailable:   unword[controlpb.UnavailableMode](g.Unavailable, unavailableModes),
		Affinity:      fromAffinity(g.Affinity),
		Balance:       g.Balance,
		Locality:      fromLocality(g.Locality),
		Limits:        fromLimits(g.Limits),
		Timeouts:      fromTimeouts(g.Timeouts),
		Load:          fromLoad(g.Load),
		Health:        fromHealth(g.Health),
		Ejection:      fromEjection(g.Ejection),
		SlowStartNs:   int64(g.SlowStart),
		Forwarded:     unword[controlpb.ForwardedMode](g.Forwarded, forwardedModes),
		Tls:           fromListenTLS(g.TLS),
		ProxyFrom:     fromNetworks(g.ProxyFrom),
		BetweenRoutes: unword[controlpb.BetweenRoutes](g.BetweenRoutes, betweenRoutes),
		Http2:         fromHTTP2(&g.HTTP2),
		NoRoute:       number(g.NoRoute),
		Portless:      g.Portless,
		Unexplained:   g.Unexplained,
		At:            fromPosition(g.At),
	}
	if s := g.Service; s != nil {
		m.Service = &controlpb.Service{Host: s.Host, Port: fromPort(s.Port)}
	}
	if len(g.Routes) > 0 {
		m.Routes = make([]*controlpb.Route, len(g.Routes))
		for i, r := range g.Routes {
			m.Routes[i] = w.route(path{name: "routes", index: i + 1}, r)
		}
	}
	return m, w.err()
}

// writer collects the faults of a gateway on its way out.
type writer struct{ faults }

func (w *writer) route(p path, r *routing.Route) *controlpb.Route {
	m := &controlpb.Route{
		Path:          r.Path,
		Metadata:      w.entries(path{up: &p, name: "metadata"}, r.Metadata),
		WeightCp:      uint32(r.Weight),
		Condition:     r.Condition,
		StrengthCp:    uint32(r.Strength),
		Balance:       r.Balance,
		Selector:      r.Selector,
		Headers:       fromHeaders(r.Headers),
		Limits:        fromLimits(r.Limits),
		Timeouts:      fromTimeouts(r.Timeouts),
		Load:          fromLoad(r.Load),
		Retries:       fromRetries(r.Retries),
		Health:        fromHealth(r.Health),
		Ejection:      fromEjection(r.Ejection),
		SlowStartNs:   int64(r.SlowStart),
		Tls:           fromDialTLS(r.TLS),
		ProxyProtocol: unword[controlpb.ProxyVersion](r.ProxyProtocol, proxyVersions),
		Protocol:      unword[controlpb.Protocol](r.Protocol, protocols),
		At:            fromPosition(r.At),
		ConditionAt:   fromPosition(r.ConditionAt),
	}
	for i := range r.Rewrites {
		one := &r.Rewrites[i]
		m.Rewrites = append(m.Rewrites, &controlpb.Rewrite{Path: one.Path, Ref: one.Ref, At: fromPosition(one.At)})
	}
	if to := r.Redirect; to != nil {
		m.Redirect = &controlpb.Redirect{To: to.To, Code: number(to.Code)}
	}
	if len(r.Instances) > 0 {
		m.Instances = make([]*controlpb.Instance, len(r.Instances))
		for i, one := range r.Instances {
			m.Instances[i] = fromInstance(one)
		}
	}
	return m
}

// number fits n; what does not fit becomes a number that is refused.
func number(n int) uint32 {
	if n < 0 || n > math.MaxInt32 {
		return math.MaxUint32
	}
	return uint32(n)
}

func fromPosition(p routing.Position) *controlpb.Position {
	if p == (routing.Position{}) {
		return nil
	}
	return &controlpb.Position{Source: p.Source, Line: number(p.Line), Column: number(p.Column)}
}

func fromPort(p routing.Port) *controlpb.Port {
	if p == (routing.Port{}) {
		return nil
	}
	return &controlpb.Port{Number: number(p.Number), Type: unword[controlpb.PortType](p.Type, portTypes), Text: p.Text}
}

func fromAffinity(a routing.Affinity) *controlpb.Affinity {
	if a == (routing.Affinity{}) {
		return nil
	}
	return &controlpb.Affinity{
		Key: unword[controlpb.KeySource](a.Key, keySources), Name: a.Name, Instance: a.Instance, Cut: a.Cut,
	}
}

func fromLocality(l routing.Locality) *controlpb.Locality {
	if l == (routing.Locality{}) {
		return nil
	}
	return &controlpb.Locality{Prefer: unword[controlpb.Nearness](l.Prefer, nearnesses), EnoughCp: uint32(l.Enough)}
}

func fromLimits(p routing.Part[routing.Limits]) *controlpb.Limits {
	if !p.Written() {
		return nil
	}
	l := p.Value()
	m := &controlpb.Limits{
		HeadBytes: l.Head, Fields: l.Fields, TargetBytes: l.Target, BodyBytes: l.Body,
		AnswerHeadBytes: l.AnswerHead, Connections: l.Connections,
	}
	if l.MinRate != (routing.Rate{}) {
		m.MinRate = &controlpb.Rate{Bytes: l.MinRate.Bytes, WindowNs: int64(l.MinRate.Window)}
	}
	return m
}

func fromTimeouts(p routing.Part[routing.Timeouts]) *controlpb.Timeouts {
	if !p.Written() {
		return nil
	}
	t := p.Value()
	return &controlpb.Timeouts{
		HeadNs: int64(t.Head), ConnectNs: int64(t.Connect), FirstByteNs: int64(t.FirstByte), IdleNs: int64(t.Idle),
		KeepAliveNs: int64(t.KeepAlive), UpstreamKeepAliveNs: int64(t.UpstreamKeepAlive), TunnelNs: int64(t.Tunnel),
		TotalNs: int64(t.Total), HalfClosedNs: int64(t.HalfClosed),
	}
}

func fromLoad(p routing.Part[routing.Load]) *controlpb.Load {
	if !p.Written() {
		return nil
	}
	l := p.Value()
	m := &controlpb.Load{
		Requests: l.Requests, InstanceRequests: l.InstanceRequests, Queue: l.Queue, QueueTimeNs: int64(l.QueueTime),
	}
	used := len(l.Rates)
	for used > 0 && l.Rates[used-1] == (routing.RequestRate{}) {
		used--
	}
	for _, r := range l.Rates[:used] {
		one := &controlpb.RequestRate{Requests: r.Requests, PerNs: int64(r.Per), Burst: r.Burst}
		if r.Key != (routing.ClientKey{}) {
			one.Key = &controlpb.ClientKey{Source: unword[controlpb.KeySource](r.Key.Source, keySources), Name: r.Key.Name}
		}
		m.Rates = append(m.Rates, one)
	}
	if b := &l.Breaker; *b != (routing.Breaker{}) {
		m.Breaker = &controlpb.Breaker{
			Never: b.Never, ErrorsCp: uint32(b.Errors), SlowCp: uint32(b.Slow), SlowerThanNs: int64(b.SlowerThan),
			OverNs: int64(b.Over), AtLeast: b.AtLeast, OpenForNs: int64(b.OpenFor), Trials: b.Trials,
		}
	}
	return m
}

func fromRetries(p routing.Part[routing.Retries]) *controlpb.Retries {
	if !p.Written() {
		return nil
	}
	r := p.Value()
	m := &controlpb.Retries{
		Attempts: number(r.Attempts), Statuses: fromStatuses(r.Statuses.Has),
		BudgetCp: uint32(r.Budget), Spare: r.Spare, Written: r.Written,
	}
	for _, method := range r.Methods {
		if method == "" {
			break
		}
		m.Methods = append(m.Methods, method)
	}
	return m
}

func fromHealth(p routing.Part[routing.Health]) *controlpb.HealthCheck {
	if !p.Written() {
		return nil
	}
	h := p.Value()
	return &controlpb.HealthCheck{
		Kind: unword[controlpb.HealthKind](h.Kind, healthKinds), EveryNs: int64(h.Every), TimeoutNs: int64(h.Timeout),
		Fall: number(h.Fall), Rise: number(h.Rise), PanicCp: uint32(h.Panic), Service: h.Service,
		Method: h.Method, Path: h.Path, Host: h.Host, Fields: h.Fields, Status: fromStatuses(h.Status.Has), Body: h.Body,
	}
}

func fromEjection(p routing.Part[routing.Ejection]) *controlpb.Ejection {
	if !p.Written() {
		return nil
	}
	e := p.Value()
	return &controlpb.Ejection{
		Off: e.Off, Failures: number(e.Failures), Connects: number(e.Connects), Statuses: fromStatuses(e.Statuses.Has),
		ErrorsCp: uint32(e.Errors), OverNs: int64(e.Over), AtLeast: number(e.AtLeast),
		TimeNs: int64(e.Time), MostTimeNs: int64(e.MostTime), MostCp: uint32(e.Most),
	}
}

// fromStatuses returns the statuses that a set has as ranges.
func fromStatuses(has func(int) bool) (ranges []*controlpb.Range) {
	for code := 0; code <= lastStatus; code++ {
		if !has(code) {
			continue
		}
		from := code
		for code < lastStatus && has(code+1) {
			code++
		}
		ranges = append(ranges, &controlpb.Range{From: uint32(from), To: uint32(code)})
	}
	return ranges
}

func fromListenTLS(t *routing.ListenTLS) *controlpb.ListenTLS {
	if t == nil {
		return nil
	}
	m := &controlpb.ListenTLS{
		MinVersion: uint32(t.MinVersion), ClientAuth: unword[controlpb.ClientAuth](t.ClientAuth, clientAuths),
		ClientCa: t.ClientCA, Plain: unword[controlpb.PlainHTTP](t.Plain, plainAnswers), Hsts: t.HSTS,
	}
	for _, pair := range t.Certificates {
		m.Certificates = append(m.Certificates, &controlpb.KeyPair{Certificate: pair.Certificate, Key: pair.Key})
	}
	return m
}

func fromDialTLS(t *routing.DialTLS) *controlpb.DialTLS {
	if t == nil {
		return nil
	}
	m := &controlpb.DialTLS{Ca: t.CA, Name: t.Name, SkipVerify: t.SkipVerify, MinVersion: uint32(t.MinVersion)}
	if t.KeyPair != (routing.KeyPair{}) {
		m.KeyPair = &controlpb.KeyPair{Certificate: t.KeyPair.Certificate, Key: t.KeyPair.Key}
	}
	return m
}

func fromHTTP2(h *routing.HTTP2) *controlpb.HTTP2 {
	if *h == (routing.HTTP2{}) {
		return nil
	}
	return &controlpb.HTTP2{
		Off: h.Off, Streams: number(h.Streams), HeaderListBytes: number(h.HeaderList),
		MaxAgeNs: int64(h.MaxAge), MaxAgeGraceNs: int64(h.MaxAgeGrace), PingNs: int64(h.Ping),
	}
}

func fromNetworks(all []netip.Prefix) (texts []string) {
	for _, n := range all {
		texts = append(texts, n.String())
	}
	return texts
}

func fromHeaders(h *routing.Headers) *controlpb.Headers {
	if h == nil {
		return nil
	}
	return &controlpb.Headers{Request: fromHeaderChanges(&h.Request), Response: fromHeaderChanges(&h.Response)}
}

func fromHeaderChanges(c *routing.HeaderChanges) *controlpb.HeaderChanges {
	if len(c.Remove)+len(c.Set)+len(c.Add) == 0 {
		return nil
	}
	return &controlpb.HeaderChanges{Remove: c.Remove, Set: fromFields(c.Set), Add: fromFields(c.Add)}
}

func fromFields(fields []routing.HeaderField) (all []*controlpb.Field) {
	for _, f := range fields {
		all = append(all, &controlpb.Field{Name: f.Name, Value: f.Value})
	}
	return all
}

func fromInstance(i *routing.Instance) *controlpb.Instance {
	m := &controlpb.Instance{
		Name: i.Name, Address: i.Address.String(), Port: number(i.Port), Declared: number(i.Declared), Index: number(i.Index),
		Kind: i.Kind, Namespace: i.Namespace, Image: i.Image, Zone: i.Zone, Node: i.Node,
		Weight: number(i.Weight), Ready: i.Ready, Since: fromTime(i.Since), At: fromPosition(i.At),
		Id: i.ID, Names: i.Names, Unproven: i.Unproven, SlowStartNs: int64(i.SlowStart),
	}
	for _, l := range i.Labels {
		m.Labels = append(m.Labels, &controlpb.Label{Name: l.Name, Value: l.Value})
	}
	return m
}

func fromTime(t time.Time) *timestamppb.Timestamp {
	if t.IsZero() {
		return nil
	}
	return timestamppb.New(t)
}
