// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"go.yaml.in/yaml/v3"

	"github.com/sluice-mesh/sluice/cmd/internal/node"
	"github.com/sluice-mesh/sluice/proxy/admin"
	"github.com/sluice-mesh/sluice/proxy/http1"
	"github.com/sluice-mesh/sluice/proxy/live"
	"github.com/sluice-mesh/sluice/routing"
)

// explainFlags are the flags of sluice explain.
type explainFlags struct {
	files []string
	// instances are those that selectors find, with files.
	instances instanceFlags
	admin     string
	token     string // file
	plane     connection
	headers   []string
	cookies   []string
	tickets   []string
	output    string
	asked     routing.ExplainRequest
	// certificate is that of the client, if any of it is given.
	certificate routing.ExplainCertificate

	virtualHostsPort    int
	virtualHostsTLSPort int
	virtualHostsDomain  string
	trust               *http1.Trust // with files
}

func newExplain() *cobra.Command {
	var f explainFlags
	cmd := &cobra.Command{
		Use:   "explain [METHOD] URL",
		Short: "Say which route takes a request, and why",
		Long: `Explain decides a request as the proxy would and tells the story: which gateway
takes it, each condition with what it saw, the draws of strength and weights,
where it goes, and with which shares requests like it go elsewhere. No request
is sent, and no draw is taken away from those that are.

With -f it reads files, as sluice run would serve them; every address in them
is taken to be reachable. With --host or --context it asks a control plane in the
same way about all gateways of --namespace. Without, it asks the proxy whose
admin server is on --admin, which knows what is reachable now. Only what is
given is sent: there is no User-Agent unless -H says so.

A URL of https is a request over TLS: the client asks for the server name of the
URL, or of --sni, and has the certificate that --client-cert-subject and
--client-cert-san describe. A URL of tcp is a connection to a tcp port; with
--sni or --alpn it is one over TLS.

Draws are those of the next request; --ticket fixes them: N for all of them,
strength=N or weights=N for one kind, strength@GATEWAY=N for one gateway, and
random=N for the number that conditions see which leave something to chance.

It exits with 0 if a gateway takes the request, with 1 if none does, not even
the connection, or the proxy cannot be asked, and with 2 for wrong use.`,
		Example: `  sluice explain http://127.0.0.1:9050/cart
  sluice explain GET http://shop.example/cart -H 'User-Agent: Firefox' --cookie tier=gold -f gateways/
  sluice explain GET http://shop.example/cart -f gateways/ --why-not shop-1.1.0
  sluice explain https://shop.example/cart -f gateways/ --client-cert-san cart.internal
  sluice explain tcp://db.example:5432 --sni eu.db.example --client-ip 192.0.2.7
  sluice explain GET http://shop.example/cart --host http://127.0.0.1:8090
  sluice explain POST http://127.0.0.1:9050/order --ticket 17 -o json | jq '.shares'`,
		Args: arguments(func(_ *cobra.Command, args []string) error {
			if len(args) == 0 || len(args) > 2 || len(args) == 1 && !strings.ContainsAny(args[0], ".:/") {
				return errors.New("which request? A URL, such as http://shop.example/cart, behind the METHOD if that is not GET")
			}
			return nil
		}),
		RunE: func(cmd *cobra.Command, args []string) error {
			f.asked.Method, f.asked.URL = http.MethodGet, args[len(args)-1]
			if len(args) == 2 {
				f.asked.Method = args[0]
			}
			if cmd.Flags().Changed("file") && cmd.Flags().Changed("admin") {
				return usagef("-f reads files and --admin asks a proxy; one of the two")
			}
			if cmd.Flags().Changed("file") || cmd.Flags().Changed("admin") {
				// The environment may name a control plane for other verbs.
				if given("host", f.plane.host, os.LookupEnv).from == "--host" {
					return usagef("--host asks a control plane; without -f and --admin")
				}
				f.plane = connection{}
			}
			return f.run(cmd)
		},
	}
	flags := cmd.Flags()
	flags.StringArrayVarP(&f.headers, "header", "H", nil, "header, 'Name: value'; may be repeated")
	flags.StringArrayVar(&f.cookies, "cookie", nil, "cookie, NAME=VALUE; may be repeated")
	flags.StringVar(&f.asked.ClientIP, "client-ip", "127.0.0.1", "IP address that the connection comes from")
	flags.StringVar(&f.asked.SNI, "sni", "", "server name that the client asks for over TLS, - for none (default the host of an https URL)")
	flags.StringSliceVar(&f.asked.ALPN, "alpn", nil, "protocols that the client offers over TLS, with commas between them (default http/1.1 of an https URL)")
	flags.StringVar(&f.certificate.Subject, "client-cert-subject", "", "subject of the client's certificate, such as CN=cart,O=Example")
	flags.StringArrayVar(&f.certificate.SANs, "client-cert-san", nil, "DNS name, email address or URI in the client's certificate; may be repeated")
	flags.StringArrayVarP(&f.files, "file", "f", nil, "file or directory with gateways, - for standard input; may be repeated")
	f.instances.flags(cmd)
	connectionFlags(cmd, &f.plane)
	flags.StringVar(&f.admin, "admin", admin.DefaultAddr, "address of the admin server of a proxy to ask")
	flags.StringVar(&f.token, "admin-token-file", "", "file with the token that the proxy asks for there")
	flags.StringVar(&f.asked.Gateway, "gateway", "", "gateway that takes the request, whatever the port and the host")
	flags.StringVar(&f.asked.WhyNot, "why-not", "", "route: say what kept the request away from it")
	flags.StringArrayVar(&f.tickets, "ticket", nil, "fix draws: N, strength=N, weights=N, random=N, strength@GATEWAY=N; may be repeated")
	flags.StringVarP(&f.output, "output", "o", "text", "form of the result: text, json or yaml")
	flags.IntVar(&f.virtualHostsPort, "virtual-hosts-port", 80, "port of all virtual hosts, with -f")
	flags.IntVar(&f.virtualHostsTLSPort, "virtual-hosts-tls-port", 443, "port of all virtual hosts that speak TLS, with -f")
	node.TrustFlag(cmd, &f.trust)
	flags.StringVar(&f.virtualHostsDomain, "virtual-hosts-domain", "", "domain below which every gateway gets a virtual host, with -f (default none)")
	return cmd
}

