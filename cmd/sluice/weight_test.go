// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"cmp"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"sync"
	"testing"
)

// shopAPI is a gateway that others write at the same time: each PATCH finds
// what meanwhile makes of it.
type shopAPI struct {
	mu        sync.Mutex // guards the fields below
	revision  int
	weights   [2]string
	meanwhile []func(*shopAPI) // one for each PATCH
	patched   []string         // bodies that were taken
}

func (s *shopAPI) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if r.Method == http.MethodPatch {
		if len(s.meanwhile) > 0 {
			s.meanwhile[0](s)
			s.meanwhile = s.meanwhile[1:]
		}
		if r.Header.Get("If-Match") != fmt.Sprintf("%q", strconv.Itoa(s.revision)) {
			w.WriteHeader(http.StatusPreconditionFailed)
			fmt.Fprint(w, `{"message": "it is another one by now"}`)
			return
		}
		body, _ := io.ReadAll(r.Body)
		s.patched = append(s.patched, string(body))
		w.Header().Set("Sluice-Change", "9")
	}
	w.Header().Set("ETag", fmt.Sprintf("%q", strconv.Itoa(s.revision)))
	fmt.Fprintf(w, `{"name": "shop", "routes": {"a": {"weight": %q}, "b": {"weight": %q}}}`, s.weights[0], s.weights[1])
}

func TestWeightsOfOthersAreNotWrittenOver(t *testing.T) {
	elsewhere := func(s *shopAPI) { s.revision++ } // something else of the gateway
	weights := func(s *shopAPI) { s.revision++; s.weights = [2]string{"70%", "30%"} }
	const asked = `{"routes":{"a":"60%","b":"40%"}}`
	for _, tt := range []struct {
		name      string
		meanwhile []func(*shopAPI)
		code      int
		patched   string
		stderr    string
	}{
		{"nobody else writes", nil, exitOK, asked, ""},
		{"a change elsewhere in the gateway is no obstacle", []func(*shopAPI){elsewhere}, exitOK, asked, ""},
		{
			"other weights are",
			[]func(*shopAPI){weights},
			exitError, "",
			"somebody else changed gateway shop meanwhile, so nothing was written; its weights are now a 70%, b 30%",
		},
		{
			"it is tried again once",
			[]func(*shopAPI){elsewhere, elsewhere},
			exitError, "",
			"somebody else changed gateway shop meanwhile, so nothing was written; its weights are now a 90%, b 10%",
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			api := &shopAPI{revision: 4, weights: [2]string{"90%", "10%"}, meanwhile: tt.meanwhile}
			server := httptest.NewServer(api)
			defer server.Close()
			var out, stderr bytes.Buffer
			code := execute([]string{"weight", "shop", "b=40", "--host", server.URL, "--config", "/dev/null"}, nil, &out, &stderr)
			if got := strings.Join(api.patched, ""); code != tt.code || got != tt.patched {
				t.Errorf("it exits with %d and writes %s; want %d and %s\n%s", code, got, tt.code, cmp.Or(tt.patched, "nothing"), &stderr)
			}
			if !strings.Contains(stderr.String(), tt.stderr) {
				t.Errorf("it tells %q, want %q in it", &stderr, tt.stderr)
			}
		})
	}
}
