// SPDX-License-Identifier: Apache-2.0

package gate_test

import (
	"errors"
	"io"
	"syscall"
	"testing"

	"github.com/sluice-mesh/sluice/proxy/gate"
)

func TestTurnAwayAnswersOneThatWaits(t *testing.T) {
	ln := listen(t)
	if gate.TurnAway(ln, []byte(goodbye)) {
		t.Error("TurnAway = true though nobody waits")
	}
	client, second := dial(t, ln), dial(t, ln)
	if _, err := io.WriteString(client, "GET / HTTP/1.1\r\nHost: a\r\n\r\n"); err != nil {
		t.Fatal(err)
	}
	if !gate.TurnAway(ln, []byte(goodbye)) {
		t.Fatal("TurnAway = false though somebody waits")
	}
	if got, err := io.ReadAll(client); err != nil || string(got) != goodbye {
		t.Errorf("read %q, %v; want the answer", got, err)
	}
	if !gate.TurnAway(ln, nil) {
		t.Fatal("TurnAway = false though somebody waits")
	}
	if _, err := second.Read(make([]byte, 1)); !errors.Is(err, syscall.ECONNRESET) {
		t.Errorf("read: %v, want a reset where there is nothing to say", err)
	}
}

func TestReserveIsLentAndTakenBack(t *testing.T) {
	var r gate.Reserve
	r.Hold()
	defer r.Close()
	called := false
	r.Lend(func() { called = true })
	if !called {
		t.Error("nothing was done while it was lent")
	}
}
