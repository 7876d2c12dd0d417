// SPDX-License-Identifier: Apache-2.0

package test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"strconv"
	"sync"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/sluice-mesh/sluice/test/certs"
)

// bed is what one script has beside its files: a network of its own and all
// that listens there. It is used by the script's goroutine only.
type bed struct {
	dir   string // the script's directory
	net   string // such as 127.90.12
	host  string // the address that gateways listen on
	admin string // host:port of the admin server
	lock  net.Listener

	ctx    context.Context //nolint:containedctx // the life of the script
	cancel context.CancelFunc
	wg     sync.WaitGroup

	written     time.Time // when the last put began
	nextOrigin  int
	origins     map[string]*origin
	names       *nameServer
	authorities map[string]*certs.CA
	taken       map[string]net.Listener
	begun       map[string]*exchange
	load        *load
	visitors    map[string][]*visitor
	sluice      *process
}

// bedKey is the key of a script's bed.
type bedKey struct{}

func bedOf(ts *testscript.TestScript) *bed { return ts.Value(bedKey{}).(*bed) }

// lockPort is the port by which a bed holds its network.
const lockPort = "65535"

// newBed finds a network 127.x.y.0/24 that no other script has, in this
// process or another one, so that no port which is free is taken by somebody
// else before the binary gets it.
func newBed(dir string) (*bed, error) {
	b := &bed{
		dir:         dir,
		nextOrigin:  2,
		origins:     make(map[string]*origin),
		authorities: make(map[string]*certs.CA),
		taken:       make(map[string]net.Listener),
		begun:       make(map[string]*exchange),
		visitors:    make(map[string][]*visitor),
	}
	b.ctx, b.cancel = context.WithCancel(context.Background())
	var err error
	for range 100 {
		b.net = fmt.Sprintf("127.%d.%d", 64+rand.IntN(63), 1+rand.IntN(254))
		b.host = b.net + ".1"
		if b.lock, err = listen(b.ctx, net.JoinHostPort(b.host, lockPort)); err == nil {
			break
		}
	}
	if err != nil {
		return nil, err
	}
	port, err := freePort(b.ctx, b.host, "8092")
	if err != nil {
		return nil, err
	}
	b.admin = net.JoinHostPort(b.host, port)
	return b, nil
}

// close ends what the script left running.
func (b *bed) close() {
	if b.sluice != nil {
		b.sluice.kill()
	}
	b.cancel()
	if b.load != nil {
		b.load.stop()
	}
	for _, o := range b.origins {
		o.close()
	}
	if b.names != nil {
		b.names.close()
	}
	for _, ln := range b.taken {
		_ = ln.Close()
	}
	b.wg.Wait()
	_ = b.lock.Close()
}

func listen(ctx context.Context, address string) (net.Listener, error) {
	var lc net.ListenConfig
	return lc.Listen(ctx, "tcp", address)
}

// freePort returns a port of host that is free, the preferred one if it is
// (another program may listen on all addresses).
func freePort(ctx context.Context, host, preferred string) (string, error) {
	for _, port := range []string{preferred, "0"} {
		ln, err := listen(ctx, net.JoinHostPort(host, port))
		if err != nil {
			continue
		}
		_, free, err := net.SplitHostPort(ln.Addr().String())
		return free, errors.Join(err, ln.Close())
	}
	return "", fmt.Errorf("no free port on %s", host)
}

// probeLoopback tells why addresses beyond 127.0.0.1 cannot be listened on.
func probeLoopback(ctx context.Context) error {
	ln, err := listen(ctx, "127.63.0.1:0")
	if err != nil {
		return err
	}
	return ln.Close()
}

// poll tries until it succeeds, or for as long as patience lasts. What is
// waited for happens in another process, which has no other way to tell.
func (b *bed) poll(try func(context.Context) error) error {
	ctx, cancel := context.WithTimeout(b.ctx, patience)
	defer cancel()
	again := time.NewTicker(5 * time.Millisecond)
	defer again.Stop()
	var last error
	for {
		err := try(ctx)
		if err == nil {
			return nil
		}
		if ctx.Err() == nil {
			last = err
		}
		if b.sluice != nil && b.sluice.ended() {
			return fmt.Errorf("sluice has ended: %w\n%s", err, b.sluice.log)
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("waited for %v: %w", patience, errors.Join(last, ctx.Err()))
		case <-again.C:
		}
	}
}

// expand replaces each ${NAME} in a text by the script's variable. A $ that
// stands alone is kept.
func expand(ts *testscript.TestScript, text string) string {
	return variable.ReplaceAllStringFunc(text, func(v string) string {
		value := ts.Getenv(v[2 : len(v)-1])
		if value == "" {
			ts.Fatalf("%s is not set", v)
		}
		return value
	})
}

// cmdFreePort sets a variable to a free port of $HOST: freeport VAR
// [PREFERRED].
func cmdFreePort(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 1 || len(args) > 2 {
		ts.Fatalf("usage: freeport VAR [PREFERRED]")
	}
	b := bedOf(ts)
	preferred := "0"
	if len(args) == 2 {
		preferred = args[1]
	}
	port, err := freePort(b.ctx, b.host, preferred)
	ts.Check(err)
	ts.Setenv(args[0], port)
}

// cmdTake listens on a port of $HOST until it is freed: take PORT.
func cmdTake(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 1 {
		ts.Fatalf("usage: take PORT")
	}
	b := bedOf(ts)
	ln, err := listen(b.ctx, net.JoinHostPort(b.host, args[0]))
	ts.Check(err)
	b.taken[args[0]] = ln
}

// cmdFree lets go of a port: free PORT.
func cmdFree(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 1 {
		ts.Fatalf("usage: free PORT")
	}
	b := bedOf(ts)
	ln := b.taken[args[0]]
	if ln == nil {
		ts.Fatalf("port %s was not taken", args[0])
	}
	delete(b.taken, args[0])
	ts.Check(ln.Close())
}

// cmdSparse makes a large file that takes no room: sparse FILE MEGABYTES.
func cmdSparse(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 2 {
		ts.Fatalf("usage: sparse FILE MEGABYTES")
	}
	size, err := strconv.ParseInt(args[1], 10, 32)
	ts.Check(err)
	f, err := os.Create(ts.MkAbs(args[0]))
	ts.Check(err)
	ts.Check(errors.Join(f.Truncate(size<<20), f.Close()))
}
