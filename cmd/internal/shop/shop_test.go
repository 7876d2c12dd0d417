// SPDX-License-Identifier: Apache-2.0

package shop_test

import (
	"context"
	"encoding/json"
	"io"
	"net"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sluice-mesh/sluice/cmd/internal/shop"
)

// open runs a shop until the test ends, and checks that it then ends well.
func open(t *testing.T) *shop.Shop {
	t.Helper()
	s, err := shop.Open(t.Context(), shop.Options{})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- s.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Errorf("Run() = %v after its context ended, want nil", err)
		}
	})
	return s
}

type answer struct {
	status int
	header http.Header
	body   string
}

func ask(t *testing.T, method, url string, fields ...string) answer {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), method, url, http.NoBody)
	if err != nil {
		t.Fatal(err)
	}
	for i := 0; i < len(fields); i += 2 {
		r.Header.Set(fields[i], fields[i+1])
	}
	resp, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return answer{resp.StatusCode, resp.Header, string(body)}
}

func TestInstances(t *testing.T) {
	s := open(t)
	if got := len(s.Instances()); got != 4 {
		t.Fatalf("%d instances, want 4", got)
	}
	pages := make(map[string]bool)
	for _, in := range s.Instances() {
		t.Run("every answer of "+in.String()+" names it", func(t *testing.T) {
			for _, tt := range []struct {
				path   string
				status int
			}{{"/", 200}, {"/api", 200}, {"/version", 200}, {"/healthz", 200}, {"/knobs", 200}, {"/nothing", 404}} {
				a := ask(t, "GET", "http://"+in.Address()+tt.path)
				if a.status != tt.status || a.header.Get("Shop-Version") != in.Version || a.header.Get("Shop-Instance") != in.Name {
					t.Errorf("GET %s = %d, version %q, instance %q, want %d, %q, %q", tt.path, a.status,
						a.header.Get("Shop-Version"), a.header.Get("Shop-Instance"), tt.status, in.Version, in.Name)
				}
				if !strings.Contains(a.body, in.Version) {
					t.Errorf("GET %s = %q, want the version %s in it", tt.path, a.body, in.Version)
				}
			}
		})
		pages[strings.ReplaceAll(ask(t, "GET", "http://"+in.Address()).body, "<b>"+in.Name+"</b>", "")] = true
	}
	if len(pages) != 2 {
		t.Errorf("%d different pages, want one a version", len(pages))
	}
	for page := range pages {
		for _, outside := range []string{"http://", "https://", "//cdn", "@import"} {
			if strings.Contains(page, outside) {
				t.Errorf("a page contains %q, want it to need nothing from outside", outside)
			}
		}
	}
}

func TestAPIShowsTheRequest(t *testing.T) {
	s := open(t)
	a := ask(t, "GET", "http://"+s.Instances()[0].Address()+"/api", "Cookie", "beta=yes", "X-Forwarded-For", "192.0.2.7")
	var got struct {
		Version string
		Goods   []struct{ Name, Price string }
		Request struct {
			Beta bool
			XFF  string `json:"x_forwarded_for"`
		}
	}
	if err := json.Unmarshal([]byte(a.body), &got); err != nil {
		t.Fatalf("GET /api = %q: %v", a.body, err)
	}
	if got.Version != "1.0.0" || len(got.Goods) == 0 || !got.Request.Beta || got.Request.XFF != "192.0.2.7" {
		t.Errorf("GET /api = %+v, want version 1.0.0, goods, beta and the forwarded address", got)
	}
}

