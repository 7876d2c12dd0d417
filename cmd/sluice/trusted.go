// SPDX-License-Identifier: Apache-2.0

package main

import (
	"strings"

	"github.com/spf13/cobra"

	"github.com/sluice-mesh/sluice/proxy/http1"
)

// trustedProxies is the flag that lists the proxies in front that are
// believed. It is a pflag.Value.
type trustedProxies struct {
	texts []string
	trust **http1.Trust
}

// trustFlag adds the flag.
func trustFlag(cmd *cobra.Command, trust **http1.Trust) {
	cmd.Flags().Var(&trustedProxies{trust: trust}, "trusted-proxies",
		"networks and addresses of proxies in front that are believed what they say of clients, such as 10.0.0.0/8,192.0.2.1; may be repeated")
}

// Set adds networks, separated by commas.
func (p *trustedProxies) Set(text string) error {
	texts := p.texts
	for part := range strings.SplitSeq(text, ",") {
		if part = strings.TrimSpace(part); part != "" {
			texts = append(texts, part)
		}
	}
	trust, err := http1.NewTrust(texts)
	if err != nil {
		return err
	}
	p.texts, *p.trust = texts, trust
	return nil
}

// String returns what was set.
func (p *trustedProxies) String() string { return strings.Join(p.texts, ",") }

// Type names the form of the value.
func (*trustedProxies) Type() string { return "networks" }
