// SPDX-License-Identifier: Apache-2.0

package node

import (
	"net/netip"
	"strings"

	"github.com/spf13/cobra"

	"github.com/sluice-mesh/sluice/proxy/http1"
)

// networks is a flag that lists networks and addresses. It is a pflag.Value.
type networks struct {
	texts []string
	set   func(*http1.Trust) // is told of all of them
}

// TrustFlag adds the flag that lists the proxies in front that are believed.
func TrustFlag(cmd *cobra.Command, trust **http1.Trust) {
	cmd.Flags().Var(&networks{set: func(t *http1.Trust) { *trust = t }}, "trusted-proxies",
		"networks and addresses of proxies in front that are believed what they say of clients, such as 10.0.0.0/8,192.0.2.1; may be repeated")
}

// balancersFlag adds the flag that lists who tells of clients by the PROXY
// protocol.
func balancersFlag(cmd *cobra.Command, from *[]netip.Prefix) {
	cmd.Flags().Var(&networks{set: func(t *http1.Trust) { *from = t.Networks() }}, "virtual-hosts-proxy-protocol",
		"networks and addresses whose connections to virtual hosts must begin with a PROXY header, such as 10.0.0.0/8,192.0.2.1; may be repeated")
}

// Set adds networks, separated by commas.
func (p *networks) Set(text string) error {
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
	p.texts = texts
	p.set(trust)
	return nil
}

// String returns what was set.
func (p *networks) String() string { return strings.Join(p.texts, ",") }

// Type names the form of the value.
func (*networks) Type() string { return "networks" }
