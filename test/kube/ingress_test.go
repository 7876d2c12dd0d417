// SPDX-License-Identifier: Apache-2.0

//go:build linux

package kube_test

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/base64"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/sluice-mesh/sluice/test/certs"
	"github.com/sluice-mesh/sluice/test/freeport"
	"github.com/sluice-mesh/sluice/test/kube/bed"
)

// edge is a sluice that serves the Ingresses of a namespace of Kubernetes, by a
// class of its own.
type edge struct {
	*sluice

	ns, class  string
	plain, tls int // ports
}

func newEdge(t *testing.T, args ...string) *edge {
	t.Helper()
	b := start(t)
	ns := b.Namespace(t)
	plain, secured := freeport.One(t), freeport.One(t)
	e := &edge{ns: ns, class: "class-" + ns, plain: plain, tls: secured}
	b.Apply(t, ns, fmt.Sprintf("apiVersion: networking.k8s.io/v1\nkind: IngressClass\nmetadata: {name: %s}\nspec: {controller: sluice.dev/ingress}\n", e.class))
	t.Cleanup(func() {
		_ = b.Client.NetworkingV1().IngressClasses().Delete(context.WithoutCancel(t.Context()), e.class, metav1.DeleteOptions{})
	})
	e.sluice = newSluice(t, b, ns, append([]string{
		"--ingress-class", e.class, "--virtual-hosts-port", strconv.Itoa(e.plain), "--virtual-hosts-tls-port", strconv.Itoa(e.tls),
	}, args...)...)
	return e
}

// echo is a Service of pods that answer with its name and theirs. The port of
// the Service has a name and another number than that of the pods.
func echo(called string, pods int) string {
	return fmt.Sprintf(`
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: %[1]s}
spec:
  replicas: %[2]d
  selector: {matchLabels: {app: %[1]s}}
  template:
    metadata: {labels: {app: %[1]s}}
    spec:
      terminationGracePeriodSeconds: 2
      containers:
      - name: echo
        image: %[3]s
        ports: [{containerPort: 8080, name: web}]
        env:
        - {name: %[4]s, value: origin}
        - {name: VERSION, value: %[1]s}
        - {name: POD, valueFrom: {fieldRef: {fieldPath: metadata.name}}}
        readinessProbe: {httpGet: {path: /, port: 8080}, periodSeconds: 1}
---
apiVersion: v1
kind: Service
metadata: {name: %[1]s}
spec:
  selector: {app: %[1]s}
  ports: [{name: http, port: 80, targetPort: web}, {name: other, port: 81, targetPort: 9}]
`, called, pods, selfImage, roleVariable)
}

// rules is an Ingress of one host, with paths such as "Exact /foo one".
func (e *edge) rules(called, host string, paths ...string) string {
	var b strings.Builder
	fmt.Fprintf(&b, "\n---\napiVersion: networking.k8s.io/v1\nkind: Ingress\nmetadata: {name: %s}\nspec:\n  ingressClassName: %s\n  rules:\n  - host: %q\n    http:\n      paths:\n", called, e.class, host)
	for _, p := range paths {
		f := strings.Fields(p)
		fmt.Fprintf(&b, "      - {pathType: %s, path: %q, backend: {service: {name: %s, port: {name: http}}}}\n", f[0], f[1], f[2])
	}
	return b.String()
}

// secret is a Secret with a certificate.
func secret(called string, p certs.Pair) string {
	data := base64.StdEncoding.EncodeToString
	return fmt.Sprintf("\n---\napiVersion: v1\nkind: Secret\nmetadata: {name: %s}\ntype: kubernetes.io/tls\ndata: {tls.crt: %s, tls.key: %s}\n", called, data(p.Certificate), data(p.Key))
}

