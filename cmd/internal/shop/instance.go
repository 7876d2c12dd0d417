// SPDX-License-Identifier: Apache-2.0

package shop

import (
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"time"
)

// Instance is one running copy of one version.
type Instance struct {
	// Version is what it runs, such as 1.0.0.
	Version string
	// Name tells it from the other instances of its version: a, b.
	Name string

	listener net.Listener
	mux      *http.ServeMux
	knobs    knobs
}

func newInstance(version, name string, ln net.Listener) *Instance {
	in := &Instance{Version: version, Name: name, listener: ln, mux: http.NewServeMux()}
	in.mux.Handle("GET /{$}", in.troubled(in.page))
	in.mux.Handle("GET /api", in.troubled(in.api))
	in.mux.Handle("GET /version", in.troubled(in.version))
	in.mux.HandleFunc("GET /healthz", in.version)
	in.mux.HandleFunc("GET /knobs", in.showKnobs)
	in.mux.HandleFunc("POST /knobs", in.turnKnobs)
	in.mux.Handle("/", in.troubled(in.missing))
	return in
}

// Address returns where it listens, host:port.
func (in *Instance) Address() string { return in.listener.Addr().String() }

// String returns one line that names version and instance.
func (in *Instance) String() string { return "shop " + in.Version + " instance " + in.Name }

// ServeHTTP answers one request. Every answer names version and instance in
// the fields Shop-Version and Shop-Instance.
func (in *Instance) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Shop-Version", in.Version)
	w.Header().Set("Shop-Instance", in.Name)
	in.mux.ServeHTTP(w, r)
}

// troubled lets the knobs slow down or fail what next would answer.
func (in *Instance) troubled(next http.HandlerFunc) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		latency, failed := in.knobs.draw()
		if latency > 0 {
			late := time.NewTimer(latency)
			defer late.Stop()
			select {
			case <-late.C:
			case <-r.Context().Done():
				return
			}
		}
		if failed {
			http.Error(w, in.String()+": failed, as its error knob asks", http.StatusInternalServerError)
			return
		}
		next(w, r)
	})
}

func (in *Instance) page(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	w.Header().Set("Cache-Control", "no-store")
	look := in.Version
	if pages.Lookup(look+".html") == nil {
		look = Versions()[len(Versions())-1]
	}
	// A failed write is the reader's: it has gone away.
	_ = pages.ExecuteTemplate(w, look+".html", page{Version: in.Version, Instance: in.Name, Goods: goods})
}

// seen is what an instance saw of a request: it shows what a gateway adds.
type seen struct {
	Method        string `json:"method"`
	Path          string `json:"path"`
	Host          string `json:"host"`
	Beta          bool   `json:"beta"`
	ForwardedFor  string `json:"x_forwarded_for"`
	ForwardedHost string `json:"x_forwarded_host"`
	RequestID     string `json:"x_request_id"`
}

func (in *Instance) api(w http.ResponseWriter, r *http.Request) {
	_, err := r.Cookie("beta")
	writeJSON(w, struct {
		Version  string `json:"version"`
		Instance string `json:"instance"`
		Goods    []good `json:"goods"`
		Request  seen   `json:"request"`
	}{in.Version, in.Name, goods, seen{
		Method: r.Method, Path: r.URL.Path, Host: r.Host, Beta: err == nil,
		ForwardedFor:  r.Header.Get("X-Forwarded-For"),
		ForwardedHost: r.Header.Get("X-Forwarded-Host"),
		RequestID:     r.Header.Get("X-Request-Id"),
	}})
}

func (in *Instance) version(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	fmt.Fprintln(w, in)
}

func (in *Instance) missing(w http.ResponseWriter, r *http.Request) {
	http.Error(w, fmt.Sprintf("%s: nothing at %s %q; try /, /api or /version", in, r.Method, r.URL.Path), http.StatusNotFound)
}

func writeJSON(w http.ResponseWriter, v any) {
	w.Header().Set("Content-Type", "application/json")
	e := json.NewEncoder(w)
	e.SetIndent("", "  ")
	_ = e.Encode(v) // a failed write is the reader's: it has gone away
}
