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

// Signals are the wishes of whoever runs the process, beyond its end in good
// order.
type Signals struct {
	// Again is closed by the second SIGINT or SIGTERM: end now.
	Again <-chan struct{}
	// Hangup receives a value after each SIGHUP; several that nobody took are
	// one.
	Hangup <-chan struct{}

	release func()
}

// Notify starts to listen to signals. The context that it returns descends
// from parent and ends with the first SIGINT or SIGTERM: finish in good order.
// Its cause names the signal. Release ends all of it.
func Notify(parent context.Context) (context.Context, *Signals) {
	incoming := make(chan os.Signal, 4)
	signal.Notify(incoming, syscall.SIGINT, syscall.SIGTERM, syscall.SIGHUP)

	stop, cancel := context.WithCancelCause(parent)
	again := make(chan struct{})
	hangup := make(chan struct{}, 1)

	var listening sync.WaitGroup
	listening.Go(func() {
		told := 0
		for s := range incoming {
			if s == syscall.SIGHUP {
				select {
				case hangup <- struct{}{}:
				default: // one is waiting already; it stands for this one too
				}
				continue
			}
			switch told++; told {
			case 1:
				cancel(errors.New("received " + s.String()))
			case 2:
				close(again)
			}
		}
	})
	return stop, &Signals{
		Again: again, Hangup: hangup,
		release: sync.OnceFunc(func() {
			signal.Stop(incoming)
			close(incoming)
			listening.Wait()
			cancel(nil)
		}),
	}
}

// Release gives the signals back their usual effect and ends the context of
// Notify. It may be called more than once.
func (s *Signals) Release() { s.release() }