// ask asks for a path of a host, over a connection of its own, and returns the
// status and the words of the answer.
func (e *edge) ask(ctx context.Context, scheme, host, path string, config *tls.Config) (status int, words []string, shown *tls.ConnectionState, err error) {
	port := e.plain
	if scheme == "https" {
		port = e.tls
	}
	client := &http.Client{
		Transport: &http.Transport{
			DisableKeepAlives: true, TLSClientConfig: config,
			DialContext: func(ctx context.Context, network, _ string) (net.Conn, error) {
				return new(net.Dialer).DialContext(ctx, network, "127.0.0.1:"+strconv.Itoa(port))
			},
		},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, scheme+"://"+host+path, http.NoBody)
	if err != nil {
		return 0, nil, nil, err
	}
	answer, err := client.Do(r)
	if err != nil {
		return 0, nil, nil, err
	}
	defer answer.Body.Close()
	body, err := io.ReadAll(answer.Body)
	return answer.StatusCode, strings.Fields(string(body)), answer.TLS, err
}

// served returns who serves a path of a host: the Service, or the status if
// none does.
func (e *edge) served(ctx context.Context, host, path string) (string, error) {
	status, words, _, err := e.ask(ctx, "http", host, path, nil)
	switch {
	case err != nil:
		return "", err
	case status != http.StatusOK:
		return strconv.Itoa(status), nil
	case len(words) != 2:
		return "", fmt.Errorf("%s%s is answered %q", host, path, words)
	}
	return words[0], nil
}

// expect waits until a path of a host is served by whom it should.
func (e *edge) expect(t *testing.T, host, path, want string) {
	t.Helper()
	e.b.Eventually(t, host+path+" is served by "+want, func(ctx context.Context) error {
		if got, err := e.served(ctx, host, path); err != nil || got != want {
			return fmt.Errorf("it is served by %q, %w", got, err)
		}
		return nil
	})
}

