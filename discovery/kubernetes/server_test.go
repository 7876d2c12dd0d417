// SPDX-License-Identifier: Apache-2.0

package kubernetes_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	networkingv1 "k8s.io/api/networking/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/rest"

	"github.com/sluice-mesh/sluice/discovery/kubernetes"
)

// object is an object of the API.
type object interface {
	runtime.Object
	metav1.Object
}

// server plays as much of an API server as lists and watches take, and its
// faults.
type server struct {
	at *httptest.Server

	streams bool // it can stream lists

	mu      sync.Mutex // guards the fields below
	moved   *sync.Cond // something happened
	version int
	objects map[string]object // by resource/namespace/name
	events  []event
	oldest  int            // events up to that version are forgotten
	refused map[string]int // status by resource; that of "" is for all
	cut     int            // how many times all watches were cut
	pages   int            // lists that were answered in part
	closed  bool
	asked   map[string]int // questions by resource
}

// event is something that happened.
type event struct {
	version  int
	resource string
	kind     string // ADDED, MODIFIED or DELETED
	object   object
}

func newServer(t *testing.T) *server {
	t.Helper()
	return startServer(t)
}

func startServer(tb testing.TB) *server {
	tb.Helper()
	s := &server{objects: make(map[string]object), refused: make(map[string]int), asked: make(map[string]int), version: 1}
	s.moved = sync.NewCond(&s.mu)
	s.at = httptest.NewServer(s)
	tb.Cleanup(s.close)
	return s
}

func (s *server) close() {
	s.mu.Lock()
	s.closed = true
	s.mu.Unlock()
	s.moved.Broadcast()
	s.at.CloseClientConnections()
	s.at.Close()
}

// client returns a way to the server.
func (s *server) client(t *testing.T) *kubernetes.Client {
	t.Helper()
	c, err := kubernetes.NewClient(&rest.Config{Host: s.at.URL}, "default")
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// resourceOf names the resource of an object.
func resourceOf(o object) string {
	switch o.(type) {
	case *corev1.Pod:
		return "pods"
	case *corev1.Service:
		return "services"
	case *corev1.ConfigMap:
		return "configmaps"
	case *discoveryv1.EndpointSlice:
		return "endpointslices"
	case *networkingv1.Ingress:
		return "ingresses"
	case *networkingv1.IngressClass:
		return "ingressclasses"
	case *corev1.Secret:
		return "secrets"
	case *metav1.PartialObjectMetadata:
		return "namespaces"
	}
	return kubernetes.GatewayResource
}

// put makes or changes an object.
func (s *server) put(o object) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.version++
	o.SetResourceVersion(strconv.Itoa(s.version))
	resource := resourceOf(o)
	key := resource + "/" + o.GetNamespace() + "/" + o.GetName()
	kind := "MODIFIED"
	if s.objects[key] == nil {
		kind = "ADDED"
	}
	s.objects[key] = o
	s.events = append(s.events, event{s.version, resource, kind, o})
	s.moved.Broadcast()
}

// remove takes an object of the namespace shop away, or a namespace.
func (s *server) remove(resource, called string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	key := resource + "/shop/" + called
	if resource == "namespaces" {
		key = resource + "//" + called
	}
	if o := s.objects[key]; o != nil {
		s.version++
		delete(s.objects, key)
		s.events = append(s.events, event{s.version, resource, "DELETED", o})
		s.moved.Broadcast()
	}
}

// forget loses the objects of a resource, as after a restore of an empty
// store: no event tells of that, and all watches break.
func (s *server) forget(resource string) {
	s.change(func() {
		for key := range s.objects {
			if strings.HasPrefix(key, resource+"/") {
				delete(s.objects, key)
			}
		}
	})
	s.expire()
}

// awaitQuestions waits until a resource was asked for that many times more.
func (s *server) awaitQuestions(t *testing.T, resource string, more int) {
	t.Helper()
	timer := time.AfterFunc(patience, s.moved.Broadcast)
	defer timer.Stop()
	s.mu.Lock()
	defer s.mu.Unlock()
	deadline := time.Now().Add(patience)
	for want := s.asked[resource] + more; s.asked[resource] < want; s.moved.Wait() {
		if time.Now().After(deadline) {
			t.Fatalf("%s are not asked for", resource)
		}
	}
}

// expire breaks all watches and forgets what happened.
func (s *server) expire() {
	s.change(func() {
		s.version++
		s.cut++
		s.oldest = s.version
		s.events = nil
	})
}

// refuse answers questions about a resource with a status; zero stops that.
func (s *server) refuse(resource string, status int) {
	s.change(func() {
		s.refused[resource] = status
		s.cut++
	})
}

func (s *server) change(f func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	f()
	s.moved.Broadcast()
}

// ServeHTTP implements http.Handler.
func (s *server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	resource, namespace := question(r.URL.Path)
	s.mu.Lock()
	status, cut := max(s.refused[resource], s.refused[""]), s.cut
	s.asked[resource]++
	s.moved.Broadcast()
	s.mu.Unlock()
	q := r.URL.Query()
	switch {
	case status != 0:
		refusal(w, status)
	case q.Get("watch") == "":
		s.list(w, resource, namespace, q)
	case q.Get("sendInitialEvents") == "true" && !s.streams:
		refusal(w, http.StatusUnprocessableEntity)
	default:
		s.watch(w, r, resource, namespace, cut)
	}
}

