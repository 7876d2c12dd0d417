// SPDX-License-Identifier: Apache-2.0

package main

import (
	"net/http"
	"net/http/httptest"
	"os"

	"github.com/rogpeppe/go-internal/testscript"
)

// serveMarathon answers as a Marathon does that has the apps of a file, to whom
// says that he is me with the password secret: marathon FILE. Its URL is in
// $MARATHON.
func serveMarathon(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 1 {
		ts.Fatalf("usage: marathon FILE")
	}
	apps, err := os.ReadFile(ts.MkAbs(args[0]))
	ts.Check(err)
	mux := http.NewServeMux()
	mux.HandleFunc("GET /v2/apps", func(w http.ResponseWriter, r *http.Request) {
		if name, password, ok := r.BasicAuth(); !ok || name != "me" || password != "secret" {
			http.Error(w, `{"message":"Authentication required"}`, http.StatusUnauthorized)
			return
		}
		w.Header().Set("Content-Type", "application/json")
		_, _ = w.Write(apps)
	})
	server := httptest.NewServer(mux)
	ts.Defer(server.Close)
	ts.Setenv("MARATHON", server.URL)
}