func TestIngressScenarios(t *testing.T) {
	t.Parallel()
	e := newEdge(t)
	scenarios := []struct {
		name       string
		text       string // the Ingress; empty if that of the one before serves
		host, path string
		want       string
	}{
		{"an Ingress of another class is ignored", strings.Replace(e.rules("a1", "a1.test", "Prefix / one"), e.class, "other", 1), "a1.test", "/", "503"},
		{"a host has its rules", e.rules("b1", "b1.test", "Prefix / one"), "b1.test", "/", "one"},
		{"in any letter case", "", "B1.Test", "/", "one"},
		{"and another host has not", "", "b2.test", "/", "503"},
		{"a wildcard stands for one label", e.rules("c1", "*.c1.test", "Prefix / two"), "x.c1.test", "/", "two"},
		{"not for none", "", "c1.test", "/", "503"},
		{"and not for two", "", "x.y.c1.test", "/", "404"},
		{"an exact path", e.rules("d1", "d1.test", "Exact /foo one"), "d1.test", "/foo", "one"},
		{"not with a slash", "", "d1.test", "/foo/", "404"},
		{"not in another letter case", "", "d1.test", "/FOO", "404"},
		{"no other path", "", "d1.test", "/bar", "404"},
		{"an exact path with a slash is not one without", e.rules("d2", "d2.test", "Exact /foo/ one"), "d2.test", "/foo", "404"},
		{"a prefix is itself", e.rules("f1", "f1.test", "Prefix /foo one"), "f1.test", "/foo", "one"},
		{"with a slash", "", "f1.test", "/foo/", "one"},
		{"and what is below it", "", "f1.test", "/foo/bar", "one"},
		{"by elements", "", "f1.test", "/foobar", "404"},
		{"in its letter case", "", "f1.test", "/FOO", "404"},
		{"a slash at the end of a prefix does not count", e.rules("f2", "f2.test", "Prefix /foo/ one"), "f2.test", "/foo", "one"},
		{"nor when it is there", "", "f2.test", "/foo/", "one"},
		{"the longest prefix wins", e.rules("g1", "g1.test", "Prefix / one", "Prefix /aaa two", "Prefix /aaa/bbb three"), "g1.test", "/aaa/bbb/ccc", "three"},
		{"the next longest has what it lacks", "", "g1.test", "/aaa/bbbxyz", "two"},
		{"and / all the rest", "", "g1.test", "/ccc", "one"},
		{"exact comes before prefix", e.rules("h1", "h1.test", "Prefix /foo one", "Exact /foo two"), "h1.test", "/foo", "two"},
		{"for that path alone", "", "h1.test", "/foo/", "one"},
		{"several objects make one host", e.rules("i1", "i1.test", "Prefix / one") + e.rules("i2", "i1.test", "Prefix /foo two"), "i1.test", "/foo", "two"},
		{"each with its rules", "", "i1.test", "/", "one"},
		{"a Service that is missing keeps its share", e.rules("k1", "k1.test", "Prefix / nowhere"), "k1.test", "/", "503"},
		{"a port where nothing listens is no other", strings.Replace(e.rules("k2", "k2.test", "Prefix / one"), "name: http", "number: 81", 1), "k2.test", "/", "502"},
		{"a port by its number", strings.Replace(e.rules("l1", "l1.test", "Prefix / one"), "name: http", "number: 80", 1), "l1.test", "/", "one"},
	}
	objects := []string{echo("one", 1), echo("two", 1), echo("three", 1), echo("rest", 3)}
	for _, s := range scenarios {
		objects = append(objects, s.text)
	}
	e.b.Apply(t, e.ns, strings.Join(objects, ""))
	for _, s := range scenarios {
		e.expect(t, s.host, s.path, s.want)
	}
	e.canary(t)
	// A default backend has what nobody else has, and spreads it.
	e.b.Apply(t, e.ns, fmt.Sprintf("apiVersion: networking.k8s.io/v1\nkind: Ingress\nmetadata: {name: rest}\nspec: {ingressClassName: %s, defaultBackend: {service: {name: rest, port: {name: http}}}}\n", e.class))
	for _, at := range []string{"b2.test/", "x.y.c1.test/any"} {
		host, path, _ := strings.Cut(at, "/")
		e.expect(t, host, "/"+path, "rest")
	}
	e.expect(t, "d1.test", "/foo", "one")
	e.expect(t, "d1.test", "/bar", "404")
	e.b.Eventually(t, "the default backend is spread over its pods", func(ctx context.Context) error {
		pods := make(map[string]int)
		for range 30 {
			_, words, _, err := e.ask(ctx, "http", "b2.test", "/", nil)
			if err != nil || len(words) != 2 {
				return fmt.Errorf("%q, %w", words, err)
			}
			pods[words[1]]++
		}
		for _, n := range pods {
			if len(pods) != 3 || n != 10 {
				return fmt.Errorf("the pods have %v of 30 requests, want 10 each of 3", pods)
			}
		}
		return nil
	})
}

// canary sees that a canary has its share, to the request.
func (e *edge) canary(t *testing.T) {
	t.Helper()
	const annotations = `{nginx.ingress.kubernetes.io/canary: "true", nginx.ingress.kubernetes.io/canary-weight: "20"}`
	annotated := strings.Replace(e.rules("m2", "m1.test", "Prefix / two"), "name: m2", "name: m2, annotations: "+annotations, 1)
	e.b.Apply(t, e.ns, e.rules("m1", "m1.test", "Prefix / one")+annotated)
	e.b.Eventually(t, "the share of the canary", func(ctx context.Context) error {
		n := 0
		for range 100 {
			got, err := e.served(ctx, "m1.test", "/")
			if err != nil {
				return err
			}
			if got == "two" {
				n++
			}
		}
		if n != 20 {
			return fmt.Errorf("it has %d of 100 requests, want 20", n)
		}
		return nil
	})
}

// shows waits until TLS for a host shows a certificate, and the host is served
// by whom it should.
func (e *edge) shows(t *testing.T, ca *certs.CA, host string, want certs.Pair, by string) {
	t.Helper()
	e.b.Eventually(t, host+" shows its certificate", func(ctx context.Context) error {
		status, words, state, err := e.ask(ctx, "https", host, "/", &tls.Config{RootCAs: ca.Pool()})
		switch {
		case err != nil:
			return err
		case !state.PeerCertificates[0].Equal(want.Leaf):
			return fmt.Errorf("it shows %v, want %v", state.PeerCertificates[0].SerialNumber, want.Leaf.SerialNumber)
		case status != http.StatusOK || len(words) != 2 || words[0] != by:
			return fmt.Errorf("it is answered %d %q, want %s", status, words, by)
		}
		return nil
	})
}

