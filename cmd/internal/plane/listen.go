// SPDX-License-Identifier: Apache-2.0

package plane

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strings"
	"syscall"
)

// checkAddress refuses an address that others could reach while nothing says
// who they are.
func checkAddress(flag, address string, secured bool) error {
	host, _, err := net.SplitHostPort(address)
	if err != nil {
		return fmt.Errorf("%s: %q is not HOST:PORT, such as 127.0.0.1:8090", flag, address)
	}
	if secured || loopback(host) {
		return nil
	}
	return fmt.Errorf("%s: others can reach %s, and nothing says who they are: "+
		"make certificates by 'sluice pki init --dir pki --name NAME', where NAME is how this machine is reached, "+
		"and start 'sluice control' with --credentials pki/control; or listen on 127.0.0.1", flag, address)
}

// loopback reports whether a host is this machine alone.
func loopback(host string) bool {
	if strings.EqualFold(host, "localhost") {
		return true
	}
	a, err := netip.ParseAddr(host)
	return err == nil && a.IsLoopback()
}

// listen binds an address, and says which flag chose one that cannot be bound.
func listen(ctx context.Context, flag, address string) (net.Listener, error) {
	var lc net.ListenConfig
	ln, err := lc.Listen(ctx, "tcp", address)
	switch {
	case errors.Is(err, syscall.EADDRINUSE):
		return nil, fmt.Errorf("%s: %s is taken by another process; end that one or choose another address", flag, address)
	case err != nil:
		return nil, fmt.Errorf("%s: %w", flag, err)
	}
	return ln, nil
}
