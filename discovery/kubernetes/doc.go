// SPDX-License-Identifier: Apache-2.0

// Package kubernetes is the source of what a Kubernetes cluster says: which
// containers and Services run where, and which gateways its objects ask for.
//
// What is read from the API server is cut at once to the few fields that
// count (objects.go). Everything from there to the updates is pure
// (cluster.go, translate.go): objects go in, whole states come out.
//
// # Instances
//
// Each declared port of each container of a pod with an address is an
// instance of kind container: its name is the container's, its labels and
// namespace are the pod's. A port that no container declares, but to which an
// EndpointSlice leads, is one of the first container. Each port of a Service
// with a cluster address is an instance of kind service. What an
// EndpointSlice leads to that is no pod is one of kind endpoint.
//
// An instance of a pod that something controls bears, after the labels of the
// pod, sluice:workload with the name of that and sluice:workload-kind with its
// kind, such as Deployment: the ReplicaSet between the two is passed over. An
// instance that an EndpointSlice of a Service leads to bears the label
// sluice:service with the name of that Service, after all others. No object
// can bear a label of such a name, as it has a colon.
//
// A pod that terminates is not ready, so that it takes requests only where
// nothing ready is left, and is told as long as it serves.
package kubernetes