func TestIngressTLS(t *testing.T) {
	t.Parallel()
	e := newEdge(t)
	ca := certs.New(t)
	first, next, wild := ca.Issue(t, "a.test"), ca.Issue(t, "a.test"), ca.Issue(t, "*.w.test")
	secured := e.rules("a", "a.test", "Prefix / one") + "  tls: [{hosts: [a.test], secretName: a}]\n"
	e.b.Apply(t, e.ns, echo("one", 1)+secured)
	// Without its Secret, it is neither shown nor served in plain text.
	e.expect(t, "a.test", "/", "503")
	e.event(t, "a", "there is no Secret a")
	e.b.Apply(t, e.ns, secret("a", first))
	e.shows(t, ca, "a.test", first, "one")
	e.expect(t, "a.test", "/", "308")

	// A connection that is open when the Secret is renewed goes on.
	open, err := (&tls.Dialer{Config: &tls.Config{RootCAs: ca.Pool(), ServerName: "a.test"}}).DialContext(t.Context(), "tcp", "127.0.0.1:"+strconv.Itoa(e.tls))
	if err != nil {
		t.Fatal(err)
	}
	defer open.Close()
	e.b.Apply(t, e.ns, secret("a", next))
	e.shows(t, ca, "a.test", next, "one")
	if _, err := io.WriteString(open, "GET / HTTP/1.1\r\nHost: a.test\r\nConnection: close\r\n\r\n"); err != nil {
		t.Fatal(err)
	}
	if answer, err := io.ReadAll(open); err != nil || !bytes.HasPrefix(answer, []byte("HTTP/1.1 200 ")) {
		t.Errorf("the connection that was open is answered %q, %v", answer, err)
	}

	// One that is of no use leaves the last good one.
	torn := next
	torn.Key = first.Key
	e.b.Apply(t, e.ns, secret("a", torn))
	e.event(t, "a", "has a key that is not that of its certificate")
	e.shows(t, ca, "a.test", next, "one")

	// Gateways by hand may name Secrets of the namespace, and no others.
	port := freeport.One(t)
	byHand := func(secret string) string {
		return fmt.Sprintf("apiVersion: v1\nkind: ConfigMap\nmetadata: {name: by-hand, labels: {sluice.dev/gateways: \"true\"}}\ndata:\n  gateway.yaml: |\n    name: by-hand\n    port: %d\n    sluice: {tls: {certificates: \"secret:%s\"}}\n    routes: {all: {weight: 100%%, selector: label(app)(one)}}\n", port, secret)
	}
	e.b.Apply(t, e.ns, secret("wild", wild)+"\n---\n"+byHand(e.ns+"/wild"))
	e.b.Eventually(t, "the gateway by hand", func(ctx context.Context) error {
		conn, err := (&tls.Dialer{Config: &tls.Config{RootCAs: ca.Pool(), ServerName: "x.w.test"}}).DialContext(ctx, "tcp", "127.0.0.1:"+strconv.Itoa(port))
		if err != nil {
			return err
		}
		return conn.Close()
	})
	e.b.Apply(t, e.ns, byHand("default/wild"))
	e.b.Eventually(t, "a Secret of another namespace is refused", func(ctx context.Context) error {
		text, err := fetch(ctx, "http://"+e.api+"/api/v1/status")
		if err == nil && !strings.Contains(text, "the Secret wild is of the namespace default") {
			err = fmt.Errorf("the status does not say so: %s", text)
		}
		return err
	})

	// Keys are nowhere but in the files of the proxy, which are its owner's.
	keysStayHidden(t, e, first, next, wild)
}

