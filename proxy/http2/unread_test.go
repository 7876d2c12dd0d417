// SPDX-License-Identifier: Apache-2.0

package http2_test

import (
	"encoding/binary"
	"errors"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/sluice-mesh/sluice/proxy/http2"
)

// Heads of answers are not held back by windows: a client that takes none of
// them must not fill the memory with them.
func TestAClientThatReadsNothingIsCutOff(t *testing.T) {
	t.Parallel() // the last words of the connection are waited for
	handled := make(chan struct{}, 1)
	s := serve(t, nil, func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Length", "0")
		w.Header().Set("X", strings.Repeat("y", 8<<10))
		w.WriteHeader(http.StatusOK)
		handled <- struct{}{}
	})
	nc := connect(t, s.addr)
	defer nc.Close()
	_ = nc.SetDeadline(time.Now().Add(patience))
	block := blockOf(":method", "GET", ":scheme", "http", ":authority", "a", ":path", "/")
	_, _ = nc.Write(append([]byte(preface), framesOf(frameOf(4, 0, 0))...))
	for id := uint32(1); ; id += 2 {
		f := binary.BigEndian.AppendUint32([]byte{0, 0, byte(len(block)), 1, 5}, id)
		if _, err := nc.Write(append(f, block...)); err != nil {
			break
		}
		select {
		case <-handled:
			continue
		case err := <-s.ended:
			fault, ok := errors.AsType[*http2.ConnError](err)
			if !ok || fault.Code != http2.EnhanceYourCalm {
				t.Errorf("Run() = %v, want %v", err, http2.EnhanceYourCalm)
			}
			return
		}
	}
	if err := <-s.ended; err == nil {
		t.Error("Run() = nil, want why the client was cut off")
	}
}