func (f *explainFlags) run(cmd *cobra.Command) error {
	if f.output != "text" && f.output != "json" && f.output != "yaml" {
		return usagef("--output: %q is not a form; text, json or yaml", f.output)
	}
	if err := f.describe(); err != nil {
		return err
	}
	e, err := f.explain(cmd)
	if err != nil {
		return f.told(err)
	}
	if err := printExplanation(cmd.OutOrStdout(), e, f.output); err != nil {
		return err
	}
	if len(e.Hops) == 0 && e.Outcome.Location == "" {
		return &exit{Code: exitError}
	}
	return nil
}

// describe takes headers, cookies and tickets from the flags.
func (f *explainFlags) describe() error {
	for _, line := range f.headers {
		name, value, found := strings.Cut(line, ":")
		if !found {
			return usagef("--header: %q has no colon; 'Name: value'", line)
		}
		f.asked.Headers = append(f.asked.Headers, routing.HeaderField{Name: name, Value: strings.TrimSpace(value)})
	}
	for _, cookie := range f.cookies {
		if !strings.Contains(cookie, "=") {
			return usagef("--cookie: %q has no value; NAME=VALUE", cookie)
		}
	}
	if len(f.cookies) > 0 {
		f.asked.Headers = append(f.asked.Headers, routing.HeaderField{Name: "Cookie", Value: strings.Join(f.cookies, "; ")})
	}
	if f.certificate.Subject != "" || len(f.certificate.SANs) > 0 {
		f.asked.Certificate = &f.certificate
	}
	for _, ticket := range f.tickets {
		if err := f.asked.Ticket.Set(ticket); err != nil {
			return usagef("--ticket: %w", err)
		}
	}
	return nil
}

// asksPlane reports whether a control plane is to be asked.
func (f *explainFlags) asksPlane() bool { return f.plane.host != "" || f.plane.context != "" }

// askPlane asks a control plane.
func (f *explainFlags) askPlane(cmd *cobra.Command) (*routing.Explanation, error) {
	// --namespace is what $namespace stands for in selectors, too; its default
	// is no namespace of a control plane.
	if strings.Contains(f.instances.namespace, "/") {
		f.plane.namespace = f.instances.namespace
	}
	c, err := f.plane.open()
	if err != nil {
		return nil, err
	}
	defer c.Close()
	e, err := c.Explain(cmd.Context(), f.asked)
	return e, advised(err)
}

