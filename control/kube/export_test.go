// SPDX-License-Identifier: Apache-2.0

package kube

import (
	"encoding/json"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/sluice-mesh/sluice/control/planner"
	"github.com/sluice-mesh/sluice/routing"
)

// What only tests ask for.
var (
	NamespaceLabel = namespaceLabel
	LabelValue     = labelValue
	Cut            = cut
	EventName      = eventName
)

// ObjectSource is the key of an object that is a gateway.
func ObjectSource(namespace, name string) string { return source(objectKey{namespace, name}) }

// Fate is what became of an object.
type Fate struct {
	Planned  planner.Object
	Gateway  *routing.Gateway
	Deployed Deployment
	Address  *Address
	Services bool
	Trouble  string
}

// Status returns the status of an object as it is to be, as JSON of its patch,
// its weights and its conditions; changed says that it is not so already.
func Status(object map[string]any, f Fate) (patch, weights string, conditions []metav1.Condition, changed bool) {
	o := readObject(trimObject(&unstructured.Unstructured{Object: object}))
	s := o.next(fate{f.Planned, f.Gateway, f.Deployed, f.Address, f.Services, f.Trouble})
	text, err := s.patch(o.uid)
	if err != nil {
		panic(err)
	}
	return string(text), s.Weights, s.Conditions, !s.same(o.status)
}

// StatusOf returns an object with the status of a patch, as the API server
// would have it.
func StatusOf(object map[string]any, patch string) map[string]any {
	var fields struct{ Status map[string]any }
	if err := json.Unmarshal([]byte(patch), &fields); err != nil {
		panic(err)
	}
	for name, value := range fields.Status {
		if value == nil {
			delete(fields.Status, name)
		}
	}
	object["status"] = fields.Status
	return object
}

// Locked calls f while nobody else may look at what w knows.
func (w *Writer) Locked(f func()) {
	w.mu.Lock()
	defer w.mu.Unlock()
	f()
}

// ReadObjects returns what is read of an object, and of what is kept of it.
func ReadObjects(object map[string]any) (whole, cut any) {
	return *readObject(&unstructured.Unstructured{Object: object}), *readObject(trimObject(&unstructured.Unstructured{Object: object}))
}
