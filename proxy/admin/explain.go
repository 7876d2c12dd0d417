// SPDX-License-Identifier: Apache-2.0

package admin

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"

	"github.com/sluice-mesh/sluice/routing"
)

// explain answers what would become of a request that is described as JSON.
// Errors are JSON too: {"error": {"field": ..., "problem": ...}}.
func (s *Server) explain(w http.ResponseWriter, r *http.Request) {
	var asked routing.ExplainRequest
	d := json.NewDecoder(r.Body)
	d.DisallowUnknownFields()
	err := d.Decode(&asked)
	if err == nil {
		if _, rest := d.Token(); !errors.Is(rest, io.EOF) {
			err = errors.New("something follows behind the object")
		}
	}
	if _, large := errors.AsType[*http.MaxBytesError](err); large {
		s.refuse(w, r, http.StatusRequestEntityTooLarge, &routing.ExplainError{
			Field: "body", Problem: fmt.Sprintf("more than %d bytes", maxBodyBytes),
		})
		return
	}
	if err != nil {
		s.refuse(w, r, http.StatusBadRequest, &routing.ExplainError{
			Field: "body", Problem: err.Error() + `; an object such as {"method": "GET", "url": "http://shop.example/"}`,
		})
		return
	}
	explanation, err := s.o.Explain(asked)
	if err != nil {
		s.refuse(w, r, http.StatusBadRequest, err)
		return
	}
	s.json(w, r, http.StatusOK, explanation)
}

// refuse answers what is wrong with a request to explain.
func (s *Server) refuse(w http.ResponseWriter, r *http.Request, code int, err error) {
	wrong, ok := errors.AsType[*routing.ExplainError](err)
	if !ok {
		wrong = &routing.ExplainError{Field: "body", Problem: err.Error()}
	}
	s.json(w, r, code, map[string]any{"error": wrong})
}
