// SPDX-License-Identifier: Apache-2.0

//go:build linux

package kubelet

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// backoff is how long a container that ended waits before it is started again,
// and how long whatever failed here waits before it is tried again. A real
// kubelet waits longer, which tests have no time for.
const backoff = time.Second

// pod runs one pod. Its fields belong to the goroutine of run, unless they are
// said to be shared.
type pod struct {
	kubelet *Kubelet
	newest  chan *corev1.Pod // shared: the newest form, at most one
	end     func()           // shared: the object is gone
	gone    <-chan struct{}  // closed by end

	spec       *corev1.Pod
	box        *sandbox
	volumes    *volumes
	containers []*container // those that are not applications first
	happened   chan func()  // what others found out, to be noted by run
	began      metav1.Time
	conditions map[corev1.PodConditionType]corev1.PodCondition
	reported   string        // the status that was written last
	deadline   func() bool   // stops the timers of termination; nil before
	finished   chan struct{} // closed when run returns
}

// newPod returns a pod that does not run yet.
func newPod(k *Kubelet, spec *corev1.Pod) *pod {
	gone := make(chan struct{})
	p := &pod{
		kubelet: k, newest: make(chan *corev1.Pod, 1),
		gone: gone, end: sync.OnceFunc(func() { close(gone) }),
		spec: spec, happened: make(chan func()), began: metav1.Now(),
		conditions: make(map[corev1.PodConditionType]corev1.PodCondition), finished: make(chan struct{}),
	}
	p.volumes = &volumes{pod: p, root: filepath.Join(k.Dir, string(spec.UID), "root")}
	for i := range spec.Spec.InitContainers {
		c := &container{pod: p, spec: &spec.Spec.InitContainers[i], role: initial, waiting: "PodInitializing"}
		if policy := c.spec.RestartPolicy; policy != nil && *policy == corev1.ContainerRestartPolicyAlways {
			c.role = sidecar
		}
		p.containers = append(p.containers, c)
	}
	for i := range spec.Spec.Containers {
		p.containers = append(p.containers, &container{pod: p, spec: &spec.Spec.Containers[i], waiting: "ContainerCreating"})
	}
	return p
}

// tell hands a newer form to the pod; one that it has not looked at is dropped.
func (p *pod) tell(spec *corev1.Pod) {
	select {
	case <-p.newest:
	default:
	}
	p.newest <- spec // there is room: nobody else sends
}

// note has run call f, unless it has returned.
func (p *pod) note(f func()) {
	select {
	case p.happened <- f:
	case <-p.finished:
	}
}

// run runs the pod until it is deleted or ctx ends. No process outlives it.
func (p *pod) run(ctx context.Context) {
	defer close(p.finished)
	defer p.destroy(context.WithoutCancel(ctx))
	p.begin(ctx)
	look := make(<-chan time.Time)
	if !p.hollow() && len(p.spec.Spec.Volumes) > 0 {
		ticker := time.NewTicker(refresh)
		defer ticker.Stop()
		look = ticker.C
	}
	for {
		if p.spec.DeletionTimestamp != nil {
			p.terminate(ctx)
		}
		if p.deadline != nil && !p.running() {
			p.release(ctx)
			p.delete(ctx)
			return
		}
		p.report(ctx)
		select {
		case <-ctx.Done():
			return
		case <-p.gone:
			return
		case p.spec = <-p.newest:
		case f := <-p.happened:
			f()
		case <-look:
			p.volumes.update(ctx)
		}
	}
}

// hollow reports whether nothing of the pod is a process.
func (p *pod) hollow() bool { return p.kubelet.Images.hollow(p.containers) }

// begin gives the pod its network and volumes, and starts its containers. What
// cannot be had is tried again later.
func (p *pod) begin(ctx context.Context) {
	if p.spec.DeletionTimestamp != nil {
		return
	}
	if err := p.equip(ctx); err != nil {
		for _, c := range p.containers {
			c.message = err.Error()
		}
		p.kubelet.Log.WarnContext(ctx, "a pod lacks something", "namespace", p.spec.Namespace, "pod", p.spec.Name, "error", err)
		p.release(ctx)
		time.AfterFunc(backoff/4, func() { p.note(func() { p.begin(ctx) }) })
		return
	}
	p.advance(ctx)
}

// equip makes what the containers need.
func (p *pod) equip(ctx context.Context) (err error) {
	if p.hollow() {
		p.box = p.kubelet.Network.nowhere()
		return nil
	}
	if p.box == nil {
		if p.box, err = p.kubelet.Network.sandbox(); err != nil {
			return err
		}
	}
	if err := p.unprivileged(); err != nil {
		return err
	}
	if err := os.RemoveAll(p.volumes.root); err != nil {
		return err
	}
	return p.volumes.mount(ctx)
}

