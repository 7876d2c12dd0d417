// SPDX-License-Identifier: Apache-2.0

package admin

import (
	"bytes"
	"encoding/json"
	"fmt"
	"html"
	"io"
	"net/http"
	"net/http/pprof"
	"slices"
	"strconv"
	"strings"
)

// Check is one thing that must hold before traffic may come.
type Check struct {
	Name   string // a word, such as gateways
	OK     bool
	Detail string // why not, or more about it; may be empty
}

// handler returns the endpoints. A pattern for GET serves HEAD too; other
// methods are answered 405 by the mux, with what is allowed.
func (s *Server) handler() http.Handler {
	mux := http.NewServeMux()
	paths := []string{"/livez", "/readyz", "/startupz", "/healthz"}
	mux.HandleFunc("GET /livez", live)
	mux.HandleFunc("GET /healthz", live)
	mux.HandleFunc("GET /readyz", s.readyz)
	mux.HandleFunc("GET /startupz", s.startupz)
	if s.o.Metrics != nil {
		mux.Handle("GET /metrics", s.o.Metrics)
		paths = append(paths, "/metrics")
	}
	if s.o.Status != nil {
		mux.HandleFunc("GET /status", s.status)
		paths = append(paths, "/status")
	}
	if s.o.Confirm != nil {
		mux.HandleFunc("POST /confirm", s.confirm)
	}
	if s.o.Explain != nil {
		mux.HandleFunc("POST /explain", s.explain)
	}
	if s.o.Pprof {
		profiles(mux)
		paths = append(paths, "/debug/pprof/")
	}
	for pattern, h := range s.o.Handlers {
		mux.Handle(pattern, h)
		if path, ok := strings.CutPrefix(pattern, "GET /"); ok && !strings.Contains(path, "{") {
			paths = append(paths, "/"+path)
		}
	}
	slices.Sort(paths)
	mux.HandleFunc("GET /{$}", index(paths))
	return mux
}

// profiles serves Go's profiles. Importing their package also puts them on
// http.DefaultServeMux, which nothing serves.
func profiles(mux *http.ServeMux) {
	mux.HandleFunc("GET /debug/pprof/", pprof.Index)
	mux.HandleFunc("GET /debug/pprof/cmdline", pprof.Cmdline)
	mux.HandleFunc("GET /debug/pprof/profile", pprof.Profile)
	mux.HandleFunc("GET /debug/pprof/symbol", pprof.Symbol)
	mux.HandleFunc("POST /debug/pprof/symbol", pprof.Symbol)
	mux.HandleFunc("GET /debug/pprof/trace", pprof.Trace)
}

// index lists what can be looked at.
func index(paths []string) http.HandlerFunc {
	var b strings.Builder
	b.WriteString("<!doctype html>\n<title>Sluice admin</title>\n<h1>Sluice admin</h1>\n<ul>\n")
	for _, path := range paths {
		path = html.EscapeString(path)
		fmt.Fprintf(&b, "<li><a href=\"%s\">%s</a>\n", path, path)
	}
	b.WriteString("</ul>\n")
	page := b.String()
	return func(w http.ResponseWriter, _ *http.Request) {
		write(w, "text/html; charset=utf-8", http.StatusOK, page)
	}
}

// live answers whether the process should be left running. That it answers is
// the answer: a proxy that is not ready must not be restarted for it.
func live(w http.ResponseWriter, _ *http.Request) { write(w, plain, http.StatusOK, "ok\n") }

// readyz answers whether traffic may come now.
func (s *Server) readyz(w http.ResponseWriter, r *http.Request) {
	list, ok := s.checks()
	s.report(w, r, list, ok)
}

// startupz answers whether traffic could come at any time since the start.
func (s *Server) startupz(w http.ResponseWriter, r *http.Request) {
	list, ok := s.checks()
	s.report(w, r, list, ok || s.started.Load())
}

// checks returns the checks, one a line, and whether all hold.
func (s *Server) checks() (list string, ok bool) {
	ok = true
	var b strings.Builder
	if s.o.Ready != nil {
		for _, c := range s.o.Ready() {
			ok = ok && c.OK
			mark, detail := "[+]", c.Detail
			if !c.OK {
				mark = "[-]"
			}
			if detail != "" {
				detail = ": " + detail
			}
			fmt.Fprintf(&b, "%s %s%s\n", mark, c.Name, detail)
		}
	}
	if ok {
		s.started.Store(true)
	}
	return b.String(), ok
}

// report answers a probe: with the list if there is a fault, or if asked for.
// Who does not show the token learns only whether.
func (s *Server) report(w http.ResponseWriter, r *http.Request, list string, ok bool) {
	if !s.trusted(r) {
		list = ""
	}
	code, body := http.StatusOK, "ok\n"
	if !ok {
		code, body = http.StatusServiceUnavailable, list+"not ready\n"
	} else if r.URL.Query().Has("verbose") {
		body = list + body
	}
	write(w, plain, code, body)
}

// status answers the status as JSON.
func (s *Server) status(w http.ResponseWriter, r *http.Request) {
	s.json(w, r, http.StatusOK, s.o.Status())
}

// confirm believes what was held back.
func (s *Server) confirm(w http.ResponseWriter, r *http.Request) {
	s.json(w, r, http.StatusOK, map[string]int{"confirmed": s.o.Confirm()})
}

// json answers v, indented for people.
func (s *Server) json(w http.ResponseWriter, r *http.Request, code int, v any) {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false) // conditions are full of < and >
	enc.SetIndent("", "  ")
	if err := enc.Encode(v); err != nil {
		s.o.Log.ErrorContext(r.Context(), "admin answer not encoded", "path", r.URL.Path, "error", err)
		write(w, plain, http.StatusInternalServerError, "the answer could not be encoded\n")
		return
	}
	write(w, "application/json", code, b.String())
}

const plain = "text/plain; charset=utf-8"

// write answers a whole body; to HEAD, net/http sends its head only.
func write(w http.ResponseWriter, contentType string, code int, body string) {
	w.Header().Set("Content-Type", contentType)
	w.Header().Set("Content-Length", strconv.Itoa(len(body)))
	w.WriteHeader(code)
	_, _ = io.WriteString(w, body) // a client that is gone needs no answer
}
