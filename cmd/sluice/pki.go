// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"
	"unicode"

	"github.com/spf13/cobra"

	"github.com/sluice-mesh/sluice/control/auth"
)

const day = 24 * time.Hour

// newPKI returns the verbs that make what the control plane and its peers know
// each other by.
func newPKI() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "pki",
		Short: "Make certificates and tokens for the control plane, its proxies and people",
		Long: `A control plane and its proxies know each other by certificates of an authority
of their own. The folder of --dir holds it: ca.key is what everything rests on,
so keep it where neither the control plane nor a proxy runs, if you can. In
DIR/control is what the control plane itself needs: its certificate, and the
hashes of tokens in DIR/control/tokens.

Keys and tokens are never printed, but for a token when it is made.`,
		Example: `  sluice pki init --dir pki --name control.example
  sluice pki issue --dir pki --role proxy --node edge-1 --namespace acme/prod --out edge-1
  sluice pki token --dir pki --role proxy --namespace acme/prod --expires 24h
  sluice pki token --dir pki --role operator --namespace acme/prod --name alice --expires 720h`,
		Args: arguments(cobra.NoArgs),
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.AddCommand(newPKIInit(), newPKIIssue(), newPKIRevoke(), newPKISecrets(), newPKIToken(), newPKITokens())
	return cmd
}

// dirFlag adds the flag of the folder that all verbs of pki share.
func dirFlag(cmd *cobra.Command, dir *string) {
	cmd.Flags().StringVar(dir, "dir", "pki", "folder of the authority")
}

func tokensOf(dir string) *auth.Tokens {
	return auth.NewTokens(auth.DirVault(filepath.Join(dir, "control", "tokens")), nil)
}

func newPKIInit() *cobra.Command {
	var dir string
	var days, caDays int
	r := auth.Request{Identity: auth.Identity{Role: auth.RoleControl}}
	cmd := &cobra.Command{
		Use:   "init",
		Short: "Make an authority, and the certificate of a control plane",
		Long: `Init makes the authority in --dir, and in DIR/control the certificate of a
control plane of all namespaces, which proxies reach by the names and addresses
of --name. It replaces nothing that is there.`,
		Example: `  sluice pki init --dir pki
  sluice pki init --dir pki --name control.example,10.0.0.7 --days 90`,
		Args: arguments(cobra.NoArgs),
		RunE: func(cmd *cobra.Command, _ []string) error {
			r.Identity.Namespaces = []string{auth.Everywhere}
			whole, late := lifetime("ca-days", caDays, 10*auth.MaxLifetime)
			if err := errors.Join(checkDays(&r, days), late); err != nil {
				return usage(err)
			}
			a, err := auth.NewAuthority(whole, nil)
			if err != nil {
				return err
			}
			return initialize(cmd, a, dir, r, days)
		},
	}
	dirFlag(cmd, &dir)
	flags := cmd.Flags()
	flags.StringSliceVar(&r.Names, "name", []string{"localhost", "127.0.0.1", "::1"}, "names and addresses by which proxies reach the control plane; may be repeated")
	flags.StringVar(&r.Identity.Node, "node", "control", "name of the control plane's node")
	flags.IntVar(&days, "days", 365, "how long the certificate of the control plane holds")
	flags.IntVar(&caDays, "ca-days", 3650, "how long the authority holds")
	return cmd
}

// initialize writes an authority, and the certificate of a control plane.
func initialize(cmd *cobra.Command, a *auth.Authority, dir string, r auth.Request, days int) error {
	c, err := a.Issue(r)
	if err != nil {
		return err
	}
	if err := a.Save(dir); err != nil {
		return existing(err, "an authority is not replaced; choose another --dir")
	}
	control := filepath.Join(dir, "control")
	if err := c.Save(control, a.PEM(), false); err != nil {
		return fmt.Errorf("%w: the authority is made; make the certificate with: %s", err, again(dir, control, r, days))
	}
	fmt.Fprintf(cmd.OutOrStdout(), "authority      %s, until %s\ncontrol plane  %s, until %s\n",
		dir, date(a.Expires()), control, date(c.Expires()))
	return nil
}

