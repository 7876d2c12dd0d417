// SPDX-License-Identifier: Apache-2.0

package proxy_test

import (
	"fmt"
	"io"
	"maps"
	"net/http"
	"strconv"
	"strings"
)

// mux returns what an instance does, by path.
func (s *stage) mux() http.Handler {
	m := http.NewServeMux()
	m.HandleFunc("/hello", named("hello"))
	m.HandleFunc("/echo", echo)
	m.HandleFunc("/echo/pieces", echoPieces)
	m.HandleFunc("/seen/", s.see)
	m.HandleFunc("/status/{code}", answerStatus)
	m.HandleFunc("/sized", answerSized)
	m.HandleFunc("/hints", answerHints)
	m.HandleFunc("/early", answerEarly)
	m.HandleFunc("/trailers", answerTrailers)
	m.HandleFunc("/steps", s.steps)
	m.HandleFunc("/wait", s.wait)
	m.HandleFunc("/drip", s.drip)
	m.HandleFunc("/read", s.read)
	m.HandleFunc("/abort", func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) })
	m.HandleFunc("/abort/sized", func(w http.ResponseWriter, _ *http.Request) { abortAfter(w, "1000") })
	m.HandleFunc("/abort/streamed", func(w http.ResponseWriter, _ *http.Request) { abortAfter(w, "") })
	m.HandleFunc("/abort/reading", abortReading)
	return m
}

func flush(w http.ResponseWriter) { _ = http.NewResponseController(w).Flush() }

// see shows the request to the test and answers with the length it announced.
func (s *stage) see(w http.ResponseWriter, r *http.Request) {
	w.Header().Add("Set-Cookie", "a=1")
	w.Header().Add("Set-Cookie", "b=2")
	_, _ = io.Copy(io.Discard, r.Body)
	_, _ = io.WriteString(w, strconv.FormatInt(r.ContentLength, 10))
	s.seen <- r
}

func answerStatus(w http.ResponseWriter, r *http.Request) {
	code, _ := strconv.Atoi(r.PathValue("code")) // the test wrote it
	w.Header().Set("ETag", `"x"`)
	w.WriteHeader(code)
}

// sizedAnswer is how long an answer is to be that tells its length.
const sizedAnswer = 1234

func answerSized(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Content-Length", strconv.Itoa(sizedAnswer))
	if r.Method != http.MethodHead {
		_, _ = io.WriteString(w, strings.Repeat("x", sizedAnswer))
	}
}

func answerHints(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Link", "</style.css>; rel=preload")
	w.WriteHeader(http.StatusEarlyHints)
	w.WriteHeader(http.StatusEarlyHints)
	w.Header().Del("Link")
	_, _ = io.WriteString(w, "hello")
}

// answerEarly answers without reading the request, which the server would do
// first in HTTP/1.
func answerEarly(w http.ResponseWriter, _ *http.Request) {
	_ = http.NewResponseController(w).EnableFullDuplex()
	http.Error(w, "no", http.StatusUnauthorized)
}

// answerTrailers sends back the trailers that came, behind the content that
// came, and one that counts the content.
func answerTrailers(w http.ResponseWriter, r *http.Request) {
	_ = http.NewResponseController(w).EnableFullDuplex()
	w.Header().Set("Trailer", "X-Count")
	w.WriteHeader(http.StatusOK)
	n, err := io.Copy(w, r.Body)
	w.Header().Set("X-Count", fmt.Sprint(n, err))
	for name, values := range maps.All(r.Trailer) {
		w.Header()[http.TrailerPrefix+name] = values
	}
}

// steps sends a piece each time the test says so, and ends with the third.
func (s *stage) steps(w http.ResponseWriter, r *http.Request) {
	if r.URL.RawQuery == "sized" {
		w.Header().Set("Content-Length", "15")
	}
	for i := range 3 {
		_, _ = fmt.Fprintf(w, "step%d", i)
		flush(w)
		select {
		case <-s.next:
		case <-r.Context().Done():
			return
		}
	}
}

// wait does nothing until the client is gone.
func (s *stage) wait(_ http.ResponseWriter, r *http.Request) {
	s.began <- r.URL.Path
	<-r.Context().Done()
	s.ended <- r.Context().Err()
}

// drip begins an answer and writes on until that fails, or the client is gone.
func (s *stage) drip(w http.ResponseWriter, r *http.Request) {
	s.began <- r.URL.Path
	for {
		if _, err := io.WriteString(w, strings.Repeat("drop", 1<<10)); err != nil || r.Context().Err() != nil {
			s.ended <- fmt.Errorf("%w, %w", err, r.Context().Err())
			return
		}
		flush(w)
	}
}

// read reads all that comes, and tells how that ended.
func (s *stage) read(w http.ResponseWriter, r *http.Request) {
	_, err := io.ReadFull(r.Body, make([]byte, 1))
	s.began <- r.URL.Path
	if err == nil {
		_, err = io.Copy(io.Discard, r.Body)
	}
	s.ended <- err
	_, _ = fmt.Fprint(w, err)
}

// abortAfter breaks an answer off in the middle.
func abortAfter(w http.ResponseWriter, length string) {
	if length != "" {
		w.Header().Set("Content-Length", length)
	}
	_, _ = io.WriteString(w, "the beginning")
	flush(w)
	panic(http.ErrAbortHandler)
}

// abortReading breaks off in the middle of a request.
func abortReading(w http.ResponseWriter, r *http.Request) {
	_, _ = io.ReadFull(r.Body, make([]byte, 10))
	if nc, _, err := http.NewResponseController(w).Hijack(); err == nil {
		_ = nc.Close() // in HTTP/1 the server would read on
		return
	}
	panic(http.ErrAbortHandler)
}

// echoPieces sends each piece back when it comes.
func echoPieces(w http.ResponseWriter, r *http.Request) {
	_ = http.NewResponseController(w).EnableFullDuplex()
	for piece := make([]byte, 1<<10); ; {
		n, err := r.Body.Read(piece)
		_, _ = w.Write(piece[:n])
		flush(w)
		if err != nil {
			return
		}
	}
}
