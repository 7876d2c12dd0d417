// SPDX-License-Identifier: Apache-2.0

//go:build !linux

package origin

import (
	"context"
	"net"
)

func serve(ctx context.Context, listeners []*net.TCPListener) error {
	return servePlain(ctx, listeners)
}
