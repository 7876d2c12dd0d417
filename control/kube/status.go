// SPDX-License-Identifier: Apache-2.0

package kube

import (
	"cmp"
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/types"

	"github.com/sluice-mesh/sluice/control/planner"
	"github.com/sluice-mesh/sluice/discovery/kubernetes"
	"github.com/sluice-mesh/sluice/routing"
)

// The conditions of objects that are gateways.
const (
	Accepted = "Accepted" // what it says takes effect
	Deployed = "Deployed" // proxies serve it
	Exposed  = "Exposed"  // it has its Service
)

// sourcePrefix is what the keys of objects that are gateways begin with.
const sourcePrefix = kubernetes.GatewayResource + "/"

// isObject reports whether a source is an object that is a gateway.
func isObject(source string) bool { return strings.HasPrefix(source, sourcePrefix) }

// isIngress reports whether a source is what Ingresses say: they are reached by
// the Service of the proxies.
func isIngress(source string) bool { return strings.HasPrefix(source, "ingress") }

// objectOf returns the object of a source.
func objectOf(source string) objectKey {
	namespace, name, _ := strings.Cut(strings.TrimPrefix(source, sourcePrefix), "/")
	return objectKey{namespace, name}
}

// gatewayObject is what counts of an object that is a gateway.
type gatewayObject struct {
	key        objectKey
	uid        types.UID
	generation int64
	asked      []askedRoute
	status     status // as it stands there
}

// askedRoute is a route as it is written.
type askedRoute struct{ Name, Weight string }

// status is that of an object: deploy/kubernetes/sluicegateways.yaml.
type status struct {
	ObservedGeneration int64              `json:"observedGeneration,omitempty"`
	Port               string             `json:"port,omitempty"`
	Service            *serviceStatus     `json:"service,omitempty"`
	Weights            string             `json:"weights,omitempty"`
	Routes             []routeStatus      `json:"routes,omitempty"`
	Conditions         []metav1.Condition `json:"conditions,omitempty"`
}

type serviceStatus struct {
	Host     string `json:"host"`
	Port     string `json:"port"`
	NodePort int    `json:"nodePort,omitempty"`
}

type routeStatus struct {
	Name      string `json:"name"`
	Asked     string `json:"asked,omitempty"`
	Effective string `json:"effective,omitempty"`
	Instances int    `json:"instances"`
}

// readObject cuts an object to what counts. What cannot be read of it counts as
// absent: the source tells what is wrong.
func readObject(o *unstructured.Unstructured) *gatewayObject {
	cut := &gatewayObject{
		key: objectKey{o.GetNamespace(), o.GetName()}, uid: o.GetUID(), generation: o.GetGeneration(),
	}
	routes, _, _ := unstructured.NestedSlice(o.Object, "spec", "routes")
	for _, r := range routes {
		fields, _ := r.(map[string]any)
		name, _ := fields["name"].(string)
		weight, _ := fields["weight"].(string)
		if name != "" {
			cut.asked = append(cut.asked, askedRoute{name, weight})
		}
	}
	if text, err := json.Marshal(o.Object["status"]); err == nil {
		_ = json.Unmarshal(text, &cut.status)
	}
	return cut
}

// trimObject keeps of an object what readObject reads.
func trimObject(o *unstructured.Unstructured) *unstructured.Unstructured {
	cut := &unstructured.Unstructured{Object: map[string]any{
		"apiVersion": o.GetAPIVersion(), "kind": o.GetKind(), "status": o.Object["status"],
	}}
	cut.SetNamespace(o.GetNamespace())
	cut.SetName(o.GetName())
	cut.SetUID(o.GetUID())
	cut.SetResourceVersion(o.GetResourceVersion())
	cut.SetGeneration(o.GetGeneration())
	if routes, ok, _ := unstructured.NestedFieldNoCopy(o.Object, "spec", "routes"); ok {
		cut.Object["spec"] = map[string]any{"routes": trimRoutes(routes)}
	}
	return cut
}

func trimRoutes(routes any) []any {
	list, _ := routes.([]any)
	all := make([]any, 0, len(list))
	for _, r := range list {
		fields, _ := r.(map[string]any)
		name, _ := fields["name"].(string)
		weight, _ := fields["weight"].(string)
		all = append(all, map[string]any{"name": name, "weight": weight})
	}
	return all
}

