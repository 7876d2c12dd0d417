// SPDX-License-Identifier: Apache-2.0

package routing_test

import (
	"fmt"
	"os"
	"regexp"
	"strings"
	"testing"

	"github.com/sluice-mesh/sluice/routing"
)

const referencePath = "../docs/gateways.md"

var (
	referenceKeys   = regexp.MustCompile(`(?s)(<!-- keys: [^\n]*-->\n).*(<!-- end of keys -->)`)
	referenceBlocks = regexp.MustCompile("(?s)```yaml\n(.*?)```")
)

func reference(t *testing.T) string {
	t.Helper()
	text, err := os.ReadFile(referencePath)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

func TestReferenceListsTheSchema(t *testing.T) {
	text := reference(t)
	if !referenceKeys.MatchString(text) {
		t.Fatal("the reference has no place for the keys")
	}
	want := referenceKeys.ReplaceAllStringFunc(text, func(old string) string {
		parts := referenceKeys.FindStringSubmatch(old)
		return parts[1] + schemaTables() + parts[2]
	})
	if text == want {
		return
	}
	if !*update {
		t.Fatalf("%s differs from the schema; run go test ./routing -update", referencePath)
	}
	if err := os.WriteFile(referencePath, []byte(want), 0o644); err != nil {
		t.Fatal(err)
	}
}

func schemaTables() string {
	var b strings.Builder
	var section routing.Section
	for _, k := range routing.Schema() {
		if k.Section != section {
			section = k.Section
			fmt.Fprintf(&b, "\n### `%s`\n\n| key | form | default | bound | meaning |\n| --- | --- | --- | --- | --- |\n", section)
		}
		meaning := k.Meaning
		switch k.Support {
		case routing.Ignored:
			meaning += " (*ignored*)"
		case routing.Supported:
		}
		row := fmt.Sprintf("| `%s` | %s | %s | %s | %s |", k.Name, k.Form, k.Default, k.Bound, meaning)
		b.WriteString(strings.ReplaceAll(row, "|  |", "| |") + "\n")
	}
	return strings.ReplaceAll(b.String(), "|  |", "| |") + "\n"
}

func TestExamplesOfTheReferenceAreRead(t *testing.T) {
	blocks := referenceBlocks.FindAllStringSubmatch(reference(t), -1)
	if len(blocks) < 5 {
		t.Fatalf("%d examples, want at least 5", len(blocks))
	}
	for i, b := range blocks {
		docs, faults := routing.Read(fmt.Sprintf("example %d", i+1), []byte(b[1]))
		table, more := routing.Resolve(docs)
		for _, f := range append(faults, more...) {
			t.Errorf("%v in\n%s", f, b[1])
		}
		if len(table.Gateways) == 0 {
			t.Errorf("no gateway in\n%s", b[1])
		}
	}
}

// sample is a value that each supported key accepts.
var sample = map[string]string{
	string(routing.SectionGatewayOwn) + " port": "none",
	"name": "x", "kind": "", "metadata": "{a: b}", "import": "", "port": "80", "virtual_hosts": "[a.example]",
	"routes": "[b]", "service": "{host: h, port: 1}", "deployed": "true", "sluice": "{}",
	"host": "h", "split": "random", "unavailable": "redistribute", "no_route": "404", "forwarded": "both",
	"weight": "100%", "condition": "host == x", "condition_strength": "50%", "balance": "roundrobin",
	"path": "/a if path_beg /b", "rewrites": "[{path: /a if path_beg /b}]", "headers": "{request: {remove: X-A}}", "redirect": "{to: /x}",
	"request": "{set: {X-A: b}}", "response": "{add: {X-A: b}}", "remove": "X-A", "set": "{X-A: b}", "add": "{X-A: b}", "to": "/y", "code": "301",
	"locality": "zone", "prefer": "node", "enough": "50%",
	"limits": "{}", "fields": "10", "target": "1KB", "body": "1GB", "answer_head": "4KB", "min_rate": "1KB over 10s",
	"timeouts": "{}", "head": "1s", "limits head": "8KB", "connect": "1s", "first_byte": "1s", "idle": "1s", "keep_alive": "1s",
	"requests": "10", "instance_requests": "none", "queue": "0", "queue_time": "50ms", "rate": "[{requests: 5}, {requests: 5, key: ip}]",
	"breaker": "{errors: 50%}", "per": "1m", "burst": "20", "key": "cookie(a)", "level": "instance", "at_zero": "",
	"errors": "12.5%", "latency": "p99 > 500ms", "over": "1m", "at_least": "5", "open_for": "1s", "trials": "1",
	"retries": "{attempts: 1}", "attempts": "0", "statuses": "[502, 503]", "methods": "[PUT]", "budget": "12.5%", "budget_min": "0",
	"upstream_keep_alive": "1s", "tunnel": "1h", "total": "1m", "half_closed": "0s",
	"health": "http", "ejection": "none", "slow_start": "30s", "type": "http", "every": "1s", "timeout": "1s", "fall": "1", "rise": "1", "panic": "none",
	"*.sluice.health path": "\"/healthz?full\"", "method": "HEAD", "*.sluice.health service": "shop.v1.Cart", "*.sluice.health headers": "{X-Check: '1'}", "status": "[200-299, 404]",
	"failures": "10", "connects": "none", "*.sluice.ejection errors": "30%", "*.sluice.ejection over": "1m", "*.sluice.ejection at_least": "5",
	"tls": "{certificates: {certificate: a.crt, key: a.key}}", "route.sluice tls": "{ca: a.crt, name: a.example}", "certificates": "[{certificate: a, key: b}]", "gateway.sluice.tls min_version": "1.2",
	"min_version": "\"1.3\"", "client_auth": "none", "client_ca": "ca.crt", "plain": "serve", "hsts": "365d", "certificate": "a.crt", "route.sluice.tls key": "a.key", "gateway.sluice.tls.certificates key": "a.key",
	"max_age": "1h", "subdomains": "true", "preload": "false", "proxy_protocol": "[10.0.0.0/8, 192.0.2.7]", "route.sluice proxy_protocol": "v2",
	"between_routes": "leastconn", "from": "10.0.0.1", "ca": "ca.crt", "route.sluice.tls name": "a.example", "verify": "false",
	"explain": "none", "http2": "{max_concurrent_streams: 10}", "max_concurrent_streams": "250", "max_connection_age": "30m", "max_connection_age_grace": "10s", "ping": "none", "protocol": "h2c",
	"time": "1s", "most_time": "10m", "most": "25%",
}

// Every key of the schema is really read as it says: accepted or passed
// over.
func TestSchemaIsWhatIsRead(t *testing.T) {
	frames := map[routing.Section]string{
		routing.SectionGateway:       "{name: x, %s}",
		routing.SectionService:       "{name: x, service: {host: h, port: 1, %s}}",
		routing.SectionGatewayOwn:    "{name: x, sluice: {%s}}",
		routing.SectionTLS:           "{name: x, sluice: {tls: {certificates: {certificate: a, key: b}, %s}}}",
		routing.SectionKeyPair:       "{name: x, sluice: {tls: {certificates: {certificate: a, key: b, %s}}}}",
		routing.SectionHSTS:          "{name: x, sluice: {tls: {certificates: {certificate: a, key: b}, hsts: {max_age: 1d, %s}}}}",
		routing.SectionProxyProtocol: "{name: x, sluice: {proxy_protocol: {%s}}}",
		routing.SectionRouteTLS:      "{kind: routes, name: x, sluice: {tls: {certificate: a, key: b, %s}}}",
		routing.SectionHTTP2:         "{name: x, sluice: {http2: {%s}}}",
		routing.SectionAffinity:      "{name: x, sluice: {affinity: {key: ip, %s}}}",
		routing.SectionLocality:      "{name: x, sluice: {locality: {%s}}}",
		routing.SectionLimits:        "{name: x, sluice: {limits: {%s}}}",
		routing.SectionRate:          "{name: x, sluice: {limits: {rate: {requests: 10, %s}}}}",
		routing.SectionBreaker:       "{kind: routes, name: x, sluice: {limits: {breaker: {errors: 10%%, %s}}}}",
		routing.SectionHealth:        "{name: x, sluice: {health: {%s}}}",
		routing.SectionEjection:      "{name: x, sluice: {ejection: {%s}}}",
		routing.SectionTimeouts:      "{name: x, sluice: {timeouts: {%s}}}",
		routing.SectionRoute:         "{kind: routes, name: x, %s}",
		routing.SectionRouteOwn:      "{kind: routes, name: x, sluice: {%s}}",
		routing.SectionHeaders:       "{kind: routes, name: x, sluice: {headers: {%s}}}",
		routing.SectionHeaderChanges: "{kind: routes, name: x, sluice: {headers: {response: {%s}}}}",
		routing.SectionRedirect:      "{kind: routes, name: x, sluice: {redirect: {to: /x, %s}}}",
		routing.SectionRouteLimits:   "{kind: routes, name: x, sluice: {limits: {%s}}}",
		routing.SectionRouteTimeouts: "{kind: routes, name: x, sluice: {timeouts: {%s}}}",
		routing.SectionRetries:       "{kind: routes, name: x, sluice: {retries: {%s}}}",
		routing.SectionCondition:     "{kind: conditions, name: x, condition: host == y, %s}",
		routing.SectionRewrite:       "{kind: rewrites, name: x, path: /a if path_beg /b, %s}",
	}
	for _, k := range routing.Schema() {
		value := sample[k.Name]
		if k.Section == routing.SectionLimits && k.Name == "head" {
			value = sample["limits head"]
		}
		if own := sample[string(k.Section)+" "+k.Name]; own != "" {
			value = own
		}
		if k.Name == "ref" || k.Name == "reference" || k.Support == routing.Supported && value == "" {
			continue // the text cases show these
		}
		if k.Support != routing.Supported {
			value = map[string]string{"sticky": "route", "selector": "label(a)(b)"}[k.Name]
			if value == "" {
				value = "5"
			}
		}
		frame := frames[k.Section]
		if k.Name == "between_routes" {
			frame = "{name: x, port: 1/tcp, sluice: {%s}}"
		}
		text := fmt.Sprintf(frame, k.Name+": "+value)
		_, faults := routing.Read("x", []byte(text))
		var refused []string
		for _, f := range faults {
			if f.Severity == routing.Refused {
				refused = append(refused, f.Code)
			}
		}
		if len(refused) > 0 {
			t.Errorf("%s %s in %s: refused with %q", k.Section, k.Name, text, refused)
		}
	}
}
