// SPDX-License-Identifier: Apache-2.0

package wire

import (
	"slices"

	"github.com/sluice-mesh/sluice/control/controlpb"
	"github.com/sluice-mesh/sluice/routing"
)

// What each value of an enum on the wire means. The numbers of the two sides
// need not be the same.
var (
	stickies = []string{
		controlpb.Sticky_STICKY_NONE:     "",
		controlpb.Sticky_STICKY_ROUTE:    "route",
		controlpb.Sticky_STICKY_INSTANCE: "instance",
	}
	portTypes = []routing.PortType{
		controlpb.PortType_PORT_TYPE_HTTP: routing.HTTP,
		controlpb.PortType_PORT_TYPE_TCP:  routing.TCP,
	}
	splitModes = []routing.SplitMode{
		controlpb.SplitMode_SPLIT_MODE_EXACT:  routing.SplitExact,
		controlpb.SplitMode_SPLIT_MODE_RANDOM: routing.SplitRandom,
	}
	unavailableModes = []routing.UnavailableMode{
		controlpb.UnavailableMode_UNAVAILABLE_MODE_ERROR:        routing.UnavailableError,
		controlpb.UnavailableMode_UNAVAILABLE_MODE_REDISTRIBUTE: routing.UnavailableRedistribute,
	}
	forwardedModes = []routing.ForwardedMode{
		controlpb.ForwardedMode_FORWARDED_MODE_X:        routing.ForwardedX,
		controlpb.ForwardedMode_FORWARDED_MODE_STANDARD: routing.ForwardedStandard,
		controlpb.ForwardedMode_FORWARDED_MODE_BOTH:     routing.ForwardedBoth,
	}
	keySources = []routing.KeySource{
		controlpb.KeySource_KEY_SOURCE_NONE:   routing.KeyNone,
		controlpb.KeySource_KEY_SOURCE_HEADER: routing.KeyHeader,
		controlpb.KeySource_KEY_SOURCE_COOKIE: routing.KeyCookie,
		controlpb.KeySource_KEY_SOURCE_IP:     routing.KeyIP,
	}
	nearnesses = []routing.Nearness{
		controlpb.Nearness_NEARNESS_NONE: routing.NearnessNone,
		controlpb.Nearness_NEARNESS_NODE: routing.NearnessNode,
		controlpb.Nearness_NEARNESS_ZONE: routing.NearnessZone,
	}
	healthKinds = []routing.HealthKind{
		controlpb.HealthKind_HEALTH_KIND_UNWRITTEN: routing.HealthUnwritten,
		controlpb.HealthKind_HEALTH_KIND_NONE:      routing.HealthNone,
		controlpb.HealthKind_HEALTH_KIND_TCP:       routing.HealthTCP,
		controlpb.HealthKind_HEALTH_KIND_HTTP:      routing.HealthHTTP,
		controlpb.HealthKind_HEALTH_KIND_GRPC:      routing.HealthGRPC,
	}
	clientAuths = []routing.ClientAuth{
		controlpb.ClientAuth_CLIENT_AUTH_NONE:     routing.ClientAuthNone,
		controlpb.ClientAuth_CLIENT_AUTH_OPTIONAL: routing.ClientAuthOptional,
		controlpb.ClientAuth_CLIENT_AUTH_REQUIRED: routing.ClientAuthRequired,
	}
	plainAnswers = []routing.PlainHTTP{
		controlpb.PlainHTTP_PLAIN_HTTP_REDIRECT: routing.PlainRedirect,
		controlpb.PlainHTTP_PLAIN_HTTP_SERVE:    routing.PlainServe,
		controlpb.PlainHTTP_PLAIN_HTTP_REFUSE:   routing.PlainRefuse,
	}
	betweenRoutes = []routing.BetweenRoutes{
		controlpb.BetweenRoutes_BETWEEN_ROUTES_WEIGHTS:   routing.BetweenWeights,
		controlpb.BetweenRoutes_BETWEEN_ROUTES_LEASTCONN: routing.BetweenLeastConn,
	}
	proxyVersions = []routing.ProxyVersion{
		controlpb.ProxyVersion_PROXY_VERSION_NONE: routing.ProxyNone,
		controlpb.ProxyVersion_PROXY_VERSION_V1:   routing.ProxyV1,
		controlpb.ProxyVersion_PROXY_VERSION_V2:   routing.ProxyV2,
	}
	protocols = []routing.Protocol{
		controlpb.Protocol_PROTOCOL_HTTP1: routing.ProtocolHTTP1,
		controlpb.Protocol_PROTOCOL_H2:    routing.ProtocolH2,
		controlpb.Protocol_PROTOCOL_H2C:   routing.ProtocolH2C,
		controlpb.Protocol_PROTOCOL_GRPC:  routing.ProtocolGRPC,
	}
)

// word returns what a value means; one that is unknown is a fault.
func word[R any, W ~int32](r *reader, p *path, field string, w W, meanings []R) R {
	if w < 0 || int(w) >= len(meanings) {
		r.fault(p, field, "%d is an unknown value", int32(w))
		return *new(R)
	}
	return meanings[w]
}

// unword returns the value that means v. There may be none in a table that no
// text asked for; the value that it becomes is unknown to whoever reads it.
func unword[W ~int32, R comparable](v R, meanings []R) W {
	i := slices.Index(meanings, v)
	if i < 0 {
		i = len(meanings)
	}
	return W(i)
}
