// SPDX-License-Identifier: Apache-2.0

package agent

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"strings"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/keepalive"
	"google.golang.org/grpc/metadata"
)

const (
	// maxMessage bounds a message of the control plane, whose updates come in
	// parts, and Hello, which names every gateway that is held.
	maxMessage = 16 << 20
	// greeting is how long a server may take until it has answered Hello.
	greeting = 10 * time.Second
	// A server that is silent for keepaliveTime is pinged, and given up when it
	// is silent for keepaliveTimeout more.
	keepaliveTime    = 10 * time.Second
	keepaliveTimeout = 10 * time.Second
)

// dialer connects by TCP.
type dialer struct {
	loopback bool // refuse to leave the machine
}

func (d dialer) dial(ctx context.Context, server string) (net.Conn, error) {
	c, err := (&net.Dialer{Timeout: greeting}).DialContext(ctx, "tcp", server)
	if err != nil || !d.loopback {
		return c, err
	}
	// The resolver has the last word on what localhost is.
	to, err := netip.ParseAddrPort(c.RemoteAddr().String())
	if err == nil && to.Addr().Unmap().IsLoopback() {
		return c, nil
	}
	_ = c.Close()
	return nil, fmt.Errorf("%s is at %s, not on this machine: in clear, no other is spoken to", server, c.RemoteAddr())
}

// connect returns a connection to a server that is made when it is used.
func (a *Agent) connect(server string) (*grpc.ClientConn, error) {
	secure := insecure.NewCredentials()
	if a.o.Credentials != nil {
		host, _, _ := net.SplitHostPort(server) // checked by New
		secure = credentials.NewTLS(a.o.Credentials.Client(host, a.o.Namespaces, "h2"))
	}
	return grpc.NewClient("passthrough:///"+server,
		grpc.WithTransportCredentials(secure),
		grpc.WithContextDialer(a.o.Dial),
		grpc.WithKeepaliveParams(keepalive.ClientParameters{Time: keepaliveTime, Timeout: keepaliveTimeout}),
		grpc.WithDefaultCallOptions(grpc.MaxCallRecvMsgSize(maxMessage), grpc.MaxCallSendMsgSize(maxMessage)),
		grpc.WithUserAgent("sluice-proxy/"+strings.ToValidUTF8(a.o.Build, "")),
		grpc.WithDisableServiceConfig(),
		grpc.WithDisableRetry(),
		grpc.WithIdleTimeout(0),
	)
}

// authorize adds the join token, if there is one.
func (a *Agent) authorize(ctx context.Context) (context.Context, error) {
	if a.o.Token == nil {
		return ctx, nil
	}
	token, err := a.o.Token()
	if err != nil {
		return nil, err
	}
	return metadata.AppendToOutgoingContext(ctx, "authorization", "Bearer "+token), nil
}

const (
	firstBackoff = time.Second
	lastBackoff  = 30 * time.Second
)

// backoff returns how long to wait before the next attempt, of which so many
// have failed since there was a table: anything up to 1 s, then up to twice as
// much with each round of all servers, so that proxies which lose a server
// together do not come back together.
func (a *Agent) backoff(failed int) time.Duration {
	most := lastBackoff
	if round := failed / len(a.o.Servers); round < 5 {
		most = min(firstBackoff<<round, lastBackoff)
	}
	return time.Duration(a.o.Draw() * float64(most))
}
