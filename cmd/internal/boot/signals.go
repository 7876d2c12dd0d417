// SPDX-License-Identifier: Apache-2.0

package boot

import (
	"context"
	"errors"
	"os"
	"os/signal"
	"sync"
	"syscall"
)

// Signals are the wishes of whoever runs the process.
type Signals struct {
	// Stop ends with the first SIGINT or SIGTERM: finish in good order. Its
	// cause names the signal.
	Stop context.Context
	// Kill ends with the second one: end now.
	Kill context.Context
	// Hangup receives a value after each SIGHUP; several that nobody took are
	// one.
	Hangup <-chan struct{}

	release func()
}

// Notify starts to listen to signals. Both contexts descend from parent.
// Release ends it.
func Notify(parent context.Context) *Signals {
	incoming := make(chan os.Signal, 4)
	signal.Notify(incoming, syscall.SIGINT, syscall.SIGTERM, syscall.SIGHUP)

	kill, cancelKill := context.WithCancelCause(parent)
	stop, cancelStop := context.WithCancelCause(kill)
	hangup := make(chan struct{}, 1)

	var listening sync.WaitGroup
	listening.Go(func() {
		for s := range incoming {
			why := errors.New("received " + s.String())
			switch {
			case s == syscall.SIGHUP:
				select {
				case hangup <- struct{}{}:
				default: // one is waiting already; it stands for this one too
				}
			case stop.Err() == nil:
				cancelStop(why)
			default:
				cancelKill(why)
			}
		}
	})
	return &Signals{
		Stop: stop, Kill: kill, Hangup: hangup,
		release: sync.OnceFunc(func() {
			signal.Stop(incoming)
			close(incoming)
			listening.Wait()
			cancelStop(nil)
			cancelKill(nil)
		}),
	}
}

// Release gives the signals back their usual effect and ends both contexts.
// It may be called more than once.
func (s *Signals) Release() { s.release() }
