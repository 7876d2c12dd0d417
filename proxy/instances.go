// SPDX-License-Identifier: Apache-2.0

package proxy

import (
	"crypto/tls"

	"github.com/sluice-mesh/sluice/proxy/upstream"
	"github.com/sluice-mesh/sluice/routing"
)

// RouteTLS tells how a route speaks TLS to its instances.
type RouteTLS struct {
	// Name is what the certificates of instances must be for; empty if any will
	// do.
	Name string `json:"name,omitempty"`
	// Verify reports that certificates are verified.
	Verify      bool   `json:"verify"`
	CA          string `json:"ca,omitempty"`          // file of who vouches for instances; empty: the system's
	Certificate string `json:"certificate,omitempty"` // file of the one that is shown to instances
	MinVersion  string `json:"min_version"`           // 1.2 or 1.3
}

// speaks tells how the instances of a target are spoken to, and why they
// cannot be.
func (st *RouteStatus) speaks(t *upstream.Target) {
	w := t.Choosing().Way
	if w.Proxy != routing.ProxyNone {
		st.ProxyProtocol = w.Proxy.String()
	}
	if err := t.Problem(); err != nil {
		st.Problem = err.Error()
	}
	if !w.Secure {
		return
	}
	st.TLS = &RouteTLS{
		Name: w.TLS.Name, Verify: !w.TLS.SkipVerify, CA: w.TLS.CA, Certificate: w.TLS.KeyPair.Certificate,
		MinVersion: "1.2",
	}
	if w.TLS.MinVersion == tls.VersionTLS13 {
		st.TLS.MinVersion = "1.3"
	}
}
