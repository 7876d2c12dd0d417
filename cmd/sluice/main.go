// SPDX-License-Identifier: Apache-2.0

// Command sluice is the gateway mesh in one binary. Each verb has a file of
// its own.
package main

import "os"

func main() {
	os.Exit(execute(os.Args[1:], os.Stdin, os.Stdout, os.Stderr))
}