// unprivileged lets users other than root listen on the ports that the pod
// asks for.
func (p *pod) unprivileged() error {
	if p.spec.Spec.SecurityContext == nil {
		return nil
	}
	for _, s := range p.spec.Spec.SecurityContext.Sysctls {
		path := filepath.Join("/proc/sys", strings.ReplaceAll(s.Name, ".", "/"))
		if err := p.box.start(func() error { return os.WriteFile(path, []byte(s.Value), 0o644) }); err != nil {
			return err
		}
	}
	return nil
}

// advance starts the containers whose turn it is, and ends sidecars that
// nobody needs any more.
func (p *pod) advance(ctx context.Context) {
	if p.served() || p.deadline != nil && !p.applied() {
		for _, c := range p.containers {
			if c.role == sidecar && c.up {
				c.signal(syscall.SIGTERM)
			}
		}
		return
	}
	for _, c := range p.containers {
		if c.role == initial && c.passed() {
			continue
		}
		if c.exit == nil { // else it is started again in its own time
			c.start(ctx)
		}
		if c.role != application && !c.passed() {
			return
		}
	}
}

// served reports whether all applications have ended for good.
func (p *pod) served() bool {
	for _, c := range p.containers {
		if c.role == application && !c.done() {
			return false
		}
	}
	return true
}

// applied reports whether an application runs.
func (p *pod) applied() bool {
	for _, c := range p.containers {
		if c.role == application && c.up {
			return true
		}
	}
	return false
}

// release gives back what others may wait for. Nothing of the pod runs.
func (p *pod) release(ctx context.Context) {
	if err := p.volumes.release(); err != nil {
		p.kubelet.Log.ErrorContext(ctx, "a claim was not given back", "pod", p.spec.Name, "error", err)
	}
}

// running reports whether a process of the pod runs.
func (p *pod) running() bool {
	for _, c := range p.containers {
		if c.up {
			return true
		}
	}
	return false
}

// terminate begins the end of the pod, once: what its containers wait for, then
// SIGTERM, and SIGKILL when the grace is over.
func (p *pod) terminate(ctx context.Context) {
	if p.deadline != nil {
		return
	}
	var grace, pause time.Duration
	if s := p.spec.DeletionGracePeriodSeconds; s != nil {
		grace = time.Duration(*s) * time.Second
	}
	for _, c := range p.containers {
		if l := c.spec.Lifecycle; l != nil && l.PreStop != nil && l.PreStop.Sleep != nil {
			pause = max(pause, time.Duration(l.PreStop.Sleep.Seconds)*time.Second)
		}
	}
	ask := time.AfterFunc(min(pause, grace), func() { p.note(func() { p.ask(ctx) }) })
	kill := time.AfterFunc(grace, func() { p.note(func() { p.signal(syscall.SIGKILL) }) })
	p.deadline = func() bool { return ask.Stop() && kill.Stop() }
	p.kubelet.Log.DebugContext(ctx, "a pod ends", "namespace", p.spec.Namespace, "pod", p.spec.Name)
}

// ask asks the applications to end. Sidecars follow when they have.
func (p *pod) ask(ctx context.Context) {
	for _, c := range p.containers {
		if c.role != sidecar {
			c.signal(syscall.SIGTERM)
		}
	}
	p.advance(ctx)
}

// signal sends s to all processes of the pod.
func (p *pod) signal(s syscall.Signal) {
	for _, c := range p.containers {
		c.signal(s)
	}
}

// delete takes the object away, which was only marked until now.
func (p *pod) delete(ctx context.Context) {
	now := int64(0)
	options := metav1.DeleteOptions{GracePeriodSeconds: &now, Preconditions: metav1.NewUIDPreconditions(string(p.spec.UID))}
	for {
		err := p.kubelet.Client.CoreV1().Pods(p.spec.Namespace).Delete(ctx, p.spec.Name, options)
		if err == nil || deleted(err) {
			return
		}
		select {
		case <-ctx.Done():
			return
		case <-p.gone:
			return
		case <-time.After(backoff): // the API server may be down
		}
	}
}

// destroy ends all that belongs to the pod, at once.
func (p *pod) destroy(ctx context.Context) {
	if p.deadline != nil {
		p.deadline()
	}
	for _, c := range p.containers {
		c.destroy()
	}
	if p.box != nil {
		p.box.release()
	}
	p.release(ctx)
	_ = os.RemoveAll(p.volumes.root)
}
