// SPDX-License-Identifier: Apache-2.0

//go:build linux

package bed

import (
	"bufio"
	"bytes"
	"cmp"
	"encoding/json"
	"os"
	"testing"
)

// auditPolicy has the API server write down what accounts of pods ask for. All
// else, which is much more, is not written.
const auditPolicy = `
apiVersion: audit.k8s.io/v1
kind: Policy
omitStages: [RequestReceived]
rules:
- {level: Metadata, userGroups: ["system:serviceaccounts"]}
- {level: None}
`

// Request is what an account of pods asked the API server for.
type Request struct {
	Verb        string
	Group       string // of the resource, "" for the core
	Resource    string // with its subresource, as in pods/status
	Namespace   string
	Name        string
	Status      int // of the answer
	Explanation string
}

// Requests returns what an account has asked for so far, the oldest first.
func (b *Bed) Requests(tb testing.TB, namespace, account string) []Request {
	tb.Helper()
	text, err := os.ReadFile(b.in("audit.log"))
	if err != nil {
		tb.Fatal(err)
	}
	var all []Request
	lines := bufio.NewScanner(bytes.NewReader(text))
	lines.Buffer(nil, len(text)+1)
	for lines.Scan() {
		var e struct {
			Verb           string
			User           struct{ Username string }
			ObjectRef      struct{ APIGroup, Resource, Subresource, Namespace, Name string }
			ResponseStatus struct {
				Code    int
				Message string
			}
		}
		if json.Unmarshal(lines.Bytes(), &e) != nil || e.User.Username != "system:serviceaccount:"+namespace+":"+account {
			continue // the last line may not be whole yet
		}
		resource := e.ObjectRef.Resource
		if e.ObjectRef.Subresource != "" {
			resource += "/" + e.ObjectRef.Subresource
		}
		all = append(all, Request{
			Verb: e.Verb, Group: e.ObjectRef.APIGroup, Resource: resource,
			Namespace: e.ObjectRef.Namespace, Name: e.ObjectRef.Name,
			Status: cmp.Or(e.ResponseStatus.Code, 200), Explanation: e.ResponseStatus.Message,
		})
	}
	return all
}
