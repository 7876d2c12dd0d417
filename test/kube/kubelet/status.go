// SPDX-License-Identifier: Apache-2.0

//go:build linux

package kubelet

import (
	"context"
	"encoding/json"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
)

// deleted reports whether err says that the pod is not there any more, or that
// another one has its name.
func deleted(err error) bool { return apierrors.IsNotFound(err) || apierrors.IsConflict(err) }

// report writes the pod's status if it is not what was written last. If that
// fails it is tried again later.
func (p *pod) report(ctx context.Context) {
	status := p.status()
	patch, err := json.Marshal(map[string]any{"metadata": map[string]any{"uid": p.spec.UID}, "status": status})
	if err != nil || string(patch) == p.reported {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	_, err = p.kubelet.Client.CoreV1().Pods(p.spec.Namespace).Patch(ctx, p.spec.Name,
		types.StrategicMergePatchType, patch, metav1.PatchOptions{}, "status")
	switch {
	case err == nil:
		p.reported = string(patch)
	case !deleted(err): // the API server may be down; the loop reports after each note
		time.AfterFunc(backoff, func() { p.note(func() {}) })
	}
}

// status returns the status of the pod as it is.
func (p *pod) status() corev1.PodStatus {
	s := corev1.PodStatus{HostIP: p.kubelet.Network.Gateway().String(), StartTime: &p.began}
	s.HostIPs = []corev1.HostIP{{IP: s.HostIP}}
	if p.box != nil {
		s.PodIP = p.box.ip.String()
		s.PodIPs = []corev1.PodIP{{IP: s.PodIP}}
	}
	ready, initialized := true, true
	for _, c := range p.containers {
		if c.role == application {
			s.ContainerStatuses = append(s.ContainerStatuses, c.status())
		} else {
			s.InitContainerStatuses = append(s.InitContainerStatuses, c.status())
			initialized = initialized && c.passed()
		}
		ready = ready && (c.ready || c.role == initial)
	}
	s.Phase = p.phase()
	for _, claim := range []struct {
		kind corev1.PodConditionType
		ok   bool
	}{
		{corev1.PodInitialized, initialized},
		{corev1.ContainersReady, ready},
		{corev1.PodReady, ready && p.gatesOpen()},
	} {
		s.Conditions = append(s.Conditions, p.condition(claim.kind, claim.ok))
	}
	return s
}

// phase sums up what the containers do.
func (p *pod) phase() corev1.PodPhase {
	over, failed, begun := true, false, false
	for _, c := range p.containers {
		failed = failed || c.role != sidecar && c.done() && c.exit.ExitCode != 0
		if c.role == application {
			begun = begun || c.up || c.exit != nil
			over = over && c.done()
		}
		over = over && (c.role != sidecar || !c.up)
		if c.role == initial && c.done() && c.exit.ExitCode != 0 {
			return corev1.PodFailed
		}
	}
	switch {
	case over && failed:
		return corev1.PodFailed
	case over:
		return corev1.PodSucceeded
	case begun:
		return corev1.PodRunning
	default:
		return corev1.PodPending
	}
}

// gatesOpen reports whether all readiness gates, which others set, are true.
func (p *pod) gatesOpen() bool {
	open := 0
	for _, gate := range p.spec.Spec.ReadinessGates {
		for _, c := range p.spec.Status.Conditions {
			if c.Type == gate.ConditionType && c.Status == corev1.ConditionTrue {
				open++
			}
		}
	}
	return open == len(p.spec.Spec.ReadinessGates)
}

// condition returns a condition with the time since when it is what it is.
func (p *pod) condition(kind corev1.PodConditionType, ok bool) corev1.PodCondition {
	status := corev1.ConditionFalse
	if ok {
		status = corev1.ConditionTrue
	}
	if old, known := p.conditions[kind]; known && old.Status == status {
		return old
	}
	c := corev1.PodCondition{Type: kind, Status: status, LastTransitionTime: metav1.Now()}
	p.conditions[kind] = c
	return c
}

// status returns the status of the container as it is.
func (c *container) status() corev1.ContainerStatus {
	started := c.started
	s := corev1.ContainerStatus{
		Name: c.spec.Name, Image: c.spec.Image, ImageID: c.spec.Image,
		Ready: c.ready, Started: &started, RestartCount: c.restarts,
	}
	switch {
	case c.up:
		s.State.Running = &corev1.ContainerStateRunning{StartedAt: c.began}
		s.ContainerID = "process://" + string(c.pod.spec.UID) + "/" + c.spec.Name
	case c.exit != nil && (c.pod.deadline != nil || !c.again()):
		s.State.Terminated = c.exit
	default:
		s.State.Waiting = &corev1.ContainerStateWaiting{Reason: c.waiting, Message: c.message}
		s.LastTerminationState.Terminated = c.exit
	}
	return s
}