// fate is what became of an object.
type fate struct {
	planned  planner.Object
	gateway  *routing.Gateway // in the form that is served; nil if none is
	deployed Deployment
	address  *Address // nil if it has none
	services bool     // gateways have Services
	trouble  string   // why it has no Service as it should
}

// next returns the status that an object is to have. Conditions that say what
// they said keep their times.
func (o *gatewayObject) next(f fate) status {
	s := status{ObservedGeneration: cmp.Or(f.planned.Generation, o.generation)}
	if g := f.gateway; g != nil {
		s.Port = g.Port.String()
		s.Routes = routesOf(o.asked, g)
		s.Weights = weightsOf(s.Routes)
		if f.address != nil {
			s.Service = &serviceStatus{f.address.Host, fmt.Sprintf("%d/%s", f.address.Port, g.Port.Type), f.address.NodePort}
		}
	}
	s.Conditions = slices.Clone(o.status.Conditions)
	conditions := []metav1.Condition{f.accepted(), f.served()}
	if f.services {
		conditions = append(conditions, f.exposed())
	} else {
		meta.RemoveStatusCondition(&s.Conditions, Exposed)
	}
	for _, c := range conditions {
		c.ObservedGeneration, c.Message = s.ObservedGeneration, cut(c.Message, 32768)
		meta.SetStatusCondition(&s.Conditions, c)
	}
	return s
}

// accepted says whether what the object says takes effect.
func (f fate) accepted() metav1.Condition {
	c := metav1.Condition{Type: Accepted, Status: metav1.ConditionTrue, Reason: "Accepted", Message: "everything takes effect as it is written"}
	switch {
	case len(f.planned.Conflicts) > 0:
		c.Status, c.Reason = metav1.ConditionFalse, "Conflict"
	case f.planned.State == planner.Faulty:
		c.Status, c.Reason = metav1.ConditionFalse, "Refused"
	case f.planned.State == planner.HeldBack:
		c.Status, c.Reason = metav1.ConditionUnknown, "HeldBack"
	case len(f.planned.Faults) > 0:
		c.Reason = "AcceptedWithWarnings"
	}
	if len(f.planned.Faults) > 0 {
		c.Message = strings.Join(f.planned.Faults, "\n")
	}
	if c.Reason == "Refused" && f.gateway != nil {
		c.Message += "\nits last good form serves on"
	}
	return c
}

// The reasons of Deployed that come and go with proxies.
const (
	deployedServed  = "Served"
	deployedPending = "Pending"
)

// served says whether proxies serve the gateway. How many there are is told only
// while some are behind: each that comes would change what all objects say.
func (f fate) served() metav1.Condition {
	c := metav1.Condition{Type: Deployed, Status: metav1.ConditionFalse}
	d := f.deployed
	switch {
	case f.gateway == nil:
		c.Reason, c.Message = "NotPlanned", "no form of it takes effect"
	case d.Proxies == 0:
		c.Reason, c.Message = "NoProxies", "no proxy of its namespace is connected"
	case d.Refused != "":
		c.Reason, c.Message = "RefusedByProxies", "a proxy does not take it: "+d.Refused
	case d.Served < d.Proxies:
		c.Reason, c.Message = deployedPending, fmt.Sprintf("%d of %d proxies serve it", d.Served, d.Proxies)
	default:
		c.Status, c.Reason, c.Message = metav1.ConditionTrue, deployedServed, "all proxies of its namespace serve it"
	}
	return c
}

// exposed says whether the gateway has its Service.
func (f fate) exposed() metav1.Condition {
	c := metav1.Condition{Type: Exposed, Status: metav1.ConditionFalse}
	switch {
	case f.gateway == nil:
		c.Reason, c.Message = "NotPlanned", "no form of it takes effect"
	case f.trouble != "":
		c.Reason, c.Message = "NoService", f.trouble
	case f.address == nil:
		c.Reason, c.Message = "Pending", "its Service has no address yet"
	default:
		c.Status, c.Reason, c.Message = metav1.ConditionTrue, "ServiceMade", "its Service is "+ServiceName(f.gateway.Name)
	}
	return c
}

