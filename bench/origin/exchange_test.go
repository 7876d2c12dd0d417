// SPDX-License-Identifier: Apache-2.0

package origin_test

import (
	"bufio"
	"bytes"
	"io"
	"net/http"
	"slices"
	"testing"

	"github.com/sluice-mesh/sluice/bench/origin"
)

// What is understood does not depend on the pieces in which it comes, and
// where net/http reads the same bytes as requests at all, it reads the same
// requests.
func FuzzRequests(f *testing.F) {
	for _, s := range []string{
		"GET / HTTP/1.1\r\nHost: a\r\n\r\n",
		"GET /bytes/7 HTTP/1.0\r\nConnection: keep-alive\r\n\r\nHEAD /delay/1ms/3 HTTP/1.1\r\nhost:\ta \r\n\r\n",
		"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nabcGET / HTTP/1.1\r\nHost: a\r\n\r\n",
		"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n3;x=y\r\nabc\r\n0\r\nA: b\r\n\r\nGET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n",
		"POST / HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 1\r\n\r\na",
		"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
		"GET http://a/bytes/1?q HTTP/1.1\r\nHost: a\r\n\r\n\r\nOPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n",
	} {
		f.Add([]byte(s), uint8(1))
		f.Add([]byte(s), uint8(11))
	}
	f.Fuzz(func(t *testing.T, stream []byte, step uint8) {
		all, left := origin.Requests(stream)
		inPieces, leftOfPieces := origin.Requests(slices.Collect(slices.Chunk(stream, max(1, int(step))))...)
		if !slices.Equal(all, inPieces) || left != leftOfPieces {
			t.Errorf("%q\nat once:         %+v, %d bytes left\nin pieces of %d: %+v, %d bytes left", stream, all, left, step, inPieces, leftOfPieces)
		}
		compare(t, stream, all)
	})
}

// compare holds what was understood against net/http, as far as that accepts
// it.
func compare(t *testing.T, stream []byte, all []origin.Request) {
	t.Helper()
	whole := bytes.NewReader(stream)
	r := bufio.NewReader(whole)
	for i, ours := range all {
		if ours.Refused != 0 {
			return
		}
		for { // net/http does not pass over empty lines
			if next, err := r.Peek(2); err != nil || string(next) != "\r\n" {
				break
			}
			_, _ = r.Discard(2)
		}
		theirs, err := http.ReadRequest(r)
		if err != nil {
			return
		}
		if _, err := io.Copy(io.Discard, theirs.Body); err != nil {
			return
		}
		end := len(stream) - whole.Len() - r.Buffered()
		if ours.Bare != (theirs.Method == http.MethodHead) || ours.Close != theirs.Close || ours.End != end {
			t.Errorf("%q\nrequest %d: %+v\nnet/http: %s, close %t, end %d", stream, i, ours, theirs.Method, theirs.Close, end)
		}
	}
}

// Requests are read and answered without allocating.
func TestServingAllocatesNothing(t *testing.T) {
	request := []byte("POST /bytes/10 HTTP/1.1\r\nHost: a\r\nAccept: */*\r\nContent-Length: 3\r\n\r\nabc")
	for _, e := range engines {
		t.Run(e.name, func(t *testing.T) {
			c := dial(t, start(t, e.run, 1)[0])
			buf := make([]byte, 1<<10)
			roundTrip := func() {
				if _, err := c.Write(request); err != nil {
					t.Fatal(err)
				}
				for n := 0; !bytes.HasSuffix(buf[:n], []byte("\r\n\r\nxxxxxxxxxx")); {
					k, err := c.Read(buf[n:])
					if err != nil {
						t.Fatalf("%v after %q", err, buf[:n])
					}
					n += k
				}
			}
			if n := testing.AllocsPerRun(100, roundTrip); n != 0 {
				t.Errorf("%v allocations a request, want none", n)
			}
		})
	}
}
