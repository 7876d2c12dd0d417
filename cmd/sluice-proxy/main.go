// SPDX-License-Identifier: Apache-2.0

// Command sluice-proxy is the data plane alone: what "sluice proxy" is, without
// all the rest.
package main

import (
	"os"

	"github.com/sluice-mesh/sluice/cmd/internal/edge"
	"github.com/sluice-mesh/sluice/cmd/internal/verb"
)

func main() {
	root := verb.Prepare(edge.Command("sluice-proxy", "sluice-proxy"))
	os.Exit(verb.Execute(root, os.Args[1:], os.Stdin, os.Stdout, os.Stderr))
}
