// SPDX-License-Identifier: Apache-2.0

package agent

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"

	"github.com/sluice-mesh/sluice/control/agent/lastgood"
	"github.com/sluice-mesh/sluice/control/controlpb"
)

const (
	// protocol is the one that we speak.
	protocol = 1
	// maxWaiting bounds the messages that wait to be sent: a server that does
	// not read them is none.
	maxWaiting = 100_000
	// goodbye is how long a session may take to end in order.
	goodbye = time.Second
	// The times that a server may promise to say something within.
	leastPatience = 5 * time.Second
	mostPatience  = 10 * time.Minute
)

// errWrong marks what no control plane says that is in order. The session is
// of no use any more; what is served stays.
var errWrong = errors.New("the control plane says what cannot be")

// session is a connection to a server, from the attempt to its end.
type session struct {
	server string
	events chan event              // ends with one that has an err, unless the owner ended it
	cancel context.CancelCauseFunc // ends talk
	leave  context.CancelFunc      // lets go of events, too
	done   chan struct{}           // closed when nothing of it runs any more

	mu      sync.Mutex // guards the fields below
	waiting []*controlpb.FromProxy
	busy    bool // some are being sent
	closing bool
	wake    chan struct{} // holds a token when waiting or closing changed

	// What follows belongs to the goroutine of Run.
	node  string // of the server; empty before its Welcome
	table bool   // a table came
	// secrets says that Secrets came.
	secrets bool
	told    map[string]string // why gateways are not served, as it was told
	taken   time.Time         // when the first table came
	number  uint64            // of the last update that was taken
}

// event is what a session tells its owner.
type event struct {
	message *controlpb.ToProxy
	err     error // why it is over; nil with a message
}

// open begins a session. hello is what it says first.
func (a *Agent) open(ctx context.Context, server string, hello *controlpb.Hello) *session {
	outer, leave := context.WithCancel(ctx)
	inner, cancel := context.WithCancelCause(outer)
	s := &session{
		server: server, events: make(chan event), cancel: cancel, leave: leave,
		done: make(chan struct{}), wake: make(chan struct{}, 1), told: make(map[string]string),
	}
	s.send(&controlpb.FromProxy{Message: &controlpb.FromProxy_Hello{Hello: hello}})
	go func() {
		defer close(s.done)
		err := s.talk(inner, outer.Done(), a)
		if cause := context.Cause(inner); cause != nil && !errors.Is(cause, context.Canceled) {
			err = cause
		}
		cancel(err)
		select {
		case s.events <- event{err: err}:
		case <-outer.Done():
		}
	}()
	return s
}

// close ends a session at once, and returns when nothing of it is left.
func (s *session) close() {
	s.leave()
	<-s.done
}

// finish says what waits to be said and closes the session, within goodbye.
func (s *session) finish() {
	s.mu.Lock()
	s.closing = true
	s.mu.Unlock()
	s.ring()
	late := time.NewTimer(goodbye)
	defer late.Stop()
	defer s.close()
	for {
		select {
		case e := <-s.events:
			if e.err != nil {
				return
			}
		case <-late.C:
			return
		}
	}
}

// send has messages sent, in order. It never blocks.
func (s *session) send(messages ...*controlpb.FromProxy) {
	s.mu.Lock()
	s.waiting = append(s.waiting, messages...)
	over := len(s.waiting) > maxWaiting
	s.mu.Unlock()
	if over {
		s.cancel(fmt.Errorf("%w: it does not read what the proxy tells it", errWrong))
	}
	s.ring()
}

func (s *session) ring() {
	select {
	case s.wake <- struct{}{}:
	default:
	}
}

// idle reports whether all was sent.
func (s *session) idle() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.waiting) == 0 && !s.busy
}

// talk has the whole conversation, and returns why it is over. gone is closed
// when nobody takes events any more.
func (s *session) talk(ctx context.Context, gone <-chan struct{}, a *Agent) error {
	late := time.AfterFunc(greeting, func() { s.cancel(fmt.Errorf("no answer within %s", greeting)) })
	defer late.Stop()
	conn, err := a.connect(s.server)
	if err != nil {
		return err
	}
	defer conn.Close()
	authorized, err := a.authorize(ctx)
	if err != nil {
		return err
	}
	stream, err := controlpb.NewControlClient(conn).Connect(authorized)
	if err != nil {
		return err
	}
	var sending sync.WaitGroup
	defer sending.Wait()
	defer s.cancel(nil)
	sending.Go(func() { s.speak(ctx, stream) })
	return s.listen(gone, stream, late)
}

