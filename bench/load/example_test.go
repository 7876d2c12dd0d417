// SPDX-License-Identifier: Apache-2.0

package load_test

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"

	"github.com/sluice-mesh/sluice/bench/load"
)

func ExampleRun() {
	shop := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/basket" {
			w.WriteHeader(http.StatusNotFound)
		}
	}))
	defer shop.Close()

	result, err := load.Run(context.Background(), load.Plan{
		Address: shop.Listener.Addr().String(),
		Mix: []load.Request{
			{Name: "home", Weight: 9, Wire: []byte("GET / HTTP/1.1\r\nHost: shop.example\r\n\r\n")},
			{Name: "basket", Weight: 1, Wire: []byte("GET /basket HTTP/1.1\r\nHost: shop.example\r\n\r\n")},
		},
		Connections: 4,
		Rate:        1000,
		Requests:    200,
	}, nil)
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println("answered:", result.Requests, "failed:", result.Failed())
	fmt.Println("found:", result.Status[2], "not found:", result.Status[4])
	// Output:
	// answered: 200 failed: 0
	// found: 180 not found: 20
}
