// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/user"
	"strings"

	"github.com/spf13/cobra"

	"github.com/sluice-mesh/sluice/control/client"
)

// connection are the flags of every verb that asks a control plane.
type connection struct {
	host      string
	namespace string
	tokenFile string
	ca        string
	context   string
	config    string
}

// connectionFlags adds them, but for the namespace.
func connectionFlags(cmd *cobra.Command, c *connection) {
	flags := cmd.Flags()
	flags.StringVar(&c.host, "host", "", "URL of the control plane (default that of the context, else "+client.DefaultServer+")")
	flags.StringVar(&c.tokenFile, "token-file", "", "file with the token to show there; SLUICE_TOKEN may hold the token itself")
	flags.StringVar(&c.ca, "ca", "", "file with the certificates of who vouches for the control plane (default the authorities of the system)")
	flags.StringVar(&c.context, "context", "", "context of the configuration that says all this (default the one it names)")
	flags.StringVar(&c.config, "config", "", "file of contexts (default "+configDefault+")")
}

// flags adds all of them.
func (c *connection) flags(cmd *cobra.Command) {
	connectionFlags(cmd, c)
	cmd.Flags().StringVarP(&c.namespace, "namespace", "n", "", "namespace, organisation/environment (default that of the context, else "+client.DefaultNamespace+")")
	_ = cmd.RegisterFlagCompletionFunc("context", c.completeContexts)
}

// setting is one thing that a connection is made of, and where it was said.
type setting struct{ value, from string }

// settings are all of them. Values of secrets are where they come from.
type settings struct {
	context, host, namespace, token, tokenFile, ca setting
}

// settle finds what counts: flags before the environment, the environment
// before the context, the context before defaults.
func (c *connection) settle(lookup func(string) (string, bool)) (settings, error) {
	path, config, err := c.readConfig(lookup)
	if err != nil {
		return settings{}, err
	}
	var s settings
	var chosen configContext
	s.context = first(given("context", c.context, lookup), setting{config.Context, path})
	if name := s.context.value; name != "" {
		found, ok := config.Contexts[name]
		if !ok {
			return settings{}, usagef("%s: there is no context %q in %s; %s", s.context.from, name, path, known(config))
		}
		chosen = found
	}
	in := path + ", context " + s.context.value
	s.host = first(given("host", c.host, lookup), setting{chosen.Host, in}, setting{client.DefaultServer, "default"})
	s.namespace = first(given("namespace", c.namespace, lookup), setting{chosen.Namespace, in}, setting{client.DefaultNamespace, "default"})
	s.ca = first(given("ca", c.ca, lookup), setting{chosen.CA, in})
	s.tokenFile = given("token-file", c.tokenFile, lookup)
	if token, _ := lookup("SLUICE_TOKEN"); token != "" && s.tokenFile.value == "" {
		s.token = setting{token, "SLUICE_TOKEN"}
		return s, nil
	}
	s.tokenFile = first(s.tokenFile, setting{chosen.TokenFile, in})
	// A token is for the control plane that it was written down beside.
	if s.tokenFile.from == in && s.host.from != in {
		s.tokenFile = setting{}
	}
	return s, nil
}

// given returns the value of a flag, which the environment may have set.
func given(flag, value string, lookup func(string) (string, bool)) setting {
	if value == "" {
		return setting{}
	}
	name := "SLUICE_" + strings.ToUpper(strings.ReplaceAll(flag, "-", "_"))
	if env, _ := lookup(name); env == value {
		return setting{value, name}
	}
	return setting{value, "--" + flag}
}

// first returns the first setting that has a value.
func first(all ...setting) setting {
	for _, s := range all {
		if s.value != "" {
			return s
		}
	}
	return setting{}
}

// maxTokenBytes bounds what is read of a file for a token.
const maxTokenBytes = 4 << 10

// open makes the client that the flags describe. It connects to nothing yet.
func (c *connection) open() (*client.Client, error) {
	s, err := c.settle(os.LookupEnv)
	if err != nil {
		return nil, err
	}
	o := client.Options{Server: s.host.value, Namespace: s.namespace.value, Token: s.token.value, Author: author()}
	if s.tokenFile.value != "" {
		token, err := readBounded(s.tokenFile.value, maxTokenBytes)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", s.tokenFile.from, err)
		}
		if o.Token = strings.TrimSpace(string(token)); o.Token == "" {
			return nil, usagef("%s: %s is empty; it is to hold a token, as 'sluice pki token' makes it", s.tokenFile.from, s.tokenFile.value)
		}
	}
	if s.ca.value != "" {
		certificates, err := readBounded(s.ca.value, maxFileBytes)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", s.ca.from, err)
		}
		o.Roots = x509.NewCertPool()
		if !o.Roots.AppendCertsFromPEM(certificates) {
			return nil, usagef("%s: %s holds no certificate in PEM", s.ca.from, s.ca.value)
		}
	}
	cl, err := client.New(o)
	return cl, usage(err)
}

// author returns the name of the person at the keyboard; empty if unknown.
func author() string {
	u, err := user.Current()
	if err != nil {
		return ""
	}
	return u.Username
}

func readBounded(path string, most int64) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer func() { _ = f.Close() }()
	data, err := io.ReadAll(io.LimitReader(f, most+1))
	if err == nil && int64(len(data)) > most {
		err = fmt.Errorf("%s is longer than %d bytes", path, most)
	}
	return data, err
}

// advised says with an error of the client what to do about it.
func advised(err error) error {
	if err == nil {
		return nil
	}
	if u, ok := errors.AsType[*client.UnreachableError](err); ok {
		return fmt.Errorf("%w: %s", err, adviceOnReaching(u))
	}
	e, ok := errors.AsType[*client.Error](err)
	if !ok {
		return err
	}
	switch e.Status {
	case http.StatusUnauthorized:
		return fmt.Errorf("%w: show a token, with --token-file or SLUICE_TOKEN; 'sluice pki token --role operator' makes one", err)
	case http.StatusForbidden:
		return fmt.Errorf("%w: this needs a token of another rank or namespace, see 'sluice pki token --help'", err)
	}
	return err
}

func adviceOnReaching(u *client.UnreachableError) string {
	_, unknown := errors.AsType[x509.UnknownAuthorityError](u)
	_, invalid := errors.AsType[x509.CertificateInvalidError](u)
	_, other := errors.AsType[x509.HostnameError](u)
	switch {
	case unknown:
		return "name the file of its authority with --ca, such as pki/ca.crt"
	case invalid, other:
		return "its certificate is not for that name and time; make another with 'sluice pki issue --role control'"
	case u.Written:
		return "look before you try again"
	case errors.Is(u, context.DeadlineExceeded):
		return "it takes too long to answer"
	case strings.Contains(u.Err.Error(), "server gave HTTP response to HTTPS client"):
		return "it speaks no TLS; set --host to http://..."
	}
	return "start it with 'sluice control', or set --host"
}

// isNotFound reports that there is no such artifact.
func isNotFound(err error) bool {
	e, ok := errors.AsType[*client.Error](err)
	return ok && e.Status == http.StatusNotFound
}