// again returns the command that makes the certificate of a control plane which
// could not be made with its authority.
func again(dir, out string, r auth.Request, days int) string {
	words := []string{"sluice", "pki", "issue", "--dir", dir, "--role", string(r.Identity.Role), "--node", r.Identity.Node}
	for _, ns := range r.Identity.Namespaces {
		words = append(words, "--namespace", ns)
	}
	words = append(words, "--name", strings.Join(r.Names, ","), "--days", strconv.Itoa(days), "--out", out, "--renew")
	for i, word := range words {
		words[i] = quoted(word)
	}
	return strings.Join(words, " ")
}

// quoted returns a word as a shell reads it back.
func quoted(word string) string {
	plain := func(c rune) bool {
		return c < unicode.MaxASCII && (unicode.IsLetter(c) || unicode.IsDigit(c)) || strings.ContainsRune("-_./:,=@%+", c)
	}
	if word != "" && !strings.ContainsFunc(word, func(c rune) bool { return !plain(c) }) {
		return word
	}
	return "'" + strings.ReplaceAll(word, "'", `'\''`) + "'"
}

// lifetime returns how long so many days are, as a flag gives them.
func lifetime(flag string, days int, most time.Duration) (time.Duration, error) {
	if days < 1 || days > int(most/day) { // before they are multiplied: a duration holds 292 years
		return 0, fmt.Errorf("--%s: %d is not 1 to %d days", flag, days, most/day)
	}
	return time.Duration(days) * day, nil
}

// checkDays sets how long a certificate is to hold, and returns all that is
// wrong with the request.
func checkDays(r *auth.Request, days int) (err error) {
	r.Lifetime, err = lifetime("days", days, auth.MaxLifetime)
	rest := *r
	if err != nil {
		rest.Lifetime = day // told already
	}
	return errors.Join(rest.Check(), err)
}

// existing says what to do if a file is there already.
func existing(err error, advice string) error {
	if errors.Is(err, auth.ErrExists) {
		return fmt.Errorf("%w: %s", err, advice)
	}
	return err
}

func date(t time.Time) string { return t.UTC().Format("2006-01-02 15:04 MST") }

func newPKIIssue() *cobra.Command {
	var dir, out, role string
	var days int
	var renew bool
	var r auth.Request
	cmd := &cobra.Command{
		Use:   "issue",
		Short: "Make a certificate for a proxy or a control plane",
		Long: `Issue writes tls.crt, tls.key and ca.crt to --out, which is all that the node
needs. With --renew it replaces what is there, and keeps owner, group and mode;
whoever uses the folder takes it over without a restart. Authorities that ca.crt
holds stay in it, and that of --dir is added if it lacks.

A control plane may have the namespace '*', which is all of them.`,
		Example: `  sluice pki issue --role proxy --node edge-1 --namespace acme/prod,acme/dev --out edge-1
  sluice pki issue --role proxy --node edge-1 --namespace acme/prod --out edge-1 --days 7 --renew
  sluice pki issue --role control --node control-2 --namespace '*' --name control.example --out control-2`,
		Args: arguments(cobra.NoArgs),
		RunE: func(cmd *cobra.Command, _ []string) error {
			r.Identity.Role = auth.Role(role)
			if out == "" {
				return usagef("--out: which folder is the certificate to be written to?")
			}
			if err := checkDays(&r, days); err != nil {
				return usage(err)
			}
			a, err := auth.LoadAuthority(dir, nil)
			if err != nil {
				return err
			}
			c, err := a.Issue(r)
			if err != nil {
				return err
			}
			if renew {
				err = c.Renew(out, a.PEM())
			} else {
				err = c.Save(out, a.PEM(), false)
			}
			if err != nil {
				return existing(err, "replace it with --renew, or choose another --out")
			}
			fmt.Fprintf(cmd.OutOrStdout(), "%s  %s, until %s\n", r.Identity, out, date(c.Expires()))
			return nil
		},
	}
	dirFlag(cmd, &dir)
	flags := cmd.Flags()
	flags.StringVar(&role, "role", string(auth.RoleProxy), "what the node is: proxy or control")
	flags.StringVar(&r.Identity.Node, "node", "", "name of the node")
	flags.StringSliceVar(&r.Identity.Namespaces, "namespace", []string{"default/default"}, "namespaces of the node, organisation/environment; may be repeated")
	flags.StringSliceVar(&r.Names, "name", nil, "names and addresses by which a control plane is reached; may be repeated")
	flags.IntVar(&days, "days", 30, "how long the certificate holds, at most 366")
	flags.StringVar(&out, "out", "", "folder that the files are written to")
	flags.BoolVar(&renew, "renew", false, "replace files that are there")
	return cmd
}