// speak sends what waits until the session ends.
func (s *session) speak(ctx context.Context, stream controlpb.Control_ConnectClient) {
	for {
		s.mu.Lock()
		list, closing := s.waiting, s.closing
		s.waiting, s.busy = nil, len(list) > 0
		s.mu.Unlock()
		for _, m := range list {
			if stream.Send(m) != nil {
				return // listen knows why
			}
		}
		if len(list) > 0 {
			continue
		}
		if closing {
			_ = stream.CloseSend() // listen knows why
			return
		}
		select {
		case <-s.wake:
		case <-ctx.Done():
			return
		}
	}
}

// listen hands on what comes, and returns why nothing comes any more. late is
// stopped once the server has answered. gone is closed when nobody takes
// events.
func (s *session) listen(gone <-chan struct{}, stream controlpb.Control_ConnectClient, late *time.Timer) error {
	l := listener{session: s}
	defer l.stop()
	for {
		m, err := stream.Recv()
		if err != nil {
			return err
		}
		late.Stop()
		if err := l.look(m); err != nil {
			return err
		}
		if ping := m.GetPing(); ping != nil {
			s.send(&controlpb.FromProxy{Message: &controlpb.FromProxy_Pong{Pong: &controlpb.Pong{Number: ping.GetNumber()}}})
			continue
		}
		select {
		case s.events <- event{message: m}:
		case <-gone:
			return context.Canceled
		}
	}
}

// listener knows what may come next.
type listener struct {
	session *session
	greeted bool
	bytes   int // of the parts of an update so far

	patience time.Duration // how long may pass without a message; 0 if nobody said
	silence  *time.Timer   // nil if so
}

// look checks a message by itself.
func (l *listener) look(m *controlpb.ToProxy) error {
	if l.silence != nil {
		l.silence.Reset(l.patience)
	}
	w := m.GetWelcome()
	switch {
	case !l.greeted && w != nil:
		l.greeted = true
		if w.GetProtocol() != protocol {
			return fmt.Errorf("the control plane speaks protocol %d, this proxy speaks %d; use versions that fit", w.GetProtocol(), protocol)
		}
		l.watch(time.Duration(w.GetKeepaliveNs()))
	case w != nil:
		return fmt.Errorf("%w: it greets twice", errWrong)
	case !l.greeted && m.GetLeave() == nil:
		return fmt.Errorf("%w: it does not greet first", errWrong)
	case m.GetUpdate() != nil:
		return l.weigh(m.GetUpdate())
	}
	return nil
}

// watch ends the session when nothing comes for twice the time within which
// the server promised to say something.
func (l *listener) watch(every time.Duration) {
	if every <= 0 {
		return
	}
	l.patience = 2 * min(max(every, leastPatience), mostPatience)
	l.silence = time.AfterFunc(l.patience, func() {
		l.session.cancel(fmt.Errorf("nothing was heard for %s", l.patience))
	})
}

func (l *listener) stop() {
	if l.silence != nil {
		l.silence.Stop()
	}
}

// weigh bounds what the parts of an update come to.
func (l *listener) weigh(u *controlpb.Update) error {
	if l.bytes += proto.Size(u); l.bytes > lastgood.DefaultMaxBytes {
		return fmt.Errorf("%w: an update of more than %d bytes", errWrong, lastgood.DefaultMaxBytes)
	}
	if !u.GetMore() {
		l.bytes = 0
	}
	return nil
}

// passing are the statuses of what passes by itself: connections that break,
// servers that end.
var passing = []codes.Code{codes.OK, codes.Canceled, codes.DeadlineExceeded, codes.Aborted, codes.Unavailable}

// faulty reports whether a session ended for what the server said or did,
// which it will not do otherwise the next time.
func faulty(err error) bool {
	if errors.Is(err, errWrong) {
		return true
	}
	s, ok := status.FromError(err)
	return ok && !slices.Contains(passing, s.Code())
}

// explain returns why a session is over, in words.
func explain(err error) string {
	if errors.Is(err, io.EOF) {
		return "the control plane has ended the session"
	}
	s, ok := status.FromError(err)
	if !ok {
		return err.Error()
	}
	text := s.Message()
	if _, quoted, ok := strings.Cut(text, "connection error: desc = "); ok {
		if plain, err := strconv.Unquote(quoted); err == nil {
			text = plain
		}
	}
	for _, layer := range []string{"transport: ", "Error while dialing: ", "authentication handshake failed: "} {
		text = strings.TrimPrefix(text, layer)
	}
	return text
}
