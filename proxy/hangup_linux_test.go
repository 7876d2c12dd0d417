// SPDX-License-Identifier: Apache-2.0

package proxy_test

import (
	"bufio"
	"io"
	"net"
	"net/http"
	"testing"

	"github.com/sluice-mesh/sluice/metrics"
	"github.com/sluice-mesh/sluice/proxy/live"
)

// waitingOrigin is an instance that says what it is told to once a request has come,
// and then waits for the end of its connection.
func waitingOrigin(t *testing.T, text string) (address string, came, ended chan struct{}) {
	t.Helper()
	came, ended = make(chan struct{}, 10), make(chan struct{}, 10)
	i := behaving(t, func(nc net.Conn, _ *http.Request) bool {
		_, _ = io.WriteString(nc, text)
		came <- struct{}{}
		_, _ = nc.Read(make([]byte, 1))
		ended <- struct{}{}
		return false
	})
	return i.address, came, ended
}

func TestAClientThatIsGoneEndsItsExchange(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name, sent, said string
		class            metrics.Class
	}{
		{"before the answer", "GET / HTTP/1.1\r\nHost: a\r\n\r\n", "", metrics.ClassNone},
		{"before the answer to a body", "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nabc", "", metrics.ClassNone},
		{"amid the answer", "GET / HTTP/1.1\r\nHost: a\r\n\r\n", "HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nabc", metrics.Class2xx},
		{"amid a chunked answer", "GET / HTTP/1.1\r\nHost: a\r\n\r\n", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n", metrics.Class2xx},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			address, came, ended := waitingOrigin(t, tt.said)
			other := behaving(t, telling(200, "other"))
			b, url := spread(t, nil, address, other.address)
			nc := dial(t, url)
			_, _ = io.WriteString(nc, tt.sent)
			<-came
			if tt.said != "" {
				resp, err := http.ReadResponse(bufio.NewReader(nc), nil)
				if err != nil {
					t.Fatal(err)
				}
				t.Cleanup(func() { _ = resp.Body.Close() })
			}
			reset(nc)
			<-ended
			eventually(t, "the exchange is counted as aborted", func() bool { return b.failures(live.RequestAborted) == 1 })
			eventually(t, "it is over, in its class", func() bool {
				var totals metrics.Totals
				b.registry.Gateways()[0].Read(&totals)
				return totals.Requests[tt.class] == 1 && totals.InFlight == 0
			})
			if other.seen.Load() != 0 {
				t.Error("what nobody waits for was tried elsewhere")
			}
		})
	}
}

// A client that has said all it has to say may still listen.
func TestAClientThatOnlyEndsItsOwnDirectionGetsItsAnswer(t *testing.T) {
	t.Parallel()
	let := make(chan struct{})
	i := behaving(t, func(nc net.Conn, r *http.Request) bool {
		<-let
		return telling(200, "late")(nc, r)
	})
	b, url := spread(t, nil, i.address)
	nc := dial(t, url)
	_, _ = io.WriteString(nc, "GET / HTTP/1.1\r\nHost: a\r\n\r\n")
	_ = nc.(*net.TCPConn).CloseWrite()
	// Another one is found gone meanwhile: the sweep has looked at both.
	address, came, ended := waitingOrigin(t, "")
	other, otherURL := spread(t, nil, address)
	gone := dial(t, otherURL)
	_, _ = io.WriteString(gone, "GET / HTTP/1.1\r\nHost: a\r\n\r\n")
	<-came
	reset(gone)
	<-ended
	close(let)
	resp, err := http.ReadResponse(bufio.NewReader(nc), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if body, _ := io.ReadAll(resp.Body); resp.StatusCode != http.StatusOK || string(body) != "late" {
		t.Errorf("status %d, %q; want the answer", resp.StatusCode, body)
	}
	if b.failures(live.RequestAborted) != 0 || other.failures(live.RequestAborted) > 1 {
		t.Error("an exchange was counted as aborted that was not")
	}
}
