// SPDX-License-Identifier: Apache-2.0

// Package kube makes a process part of a Kubernetes cluster, as its flags say.
package kube
