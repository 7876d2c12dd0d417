// SPDX-License-Identifier: Apache-2.0

// Package kube writes what a control plane has to say into a Kubernetes
// cluster: a Service for each gateway, and how the gateways fare that are
// objects there.
//
// A Writer is handed plans and compares what they ask for with what the
// cluster has, of which it is told by watches; plans and watches only say what
// is to be looked at again, and each look goes by what is newest then. So
// nothing is lost by a write that fails, and what others change is put right.
//
// Of several control planes one writes: the one that holds a Lease
// (lease.go). All of them know what the cluster has.
//
// # Services
//
// The Service of a gateway is called as it was by Vamp, bears the labels that
// Vamp gave it beside ours, and leads to the proxies at the gateway's port
// (service.go). It is ours by two labels, app.kubernetes.io/managed-by and
// sluice.dev/namespace. One without them is never changed, adopted or deleted,
// whatever it is called: the gateway is told instead that the name is taken.
// Nothing is deleted before there is a plan, nor what belongs to a gateway that
// is refused.
//
// # Statuses
//
// Of objects that are gateways, the status alone is written (status.go). It
// says which form of the object was looked at, whether it was accepted, where
// it is served, and the weights as they were asked for and as they are in
// effect.
package kube
