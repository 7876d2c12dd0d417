// SPDX-License-Identifier: Apache-2.0

package live_test

import (
	"bytes"
	"context"
	"log/slog"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sluice-mesh/sluice/metrics"
	"github.com/sluice-mesh/sluice/proxy/live"
)

func TestOnePanicAMinuteIsLogged(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var log bytes.Buffer
		count := metrics.New(metrics.Options{Reasons: live.Reasons()}).Panics()
		p := live.NewPanics(count, slog.New(slog.NewTextHandler(&log, nil)))
		for range 3 {
			fail(p)
		}
		time.Sleep(time.Minute - time.Nanosecond)
		fail(p)
		if n := strings.Count(log.String(), "\n"); n != 1 {
			t.Errorf("%d lines in the first minute, want 1:\n%s", n, log.String())
		}
		for _, part := range []string{"during=testing", "panic=boom", "stack=", "panics_test.go", "not_logged_before=0"} {
			if !strings.Contains(log.String(), part) {
				t.Errorf("the log lacks %q:\n%s", part, log.String())
			}
		}
		log.Reset()
		time.Sleep(time.Nanosecond)
		fail(p)
		if got := log.String(); strings.Count(got, "\n") != 1 || !strings.Contains(got, "not_logged_before=3") {
			t.Errorf("after a minute the log says %q, want a line that counts the 3 before", got)
		}
		if n := count.Value(); n != 5 {
			t.Errorf("%d panics are counted, want 5", n)
		}
	})
}

// fail panics and has that caught.
func fail(p *live.Panics) {
	defer func() { p.Caught(0, "testing", recover()) }()
	panic("boom")
}

func TestNobodyNeedTakeNoteOfPanics(*testing.T) {
	fail(nil)
	live.NewPanics(metrics.New(metrics.Options{}).Panics(), nil).Caught(0, "testing", "boom")
}

func TestWhatIsSteadyGoesOnAfterAPanic(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		count := metrics.New(metrics.Options{Reasons: live.Reasons()}).Panics()
		ctx, cancel := context.WithCancel(t.Context())
		runs, ended := 0, false
		done := make(chan struct{})
		go func() {
			defer close(done)
			live.NewPanics(count, nil).Steady(ctx, "testing", func(ctx context.Context) {
				if runs++; runs < 3 {
					panic("boom")
				}
				<-ctx.Done()
				ended = true
			})
		}()
		time.Sleep(time.Minute)
		cancel()
		<-done
		if runs != 3 || !ended || count.Value() != 2 {
			t.Errorf("%d runs, ended: %v, %d panics; want 3, true, 2", runs, ended, count.Value())
		}
	})
}
