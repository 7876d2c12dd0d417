// SPDX-License-Identifier: Apache-2.0

package shop

import (
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"
)

// maxLatency bounds the latency knob.
const maxLatency = time.Minute

// knobs make an instance slow or broken. The zero knobs leave it well. They
// are safe for concurrent use.
type knobs struct {
	// mu guards the fields below.
	mu      sync.Mutex
	latency time.Duration
	errors  int // hundredths of a percent of requests that fail: 0 to 10,000
	debt    int // errors owed so far, in the same unit of one request
}

// draw returns what the next request has to suffer. Errors are spread evenly,
// so that any run of requests has its share of them, to within one.
func (k *knobs) draw() (latency time.Duration, failed bool) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.debt += k.errors
	if k.debt >= fullShare {
		k.debt -= fullShare
		failed = true
	}
	return k.latency, failed
}

// fullShare is 100 %.
const fullShare = 10_000

func (k *knobs) turn(t turn) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if t.latency != nil {
		k.latency = *t.latency
	}
	if t.errors != nil && *t.errors != k.errors {
		k.errors, k.debt = *t.errors, 0
	}
}

// position is how knobs stand, as shown.
type position struct {
	Version  string `json:"version"`
	Instance string `json:"instance"`
	Latency  string `json:"latency"`
	Errors   string `json:"errors"`
}

func (in *Instance) position() position {
	in.knobs.mu.Lock()
	defer in.knobs.mu.Unlock()
	return position{
		Version: in.Version, Instance: in.Name,
		Latency: in.knobs.latency.String(),
		Errors:  strconv.FormatFloat(float64(in.knobs.errors)/100, 'f', -1, 64) + "%",
	}
}

// turn is what a request asks of knobs; nil leaves one as it is.
type turn struct {
	version, instance string // empty means all
	latency           *time.Duration
	errors            *int
}

// parseTurn reads version=, instance=, latency= and errors= of a raw query. A
// percent sign that encodes nothing stands for itself, so that errors=10% may
// be typed as it is.
func parseTurn(query string) (turn, error) {
	var t turn
	for pair := range strings.SplitSeq(query, "&") {
		if pair == "" {
			continue
		}
		key, value, _ := strings.Cut(pair, "=")
		if decoded, err := url.QueryUnescape(value); err == nil {
			value = decoded
		}
		if err := t.set(key, value); err != nil {
			return turn{}, err
		}
	}
	if t.latency == nil && t.errors == nil {
		return turn{}, errors.New("no knob is named; latency=50ms, errors=10%, or both")
	}
	return t, nil
}

func (t *turn) set(key, value string) error {
	switch key {
	case "version":
		if !slices.Contains(Versions(), value) {
			return fmt.Errorf("version=%s: no such version; %s", value, strings.Join(Versions(), " or "))
		}
		t.version = value
	case "instance":
		t.instance = value
	case "latency":
		d, err := time.ParseDuration(value)
		if err != nil || d < 0 || d > maxLatency {
			return fmt.Errorf("latency=%s: not a latency; 0s to %s, such as 50ms", value, maxLatency)
		}
		t.latency = &d
	case "errors":
		share, err := strconv.ParseFloat(strings.TrimSuffix(value, "%"), 64)
		if err != nil || !(share >= 0 && share <= 100) {
			return fmt.Errorf("errors=%s: not a share; 0%% to 100%%", value)
		}
		hundredths := int(share*100 + 0.5)
		t.errors = &hundredths
	default:
		return fmt.Errorf("%s: no such knob; version, instance, latency or errors", key)
	}
	return nil
}

func (in *Instance) showKnobs(w http.ResponseWriter, _ *http.Request) {
	writeJSON(w, in.position())
}

func (in *Instance) turnKnobs(w http.ResponseWriter, r *http.Request) {
	t, err := parseTurn(r.URL.RawQuery)
	if err != nil {
		http.Error(w, in.String()+": "+err.Error(), http.StatusBadRequest)
		return
	}
	in.knobs.turn(t)
	in.showKnobs(w, r)
}

// knobs answers on the address that turns the knobs of many instances at
// once.
func (s *Shop) knobs() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /knobs", func(w http.ResponseWriter, _ *http.Request) {
		writeJSON(w, s.positions(turn{}))
	})
	mux.HandleFunc("POST /knobs", func(w http.ResponseWriter, r *http.Request) {
		t, err := parseTurn(r.URL.RawQuery)
		if err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		turned := s.matching(t)
		if len(turned) == 0 {
			http.Error(w, "instance="+t.instance+": no such instance; a or b", http.StatusBadRequest)
			return
		}
		for _, in := range turned {
			in.knobs.turn(t)
		}
		writeJSON(w, s.positions(t))
	})
	// A page of another site that is open in the same browser must not turn
	// them.
	return http.NewCrossOriginProtection().Handler(mux)
}

func (s *Shop) matching(t turn) []*Instance {
	var found []*Instance
	for _, in := range s.instances {
		if (t.version == "" || t.version == in.Version) && (t.instance == "" || t.instance == in.Name) {
			found = append(found, in)
		}
	}
	return found
}

func (s *Shop) positions(t turn) []position {
	var all []position
	for _, in := range s.matching(t) {
		all = append(all, in.position())
	}
	return all
}