func newPKIToken() *cobra.Command {
	var dir, role, out, name, node string
	var withoutSecrets bool
	var namespaces []string
	var expires time.Duration
	cmd := &cobra.Command{
		Use:   "token",
		Short: "Make a token for a proxy to join by, or for a person to use the API",
		Long: `Token makes a token and prints it: once, for only a hash of it is kept. A token
of --role proxy lets proxies join the namespaces without a certificate, by any
name unless --node binds it to one. Others are for people: a viewer sees, an
operator moves traffic, an admin changes everything. They may have the
namespace '*', which is all of them.`,
		Example: `  sluice pki token --namespace acme/prod --expires 24h
  sluice pki token --namespace acme/prod --node edge-1 --out edge-1.token
  sluice pki token --role operator --namespace acme/prod --name alice --expires 720h`,
		Args: arguments(cobra.NoArgs),
		RunE: func(cmd *cobra.Command, _ []string) error {
			t, err := tokenFor(role, namespaces)
			if err != nil {
				return usagef("--role: %w", err)
			}
			if t.Name, t.Node, t.WithoutSecrets = name, node, withoutSecrets; withoutSecrets && t.Kind != auth.Join {
				return usagef("--without-secrets: is for tokens of proxies")
			}
			if _, err := os.Stat(filepath.Join(dir, "control")); err != nil {
				return fmt.Errorf("%w; begin with 'sluice pki init --dir %s'", err, dir)
			}
			return printToken(cmd, tokensOf(dir), t, expires, out)
		},
	}
	dirFlag(cmd, &dir)
	flags := cmd.Flags()
	flags.StringVar(&role, "role", string(auth.RoleProxy), "what it is for: proxy, viewer, operator or admin")
	flags.StringSliceVar(&namespaces, "namespace", []string{"default/default"}, "where it counts, organisation/environment; may be repeated")
	flags.DurationVar(&expires, "expires", day, "how long it holds, at most 8784h")
	flags.StringVar(&name, "name", "", "whose it is or what for, for people to read")
	flags.StringVar(&node, "node", "", "the only node that may join by it (default any)")
	flags.BoolVar(&withoutSecrets, "without-secrets", false, "proxies that join by it are not handed Secrets, such as the keys of gateways")
	flags.StringVar(&out, "out", "", "file for the token, with mode 0600 (default standard output)")
	return cmd
}

// tokenFor returns what a token of a role is good for.
func tokenFor(role string, namespaces []string) (auth.Token, error) {
	if role == string(auth.RoleProxy) {
		return auth.Token{Kind: auth.Join, Namespaces: namespaces}, nil
	}
	rank, err := auth.ParseRank(role)
	if err != nil {
		return auth.Token{}, fmt.Errorf("%.40q is not a role of a token; proxy, viewer, operator or admin", role)
	}
	t := auth.Token{Kind: auth.API}
	for _, ns := range namespaces {
		t.Grants = append(t.Grants, auth.Grant{Namespace: ns, Rank: rank})
	}
	return t, nil
}