// question reads a path, such as /api/v1/namespaces/NAMESPACE/pods.
func question(path string) (resource, namespace string) {
	parts := strings.Split(path, "/")
	if at := slices.Index(parts, "namespaces"); at >= 0 && at+2 < len(parts) {
		namespace = parts[at+1]
	}
	return parts[len(parts)-1], namespace
}

func refusal(w http.ResponseWriter, status int) {
	reasons := map[int]metav1.StatusReason{
		http.StatusForbidden: metav1.StatusReasonForbidden, http.StatusNotFound: metav1.StatusReasonNotFound,
		http.StatusGone: metav1.StatusReasonExpired, http.StatusUnprocessableEntity: metav1.StatusReasonInvalid,
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(metav1.Status{
		TypeMeta: metav1.TypeMeta{Kind: "Status", APIVersion: "v1"},
		Status:   metav1.StatusFailure, Code: int32(status), Reason: reasons[status], Message: http.StatusText(status),
	})
}

// list answers with objects by name, as many as are asked for.
func (s *server) list(w http.ResponseWriter, resource, namespace string, q url.Values) {
	s.mu.Lock()
	defer s.mu.Unlock()
	var keys []string
	for key := range s.objects {
		if of := strings.Split(key, "/"); of[0] == resource && (namespace == "" || of[1] == namespace) && key > q.Get("continue") {
			keys = append(keys, key)
		}
	}
	slices.Sort(keys)
	m := metav1.ListMeta{ResourceVersion: strconv.Itoa(s.version)}
	if limit, _ := strconv.Atoi(q.Get("limit")); limit > 0 && limit < len(keys) {
		keys = keys[:limit]
		m.Continue = keys[limit-1]
		s.pages++
	}
	items := make([]object, len(keys))
	for i, key := range keys {
		items[i] = s.objects[key]
	}
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(map[string]any{"kind": kindOf(resource) + "List", "apiVersion": versionOf(resource), "metadata": m, "items": items})
}

func kindOf(resource string) string {
	return map[string]string{
		"pods": "Pod", "services": "Service", "configmaps": "ConfigMap", "endpointslices": "EndpointSlice",
		"replicasets": "PartialObjectMetadata", "namespaces": "PartialObjectMetadata", "ingresses": "Ingress", "ingressclasses": "IngressClass", "secrets": "Secret", kubernetes.GatewayResource: "SluiceGateway",
	}[resource]
}

func versionOf(resource string) string {
	switch resource {
	case "replicasets", "namespaces":
		return "meta.k8s.io/v1"
	case "endpointslices":
		return "discovery.k8s.io/v1"
	case "ingresses", "ingressclasses":
		return "networking.k8s.io/v1"
	case kubernetes.GatewayResource:
		return kubernetes.GatewayGroup + "/" + kubernetes.GatewayVersion
	}
	return "v1"
}

// watch tells of what happens until watches are cut once more.
func (s *server) watch(w http.ResponseWriter, r *http.Request, resource, namespace string, cut int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	q := r.URL.Query()
	from, _ := strconv.Atoi(q.Get("resourceVersion"))
	var first []event
	if q.Get("sendInitialEvents") == "true" {
		for key, o := range s.objects {
			if strings.HasPrefix(key, resource+"/") {
				first = append(first, event{kind: "ADDED", object: o})
			}
		}
		from = s.version
		first = append(first, event{kind: "BOOKMARK", object: s.bookmark(resource)})
	} else if from < s.oldest {
		refusal(w, http.StatusGone)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(http.StatusOK)
	stop := r.Context()
	defer s.broadcastAfter(stop.Done())()
	for {
		news := first
		first = nil
		for _, e := range s.events {
			if e.version > from && e.resource == resource && (namespace == "" || e.object.GetNamespace() == namespace) {
				news = append(news, e)
			}
		}
		from = s.version
		s.mu.Unlock()
		for _, e := range news {
			o, _ := json.Marshal(e.object)
			fmt.Fprintf(w, `{"type":%q,"object":%s}`+"\n", e.kind, typed(resource, o))
		}
		w.(http.Flusher).Flush()
		s.mu.Lock()
		for s.version == from && s.cut == cut && !s.closed && stop.Err() == nil {
			s.moved.Wait()
		}
		if s.cut != cut || s.closed || stop.Err() != nil {
			return
		}
	}
}

// broadcastAfter wakes whoever waits once a channel is closed.
func (s *server) broadcastAfter(done <-chan struct{}) (end func()) {
	over := make(chan struct{})
	go func() {
		select {
		case <-done:
			s.moved.Broadcast()
		case <-over:
		}
	}()
	return func() { close(over) }
}

// bookmark ends the objects of a list that is streamed.
func (s *server) bookmark(resource string) object {
	return &unstructured.Unstructured{Object: map[string]any{"metadata": map[string]any{
		"resourceVersion": strconv.Itoa(s.version), "annotations": map[string]any{metav1.InitialEventsAnnotationKey: "true"},
	}, "kind": kindOf(resource), "apiVersion": versionOf(resource)}}
}

// typed says of what kind an object is, which those in lists do not.
func typed(resource string, o []byte) []byte {
	var m map[string]any
	_ = json.Unmarshal(o, &m)
	m["kind"], m["apiVersion"] = kindOf(resource), versionOf(resource)
	o, _ = json.Marshal(m)
	return o
}
