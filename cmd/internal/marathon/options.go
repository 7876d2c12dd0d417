// SPDX-License-Identifier: Apache-2.0

package marathon

import (
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/spf13/pflag"

	"github.com/sluice-mesh/sluice/control/store"
	"github.com/sluice-mesh/sluice/discovery/marathon"
)

// Options say which Marathon a process watches. The zero Options are those of
// one that watches none.
type Options struct {
	// URLs are those of the Marathons of one cluster, of which any answers;
	// none means that nothing is watched.
	URLs []string
	// Access says how they are asked.
	Access Access
	// Groups are those of marathon-lb whose labels make gateways; none means
	// that no labels do, and * all groups.
	Groups []string
	// Certificates are PEM files, certificate and key in one, for the virtual
	// hosts of these gateways; paths on the proxies.
	Certificates []string
	// Environments are ORGANISATION/ENVIRONMENT=/GROUP each: apps below that
	// group belong to the namespace before it.
	Environments []string
	// Resync is how often everything is read anew though nothing is said to
	// have changed.
	Resync time.Duration
	// KeepLost says which tasks go on serving that Marathon has lost sight of:
	// never, last or always.
	KeepLost string
	// IPIndex is which of several addresses of a task counts, from 0.
	IPIndex int

	flags *pflag.FlagSet // those of Flags; nil without
}

// Access says who vouches for a Marathon, and who asks it. Of the files that
// say who asks, one at most is set.
type Access struct {
	// CAFile holds certificates that vouch for it beside those of the system,
	// PEM.
	CAFile string
	// BasicAuthFile holds user:password in its first line.
	BasicAuthFile string
	// TokenFile holds a token of DC/OS.
	TokenFile string
	// ServiceAccountFile holds a service account of DC/OS, a JSON object of
	// uid, private_key and login_endpoint.
	ServiceAccountFile string
}

// Flags adds the flags of every verb that may watch a Marathon.
func (o *Options) Flags(flags *pflag.FlagSet) {
	o.flags = flags
	flags.StringSliceVar(&o.URLs, "marathon", nil, "URL of a Marathon whose apps are found, such as http://marathon.mesos:8080; several of one cluster, separated by commas")
	o.Access.Flags(flags)
	flags.StringSliceVar(&o.Groups, "marathon-lb-groups", nil, "groups of marathon-lb whose labels become gateways, separated by commas; * for all (default none)")
	flags.StringSliceVar(&o.Certificates, "marathon-lb-certificates", nil, "PEM files on the proxies, certificate and key in one, which virtual hosts of --marathon-lb-groups show, separated by commas (default none: plain HTTP alone)")
	flags.StringArrayVar(&o.Environments, "marathon-environment", nil, "ORGANISATION/ENVIRONMENT=/GROUP: apps below that group of Marathon belong to that environment; may be repeated")
	flags.DurationVar(&o.Resync, "marathon-resync", 5*time.Minute, "how often all apps are read anew although nothing is said to have changed")
	flags.StringVar(&o.KeepLost, "marathon-keep-lost", "last", "which tasks go on serving whose agent Marathon cannot reach: never, last (while the app has no other), or always")
	flags.IntVar(&o.IPIndex, "marathon-ip-index", 0, "which address counts of tasks that have several of their own, from 0")
}

// Flags adds the flags of every verb that asks a Marathon.
func (a *Access) Flags(flags *pflag.FlagSet) {
	flags.StringVar(&a.CAFile, "marathon-ca-file", "", "file of certificates, PEM, that vouch for Marathon beside those of the system")
	flags.StringVar(&a.BasicAuthFile, "marathon-basic-auth-file", "", "file with user:password for Marathon in its first line")
	flags.StringVar(&a.TokenFile, "marathon-token-file", "", "file with a token of DC/OS, which is read again when it changes")
	flags.StringVar(&a.ServiceAccountFile, "marathon-service-account-file", "", "file with a service account of DC/OS: JSON with uid, private_key and login_endpoint")
}

// Options returns the options by which the Marathon at some URLs is asked.
func (a *Access) Options(urls []string) marathon.Options {
	return marathon.Options{
		URLs: urls, CAFile: a.CAFile,
		Credentials: marathon.Credentials{
			BasicAuthFile: a.BasicAuthFile, TokenFile: a.TokenFile, ServiceAccountFile: a.ServiceAccountFile,
		},
	}
}

// Enabled reports whether a Marathon is watched.
func (o *Options) Enabled() bool { return len(o.URLs) > 0 }

// Open checks what the flags say; nil without a Marathon, which need not
// answer. Wrong flags are errors that name them.
func (o *Options) Open() (*Cluster, error) {
	if !o.Enabled() {
		if flag := o.given(); flag != "" {
			return nil, fmt.Errorf("%s: of which Marathon? name its URL by --marathon", flag)
		}
		return nil, nil
	}
	environments, err := o.environments()
	if err != nil {
		return nil, err
	}
	keep, err := marathon.ParseKeepLost(o.KeepLost)
	if err != nil {
		return nil, fmt.Errorf("--marathon-keep-lost: %w", err)
	}
	if o.Resync <= 0 {
		return nil, fmt.Errorf("--marathon-resync: %s is not above 0", o.Resync)
	}
	if o.IPIndex < 0 {
		return nil, fmt.Errorf("--marathon-ip-index: %d is below 0", o.IPIndex)
	}
	groups := trimmed(o.Groups)
	if slices.Contains(groups, "") {
		return nil, errors.New("--marathon-lb-groups: a name is empty; * stands for all groups")
	}
	c := &Cluster{Environments: environments, options: o.Access.Options(trimmed(o.URLs))}
	c.options.Groups, c.options.LBCertificates, c.options.Environments = groups, trimmed(o.Certificates), environments
	c.options.Resync, c.options.KeepLost, c.options.IPIndex = o.Resync, keep, o.IPIndex
	if _, err := marathon.New(c.options); err != nil { // what is wrong is told before anything starts
		return nil, fmt.Errorf("--marathon: %w", err)
	}
	return c, nil
}

// trimmed returns a list without the spaces around commas.
func trimmed(list []string) (all []string) {
	for _, one := range list {
		all = append(all, strings.TrimSpace(one))
	}
	return all
}

// given names the first flag that says something of a Marathon; empty if none
// does.
func (o *Options) given() (flag string) {
	if o.flags == nil {
		return ""
	}
	o.flags.VisitAll(func(f *pflag.Flag) {
		if flag == "" && f.Changed && strings.HasPrefix(f.Name, "marathon-") {
			flag = "--" + f.Name
		}
	})
	return flag
}

// groupPath is what a group of Marathon is called: segments of lower case
// letters, digits, dashes and dots behind a slash each.
var groupPath = regexp.MustCompile(`^(/[a-z0-9]([-a-z0-9.]*[a-z0-9])?)+$`)

// environments reads Environments, by group.
func (o *Options) environments() (map[string]string, error) {
	environments := make(map[string]string, len(o.Environments))
	for _, text := range o.Environments {
		of, group, ok := strings.Cut(text, "=")
		if !ok || !groupPath.MatchString(group) {
			return nil, fmt.Errorf("--marathon-environment: %q is not ORGANISATION/ENVIRONMENT=/GROUP", text)
		}
		if err := store.CheckNamespace(of); err != nil {
			return nil, fmt.Errorf("--marathon-environment: %q: %w", text, err)
		}
		if other, taken := environments[group]; taken && other != of {
			return nil, fmt.Errorf("--marathon-environment: what is below %s cannot be of %s and of %s", group, other, of)
		}
		environments[group] = of
	}
	return environments, nil
}