// routesOf returns how the weights of the routes were asked for and what share
// each has in effect: those that are there in their order, and then those that
// are written and not there.
func routesOf(asked []askedRoute, g *routing.Gateway) []routeStatus {
	written := make(map[string]string, len(asked))
	for _, a := range asked {
		written[a.Name] = a.Weight
	}
	var all []routeStatus
	for i, share := range shares(g) {
		r := g.Routes[i]
		all = append(all, routeStatus{r.Path, written[r.Path], share.String(), len(r.Instances)})
		delete(written, r.Path)
	}
	for _, a := range asked {
		if weight, left := written[a.Name]; left {
			all = append(all, routeStatus{Name: a.Name, Asked: weight, Effective: routing.Weight(0).String()})
			delete(written, a.Name)
		}
	}
	return all
}

// shares returns the share of requests that the weights give to each route of a
// gateway, as far as this can be told without asking instances.
func shares(g *routing.Gateway) []routing.Weight {
	all := make([]routing.Weight, len(g.Routes))
	var sum routing.Weight
	for i, r := range g.Routes {
		if g.Unavailable == routing.UnavailableRedistribute && idle(r) {
			continue
		}
		all[i] = r.Weight
		sum += r.Weight
	}
	if sum == 0 {
		return all
	}
	for i := range all {
		all[i] = routing.Weight(int64(all[i]) * int64(routing.FullWeight) / int64(sum))
	}
	return all
}

// idle reports whether a route that a selector made has nothing that is ready.
func idle(r *routing.Route) bool {
	return len(r.Instances) > 0 && !slices.ContainsFunc(r.Instances, func(i *routing.Instance) bool { return i.Ready })
}

// maxShown is how many weights are shown in a column.
const maxShown = 8

// weightsOf returns asked/effective of each route, in their order.
func weightsOf(routes []routeStatus) string {
	var all []string
	for i, r := range routes {
		if i == maxShown {
			all = append(all, "...")
			break
		}
		all = append(all, cmp.Or(r.Asked, "-")+"/"+r.Effective)
	}
	return strings.Join(all, ", ")
}

// patch returns what makes a status s of an object, as a merge patch: what it
// does not have is taken away. It is for the object of uid and no later one.
func (s status) patch(uid types.UID) ([]byte, error) {
	fields := map[string]any{
		"observedGeneration": s.ObservedGeneration, "port": nil, "service": nil, "weights": nil,
		"routes": s.Routes, "conditions": s.Conditions,
	}
	if s.Port != "" {
		fields["port"] = s.Port
	}
	if s.Service != nil {
		service := map[string]any{"host": s.Service.Host, "port": s.Service.Port, "nodePort": nil}
		if s.Service.NodePort != 0 {
			service["nodePort"] = s.Service.NodePort
		}
		fields["service"] = service
	}
	if s.Weights != "" {
		fields["weights"] = s.Weights
	}
	return json.Marshal(map[string]any{"metadata": map[string]any{"uid": uid}, "status": fields})
}

// same reports whether two statuses say the same.
func (s status) same(o status) bool {
	return s.ObservedGeneration == o.ObservedGeneration && s.Port == o.Port && s.Weights == o.Weights &&
		(s.Service == nil) == (o.Service == nil) && (s.Service == nil || *s.Service == *o.Service) &&
		slices.Equal(s.Routes, o.Routes) && slices.EqualFunc(s.Conditions, o.Conditions, sameCondition)
}

// lags reports whether a status differs from the one before only in that some
// proxies are behind, or in how many are.
func (s status) lags(before status) bool {
	now, was := meta.FindStatusCondition(s.Conditions, Deployed), meta.FindStatusCondition(before.Conditions, Deployed)
	if now == nil || was == nil || now.Reason != deployedPending || was.Reason != deployedServed && was.Reason != deployedPending ||
		now.ObservedGeneration != was.ObservedGeneration {
		return false
	}
	s.Conditions = slices.Clone(s.Conditions)
	meta.RemoveStatusCondition(&s.Conditions, Deployed)
	before.Conditions = slices.Clone(before.Conditions)
	meta.RemoveStatusCondition(&before.Conditions, Deployed)
	return s.same(before)
}

func sameCondition(a, b metav1.Condition) bool {
	return a.Type == b.Type && a.Status == b.Status && a.Reason == b.Reason && a.Message == b.Message &&
		a.ObservedGeneration == b.ObservedGeneration
}
