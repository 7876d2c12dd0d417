// SPDX-License-Identifier: Apache-2.0

// Package keys keeps what the parts of an installation in Kubernetes know each
// other by: six Secrets, made once and renewed in time.
//
//	NAME-authority  ca.crt, ca.key             all rests on it; no pod that serves mounts it
//	NAME-control    ca.crt, tls.crt, tls.key   what the control plane shows
//	NAME-tokens     ID.json                    what it knows of tokens: no token can be made of it
//	NAME-proxy      ca.crt, token, admin-token what proxies show, and what their admin servers ask for
//	NAME-sidecar    ca.crt, token              what proxies show that are handed no Secrets
//	NAME-admin      ca.crt, token              what the operator shows to the API
//
// They are written in this order, so that nothing is shown that nobody knows. A
// Secret of such a name that is not labelled as ours is an error and stays as
// it is.
package keys
