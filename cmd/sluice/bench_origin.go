// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"github.com/sluice-mesh/sluice/bench/origin"
	"github.com/sluice-mesh/sluice/cmd/internal/boot"
)

func newBenchOrigin() *cobra.Command {
	var listen []string
	cmd := &cobra.Command{
		Use:   "origin [--listen ADDR ...]",
		Short: "Serve as a small fast origin to measure proxies against",
		Long: `Origin answers / with 128 bytes, /bytes/N with N bytes (up to 1 GiB), and
/delay/DURATION or /delay/DURATION/N after that time, such as /delay/20ms. It
takes next to no CPU time, so that what is measured is what stands in front of
it. Each --listen is an instance. SIGINT or SIGTERM ends it.`,
		Example: `  sluice bench origin
  sluice bench origin --listen 127.0.0.1:9001 --listen 127.0.0.1:9002
  sluice bench http://127.0.0.1:9001/bytes/10240   # in another terminal`,
		Args: arguments(cobra.NoArgs),
		RunE: func(cmd *cobra.Command, _ []string) error {
			ctx, signals := boot.Notify(cmd.Context())
			defer signals.Release()
			s, err := origin.Listen(origin.Options{Addresses: listen})
			if err != nil {
				return fmt.Errorf("--listen: %w", err)
			}
			var b strings.Builder
			for _, address := range s.Addresses() {
				fmt.Fprintf(&b, "origin on http://%s\n", address)
			}
			b.WriteString("paths: / 128 bytes, /bytes/N, /delay/DURATION, /delay/DURATION/N; Ctrl-C ends it\n")
			_, _ = fmt.Fprint(cmd.OutOrStdout(), b.String()) // a closed stdout is no reason to stop
			return s.Run(ctx)
		},
	}
	cmd.Flags().StringArrayVar(&listen, "listen", []string{"127.0.0.1:9001"}, "address to listen on, port 0 for a free one; may be repeated")
	return cmd
}