// printToken makes a token. Its file is made first: a token that nobody has
// got is not left behind.
func printToken(cmd *cobra.Command, tokens *auth.Tokens, t auth.Token, expires time.Duration, out string) error {
	var w io.WriteCloser = open{cmd.OutOrStdout()}
	if out != "" {
		f, err := os.OpenFile(out, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
		if err != nil {
			return fmt.Errorf("--out: %w", err)
		}
		w = f
	}
	made, err := issueTo(cmd.Context(), w, tokens, t, expires)
	if err != nil {
		if out != "" {
			_ = os.Remove(out)
		}
		if _, invalid := errors.AsType[*auth.InvalidError](err); invalid {
			return usage(err)
		}
		return err
	}
	fmt.Fprintf(cmd.ErrOrStderr(), "token %s for %s, until %s\n", made.ID, purpose(made), date(made.Expires))
	return nil
}

// open is a writer that stays open.
type open struct{ io.Writer }

func (open) Close() error { return nil }

// issueTo makes a token, writes it and closes the writer. A token that was not
// written to its end, which some disks say at the end alone, is taken back.
func issueTo(ctx context.Context, w io.WriteCloser, tokens *auth.Tokens, t auth.Token, expires time.Duration) (auth.Token, error) {
	secret, made, err := tokens.Issue(ctx, t, expires)
	if err != nil {
		return auth.Token{}, errors.Join(err, w.Close())
	}
	_, err = fmt.Fprintln(w, secret)
	if err = errors.Join(err, w.Close()); err != nil {
		_, gone := tokens.Revoke(context.WithoutCancel(ctx), made.ID)
		return auth.Token{}, errors.Join(err, gone)
	}
	return made, nil
}

// purpose says in few words what a token is good for.
func purpose(t auth.Token) string {
	if t.Kind == auth.Join {
		who := "proxies"
		if t.Node != "" {
			who = "proxy " + t.Node
		}
		return who + " of " + strings.Join(t.Namespaces, ", ")
	}
	var all []string
	for _, g := range t.Grants {
		all = append(all, g.Rank.String()+" of "+g.Namespace)
	}
	return strings.Join(all, ", ")
}

func newPKITokens() *cobra.Command {
	var dir, output string
	cmd := &cobra.Command{
		Use:   "tokens",
		Short: "List the tokens that were made",
		Long: `Tokens lists them, the oldest first, those that have expired or were revoked
included. The tokens themselves cannot be had any more.`,
		Example: `  sluice pki tokens --dir pki
  sluice pki tokens --dir pki -o json`,
		Args: arguments(cobra.NoArgs),
		RunE: func(cmd *cobra.Command, _ []string) error {
			if output != "text" && output != "json" {
				return unknownOutput(output)
			}
			list, err := tokensOf(dir).List(cmd.Context())
			if output == "json" {
				return errors.Join(printJSON(cmd.OutOrStdout(), slices.Concat([]auth.Token{}, list)), err)
			}
			w := tabwriter.NewWriter(cmd.OutOrStdout(), 0, 0, 2, ' ', 0)
			fmt.Fprintln(w, "ID\tSTATE\tUNTIL\tFOR\tNAME")
			for _, t := range list {
				fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\n", t.ID, state(t, time.Now()), date(t.Expires), purpose(t), t.Name)
			}
			return errors.Join(w.Flush(), err)
		},
	}
	dirFlag(cmd, &dir)
	outputFlag(cmd, &output)
	return cmd
}

func state(t auth.Token, now time.Time) string {
	switch {
	case !t.Revoked.IsZero():
		return "revoked"
	case !now.Before(t.Expires):
		return "expired"
	}
	return "valid"
}

func newPKIRevoke() *cobra.Command {
	var dir string
	cmd := &cobra.Command{
		Use:   "revoke ID...",
		Short: "Take tokens back, at once and for ever",
		Example: `  sluice pki tokens --dir pki
  sluice pki revoke --dir pki 0123456789abcdef`,
		Args: arguments(cobra.MinimumNArgs(1)),
		RunE: func(cmd *cobra.Command, args []string) error {
			var faults []error
			for _, id := range args {
				if _, err := tokensOf(dir).Revoke(cmd.Context(), id); err != nil {
					faults = append(faults, fmt.Errorf("%.80q: %w", id, unknownID(err)))
					continue
				}
				fmt.Fprintf(cmd.OutOrStdout(), "token %s revoked\n", id)
			}
			return errors.Join(faults...)
		},
	}
	dirFlag(cmd, &dir)
	return cmd
}

// unknownID says where IDs are to be had.
func unknownID(err error) error {
	if errors.Is(err, auth.ErrUnknownToken) {
		return errors.New("there is no such token; 'sluice pki tokens' lists their IDs")
	}
	return err
}