func TestKnobs(t *testing.T) {
	s := open(t)
	knobs := "http://" + s.Control() + "/knobs"

	for _, share := range []string{"errors=10%", "errors=10", "errors=10%25"} {
		t.Run(share+" fails one request in ten", func(t *testing.T) {
			ask(t, "POST", knobs+"?errors=0")
			if a := ask(t, "POST", knobs+"?version=1.1.0&"+share); a.status != 200 || strings.Count(a.body, `"10%"`) != 2 {
				t.Fatalf("POST = %d %q, want both instances at 10%%", a.status, a.body)
			}
			for _, in := range s.Instances() {
				failed := 0
				for range 100 {
					if a := ask(t, "GET", "http://"+in.Address()+"/version"); a.status == 500 {
						failed++
					}
				}
				want := 0
				if in.Version == "1.1.0" {
					want = 10
				}
				if failed != want {
					t.Errorf("%s failed %d of 100, want %d", in, failed, want)
				}
			}
		})
	}
	t.Run("latency delays the answers of the named instance", func(t *testing.T) {
		ask(t, "POST", knobs+"?errors=0&version=1.0.0&instance=b&latency=30ms")
		begin := time.Now()
		ask(t, "GET", "http://"+s.Instances()[1].Address()+"/version")
		if took := time.Since(begin); took < 30*time.Millisecond {
			t.Errorf("answered after %v, want 30ms at least", took)
		}
		a := ask(t, "GET", knobs)
		if strings.Count(a.body, `"30ms"`) != 1 {
			t.Errorf("GET /knobs = %s, want 30ms at one instance", a.body)
		}
	})
	t.Run("an instance turns its own knobs", func(t *testing.T) {
		in := s.Instances()[0]
		ask(t, "POST", "http://"+in.Address()+"/knobs?errors=100")
		if a := ask(t, "GET", "http://"+in.Address()+"/version"); a.status != 500 || !strings.Contains(a.body, in.String()) {
			t.Errorf("GET /version = %d %q, want 500 that names the instance", a.status, a.body)
		}
	})
	for _, tt := range []struct{ name, query, want string }{
		{"an unknown version is refused with those that exist", "version=2&errors=1", "1.0.0 or 1.1.0"},
		{"an unknown instance is refused", "instance=z&errors=1", "no such instance"},
		{"a share above 100 is refused", "errors=101", "0% to 100%"},
		{"a share that is no number is refused", "errors=NaN", "0% to 100%"},
		{"a negative latency is refused", "latency=-1s", "0s to 1m0s"},
		{"an unknown knob is refused with those that exist", "delay=1s", "latency or errors"},
		{"no knob at all is refused", "", "no knob"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if a := ask(t, "POST", knobs+"?"+tt.query); a.status != 400 || !strings.Contains(a.body, tt.want) {
				t.Errorf("POST ?%s = %d %q, want 400 with %q", tt.query, a.status, a.body, tt.want)
			}
		})
	}
	t.Run("a page of another site cannot turn them", func(t *testing.T) {
		if a := ask(t, "POST", knobs+"?errors=100", "Sec-Fetch-Site", "cross-site"); a.status != 403 {
			t.Errorf("cross-site POST = %d, want 403", a.status)
		}
	})
}

func TestOpenSaysWhatIsTaken(t *testing.T) {
	var lc net.ListenConfig
	ln, err := lc.Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	if _, err := shop.Open(t.Context(), shop.Options{Control: ln.Addr().String()}); err == nil || !strings.Contains(err.Error(), "knobs") {
		t.Errorf("Open with a taken control address: error = %v, want one that names the knobs", err)
	}
}

// answers stands for a shop: each answer comes after delay. It counts the beta
// guests.
type answers struct {
	delay   time.Duration
	version string
	status  int
	betas   *atomic.Int64
}

func (a answers) RoundTrip(r *http.Request) (*http.Response, error) {
	if c, err := r.Cookie("beta"); err == nil && c.Value == "yes" {
		a.betas.Add(1)
	}
	select {
	case <-time.After(a.delay):
	case <-r.Context().Done():
		return nil, r.Context().Err()
	}
	return &http.Response{
		StatusCode: a.status, Header: http.Header{"Shop-Version": {a.version}},
		Body: io.NopCloser(strings.NewReader("x")), Request: r,
	}, nil
}

func TestLoad(t *testing.T) {
	for _, tt := range []struct {
		name                     string
		rate                     float64
		shop                     answers
		sent, failed, old, betas int64
	}{
		{"a well shop sees the asked rate, a tenth of it beta guests", 20, answers{version: "1.0.0", status: 200}, 200, 0, 200, 20},
		{"answers of 500 count as failed", 20, answers{version: "1.0.0", status: 500}, 200, 200, 0, 20},
		{"a slow shop is not buried", 20, answers{version: "1.0.0", status: 200, delay: 1990 * time.Millisecond}, 32, 0, 32, 4},
		{"no rate means no customers", 0, answers{version: "1.0.0", status: 200}, 0, 0, 0, 0},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				tt.shop.betas = new(atomic.Int64)
				l := shop.NewLoad(shop.LoadOptions{URL: "http://shop", Rate: tt.rate, Transport: tt.shop})
				ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second+time.Millisecond)
				defer cancel()
				if err := l.Run(ctx); err != nil {
					t.Fatal(err)
				}
				got := l.Sales()
				if got.Sent != tt.sent || got.Failed != tt.failed || got.Served["1.0.0"] != tt.old || got.Served["1.1.0"] != 0 {
					t.Errorf("Sales() = %+v, want %d sent, %d failed, %d by 1.0.0", got, tt.sent, tt.failed, tt.old)
				}
				if betas := tt.shop.betas.Load(); betas != tt.betas {
					t.Errorf("%d beta guests, want %d", betas, tt.betas)
				}
			})
		})
	}
}