// explain explains over files, or asks a control plane or a proxy.
func (f *explainFlags) explain(cmd *cobra.Command) (*routing.Explanation, error) {
	if f.asksPlane() {
		return f.askPlane(cmd)
	}
	if len(f.files) == 0 {
		return askProxy(cmd.Context(), f.admin, f.token, f.asked)
	}
	v, err := validate(f.files, cmd.InOrStdin(), f.virtualHostsDomain, f.instances)
	if err != nil {
		return nil, err
	}
	for _, fault := range v.faults {
		if fault.Severity == routing.Refused {
			fmt.Fprintf(cmd.ErrOrStderr(), "refused, and left out: %v\n", fault)
		}
	}
	return v.snapshot.Explain(f.asked, routing.ExplainOptions{
		VirtualHostsPort:    f.virtualHostsPort,
		VirtualHostsTLSPort: f.virtualHostsTLSPort,
		Vouched:             f.trust.Vouches,
		Client:              f.trust.Client,
		Headers:             f.trust.Added,
		CallStatus:          live.CallStatus,
	})
}

// told says with what flag or argument something is wrong.
func (f *explainFlags) told(err error) error {
	wrong, ok := errors.AsType[*routing.ExplainError](err)
	if !ok {
		return err
	}
	names := map[string]string{
		"method": "METHOD", "url": "URL", "headers": "--header", "client_ip": "--client-ip",
		"gateway": "--gateway", "ticket": "--ticket", "sni": "--sni", "alpn": "--alpn",
		"client_certificate": "--client-cert-subject, --client-cert-san",
	}
	if name, known := names[wrong.Field]; known {
		return usagef("%s: %s", name, wrong.Problem)
	}
	return usage(err)
}

// askTimeout bounds how long a proxy may take for an explanation.
const askTimeout = 10 * time.Second

// maxAnswerBytes bounds an explanation. The largest tables that are read make
// less.
const maxAnswerBytes = 64 << 20

// askProxy asks the admin server of a proxy, and shows it the token in a file
// if one is named.
func askProxy(ctx context.Context, address, tokenFile string, asked routing.ExplainRequest) (*routing.Explanation, error) {
	ctx, cancel := context.WithTimeout(ctx, askTimeout)
	defer cancel()
	body, err := json.Marshal(asked)
	if err != nil {
		return nil, err
	}
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, "http://"+address+"/explain", bytes.NewReader(body))
	if err != nil {
		return nil, usagef("--admin: %q is not an address; HOST:PORT, such as %s", address, admin.DefaultAddr)
	}
	r.Header.Set("Content-Type", "application/json")
	if tokenFile != "" {
		token, err := admin.ReadToken(tokenFile)
		if err != nil {
			return nil, fmt.Errorf("--admin-token-file: %w", err)
		}
		r.Header.Set("Authorization", "Bearer "+token)
	}
	resp, err := http.DefaultClient.Do(r)
	if err != nil {
		return nil, fmt.Errorf("no proxy can be asked at --admin %s: %w; name its admin address, or files with -f", address, errors.Unwrap(err))
	}
	defer resp.Body.Close()
	answer, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswerBytes))
	if err != nil {
		return nil, fmt.Errorf("--admin %s: %w", address, err)
	}
	return readAnswer(address, resp.StatusCode, answer)
}

// readAnswer takes an explanation, or what is wrong, from an answer.
func readAnswer(address string, status int, answer []byte) (*routing.Explanation, error) {
	if status == http.StatusOK {
		var e routing.Explanation
		if err := json.Unmarshal(answer, &e); err == nil {
			return &e, nil
		}
	}
	if status == http.StatusUnauthorized {
		return nil, fmt.Errorf("--admin %s: the proxy asks for another token; name its file with --admin-token-file", address)
	}
	var refusal struct{ Error *routing.ExplainError }
	if json.Unmarshal(answer, &refusal) == nil && refusal.Error != nil {
		return nil, refusal.Error
	}
	return nil, fmt.Errorf("--admin %s: what is there does not explain requests; it answered %d", address, status)
}

func printExplanation(w io.Writer, e *routing.Explanation, output string) error {
	switch output {
	case "json":
		return printJSON(w, e)
	case "yaml":
		return printYAML(w, e)
	default:
		_, err := io.WriteString(w, e.Format())
		return err
	}
}

// printYAML prints what encoding/json makes of v, with its names and order, as
// YAML.
func printYAML(w io.Writer, v any) error {
	text, err := json.Marshal(v)
	if err != nil {
		return err
	}
	var node yaml.Node
	if err := yaml.Unmarshal(text, &node); err != nil { // JSON is YAML
		return err
	}
	plain(&node)
	enc := yaml.NewEncoder(w)
	enc.SetIndent(2)
	if err := enc.Encode(&node); err != nil {
		return err
	}
	return enc.Close()
}

// plain takes braces and needless quotes away.
func plain(n *yaml.Node) {
	n.Style = 0
	for _, child := range n.Content {
		plain(child)
	}
}