// keysStayHidden sees that no key is in the log, the memory of the cluster or
// what the API tells, and that files with one are their owner's.
func keysStayHidden(t *testing.T, e *edge, pairs ...certs.Pair) {
	t.Helper()
	var lines []string
	for _, p := range pairs {
		for line := range strings.Lines(string(p.Key)) {
			if line = strings.TrimSpace(line); line != "" && !strings.HasPrefix(line, "-") {
				lines = append(lines, line, base64.StdEncoding.EncodeToString([]byte(line))[:40])
			}
		}
	}
	has := func(text string) bool {
		return slices.ContainsFunc(lines, func(line string) bool { return strings.Contains(text, line) })
	}
	if has(e.log.String()) {
		t.Error("the log shows a key")
	}
	err := filepath.WalkDir(e.dir, func(path string, f os.DirEntry, err error) error {
		if err != nil || f.IsDir() {
			return err
		}
		text, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		info, err := f.Info()
		secret := strings.Contains(path, "/proxy/secrets/")
		if err == nil && has(string(text)) && (!secret || info.Mode().Perm() != 0o600) {
			t.Errorf("%s of mode %v has a key", path, info.Mode())
		}
		return err
	})
	if err != nil {
		t.Error(err)
	}
}

// event waits until an Ingress was told something.
func (e *edge) event(t *testing.T, ingress, note string) {
	t.Helper()
	e.b.Eventually(t, "the event "+note, func(ctx context.Context) error {
		list, err := e.b.Client.EventsV1().Events(e.ns).List(ctx, metav1.ListOptions{})
		if err != nil {
			return err
		}
		var told []string
		for i := range list.Items {
			if one := &list.Items[i]; one.Regarding.Kind == "Ingress" && one.Regarding.Name == ingress {
				if told = append(told, one.Note); strings.Contains(one.Note, note) && one.Type == "Warning" {
					return nil
				}
			}
		}
		return fmt.Errorf("it was told %q", told)
	})
}

func TestIngressesAreToldWhatIsWrong(t *testing.T) {
	t.Parallel()
	e := newEdge(t, "--ingress-status-address", "192.0.2.7,edge.example")
	// The API server takes no Secret of this type without a key, but one of nonsense.
	keyless := secret("keyless", certs.Pair{Certificate: certs.New(t).Issue(t, "a.test").Certificate, Key: []byte("nonsense")})
	e.b.Apply(t, e.ns, keyless+
		e.rules("keyless", "a.test", "Prefix / one")+"  tls: [{secretName: keyless}]\n"+
		e.rules("nowhere", "b.test", "Prefix / nowhere")+
		strings.Replace(e.rules("annotated", "c.test", "Prefix / one"), "name: annotated", `name: annotated, annotations: {nginx.ingress.kubernetes.io/rewrite-target: /}`, 1)+
		strings.Replace(e.rules("bucket", "d.test", "Prefix / one"), "service: {name: one, port: {name: http}}", "resource: {kind: Bucket, name: b}", 1)+
		e.rules("first", "e.test", "Prefix / one"))
	for ingress, note := range map[string]string{
		"keyless":   "the Secret keyless has no certificate and key in PEM that can be used",
		"nowhere":   "there is no Service nowhere with this port",
		"annotated": "the annotation is not understood",
		"bucket":    "the backend is no Service",
	} {
		e.event(t, ingress, note)
	}
	// One that comes later does not take a path from one that was there.
	e.b.Apply(t, e.ns, e.rules("second", "e.test", "Prefix / two"))
	e.event(t, "second", "another rule of the host has the path")
	for _, ingress := range []string{"keyless", "first"} {
		e.b.Eventually(t, "the addresses of "+ingress, func(ctx context.Context) error {
			i, err := e.b.Client.NetworkingV1().Ingresses(e.ns).Get(ctx, ingress, metav1.GetOptions{})
			if err != nil {
				return err
			}
			if got := fmt.Sprint(i.Status.LoadBalancer.Ingress); got != "[{192.0.2.7  []} { edge.example []}]" {
				return fmt.Errorf("the status is %s", got)
			}
			return nil
		})
	}
}

