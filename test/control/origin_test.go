// SPDX-License-Identifier: Apache-2.0

//go:build linux

package control

import (
	"io"
	"net/http"
	"net/http/httptest"
	"testing"
)

// origin starts a server that answers with its name, and returns its address.
func origin(t *testing.T, name string) string {
	t.Helper()
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		_, _ = io.WriteString(w, name) // whoever reads counts what is missing
	}))
	t.Cleanup(srv.Close)
	return srv.Listener.Addr().String()
}