// ingressAddress waits until an Ingress has an address in its status.
func ingressAddress(t *testing.T, b *bed.Bed, ns, ingress, want string) {
	t.Helper()
	b.Eventually(t, "the address "+want, func(ctx context.Context) error {
		i, err := b.Client.NetworkingV1().Ingresses(ns).Get(ctx, ingress, metav1.GetOptions{})
		if err != nil {
			return err
		}
		if all := i.Status.LoadBalancer.Ingress; len(all) != 1 || all[0].IP != want {
			return fmt.Errorf("it has %v", all)
		}
		return nil
	})
}

func TestIngressesHaveTheAddressesOfTheProxies(t *testing.T) {
	t.Parallel()
	b := start(t)
	ns := b.Namespace(t)
	proxies := func(address string) string {
		return "apiVersion: v1\nkind: Service\nmetadata: {name: proxies}\nspec: {ports: [{port: 80}], externalIPs: [" + address + "]}\n"
	}
	b.Apply(t, ns, proxies("192.0.2.8"))
	s := newSluice(t, b, ns, "--ingress-class", "class-"+ns, "--ingress-status-service", ns+"/proxies", "--virtual-hosts-port", strconv.Itoa(freeport.One(t)))
	e := &edge{sluice: s, ns: ns, class: "class-" + ns}
	b.Apply(t, ns, e.rules("a", "a.test", "Prefix / one"))
	ingressAddress(t, b, ns, "a", "192.0.2.8")
	b.Apply(t, ns, proxies("192.0.2.9"))
	ingressAddress(t, b, ns, "a", "192.0.2.9")
}

// documented returns an object that docs/kubernetes.md shows.
func documented(t *testing.T, file string) string {
	t.Helper()
	text, err := os.ReadFile("../../docs/kubernetes.md")
	if err != nil {
		t.Fatal(err)
	}
	_, after, ok := strings.Cut(string(text), "<!-- ingress: "+file+" -->\n```yaml\n")
	object, _, whole := strings.Cut(after, "```\n")
	if !ok || !whole {
		t.Fatalf("docs/kubernetes.md does not show %s", file)
	}
	return object
}

func TestDocumentedIngresses(t *testing.T) {
	t.Parallel()
	e := newEdge(t)
	port := freeport.One(t)
	ca := certs.New(t)
	shop := ca.Issue(t, "secure.shop.example")
	objects := []string{echo("front", 1), echo("front-next", 1), echo("product", 1), secret("shop-tls", shop)}
	for _, file := range []string{"front.yaml", "canary.yaml", "tls.yaml", "gateway.yaml"} {
		object := strings.NewReplacer("ingressClassName: sluice", "ingressClassName: "+e.class, "NAMESPACE", e.ns, "9443", strconv.Itoa(port)).Replace(documented(t, file))
		objects = append(objects, "\n---\n"+object)
	}
	e.b.Apply(t, e.ns, strings.Join(objects, ""))
	e.expect(t, "shop.example", "/products/ie", "product")
	e.b.Eventually(t, "the canary", func(ctx context.Context) error {
		n := make(map[string]int)
		for range 100 {
			got, err := e.served(ctx, "shop.example", "/")
			if err != nil {
				return err
			}
			n[got]++
		}
		if n["front"] != 90 || n["front-next"] != 10 {
			return fmt.Errorf("of 100 requests go %v", n)
		}
		return nil
	})
	e.shows(t, ca, "secure.shop.example", shop, "front")
	e.b.Eventually(t, "the gateway by hand", func(ctx context.Context) error {
		conn, err := (&tls.Dialer{Config: &tls.Config{RootCAs: ca.Pool(), ServerName: "secure.shop.example"}}).DialContext(ctx, "tcp", "127.0.0.1:"+strconv.Itoa(port))
		if err != nil {
			return err
		}
		return conn.Close()
	})
}
