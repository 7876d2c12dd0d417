// SPDX-License-Identifier: Apache-2.0

//go:build linux

package kubelet

import (
	"context"
	"log/slog"
	"path/filepath"
	"slices"
	"sync"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/cache"
)

// Kubelet runs the pods of all its nodes, and leaves those of others alone. All
// fields must be set.
type Kubelet struct {
	Client  kubernetes.Interface
	Network *Network
	Images  *Images
	Dir     string // logs of containers, UID/NAME.log, and roots of pods, UID/root
	Server  string // of the API, HOST:PORT
	Log     *slog.Logger

	mu    sync.Mutex // guards what follows
	nodes []string
	turn  int // which node is next
	bound map[types.UID]bool
	pods  map[types.UID]*pod
	held  map[string]*pod // who has which claim, by NAMESPACE/NAME
	wait  sync.WaitGroup  // for the goroutines of pods
}

// AddNode registers a node in a zone, which is ready at once.
func (k *Kubelet) AddNode(ctx context.Context, name, zone string) error {
	node := &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: name, Labels: map[string]string{
		corev1.LabelHostname:       name,
		corev1.LabelTopologyZone:   zone,
		corev1.LabelTopologyRegion: "bed",
	}}}
	node, err := k.Client.CoreV1().Nodes().Create(ctx, node, metav1.CreateOptions{})
	if err != nil {
		return err
	}
	now := metav1.Now()
	node.Status = corev1.NodeStatus{
		Capacity: capacity(), Allocatable: capacity(),
		Addresses: []corev1.NodeAddress{
			{Type: corev1.NodeInternalIP, Address: k.Network.Gateway().String()},
			{Type: corev1.NodeHostName, Address: name},
		},
		Conditions: []corev1.NodeCondition{{
			Type: corev1.NodeReady, Status: corev1.ConditionTrue, Reason: "KubeletReady",
			LastHeartbeatTime: now, LastTransitionTime: now,
		}},
	}
	if node, err = k.Client.CoreV1().Nodes().UpdateStatus(ctx, node, metav1.UpdateOptions{}); err != nil {
		return err
	}
	// The API server says of new nodes that they are not ready, which a
	// controller that is not run here would take back.
	node.Spec.Taints = nil
	if _, err := k.Client.CoreV1().Nodes().Update(ctx, node, metav1.UpdateOptions{}); err != nil {
		return err
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	k.nodes = append(k.nodes, name)
	return nil
}

// capacity is what each node says it has.
func capacity() corev1.ResourceList {
	return corev1.ResourceList{
		corev1.ResourceCPU:    resource.MustParse("64"),
		corev1.ResourceMemory: resource.MustParse("256Gi"),
		corev1.ResourcePods:   resource.MustParse("100000"),
	}
}

// claimDir returns where what a claim keeps is while no pod has it.
func (k *Kubelet) claimDir(claim string) string { return filepath.Join(k.Dir, "claims", claim) }

// takeClaim gives a claim to a pod, unless another one has it.
func (k *Kubelet) takeClaim(claim string, p *pod) bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	if by := k.held[claim]; by != nil && by != p {
		return false
	}
	k.held[claim] = p
	return true
}

// dropClaim takes a claim back.
func (k *Kubelet) dropClaim(claim string) {
	k.mu.Lock()
	defer k.mu.Unlock()
	delete(k.held, claim)
}

// Run runs pods until ctx ends, and ends their processes before it returns.
func (k *Kubelet) Run(ctx context.Context) error {
	k.mu.Lock()
	k.bound, k.pods, k.held = make(map[types.UID]bool), make(map[types.UID]*pod), make(map[string]*pod)
	k.mu.Unlock()
	factory := informers.NewSharedInformerFactory(k.Client, 0)
	_, err := factory.Core().V1().Pods().Informer().AddEventHandler(cache.ResourceEventHandlerFuncs{
		AddFunc:    func(o any) { k.see(ctx, o) },
		UpdateFunc: func(_, o any) { k.see(ctx, o) },
		DeleteFunc: k.forget,
	})
	if err != nil {
		return err
	}
	names, err := listenNames(ctx, k.Network.Gateway(), factory)
	if err != nil {
		return err
	}
	k.wait.Go(func() { names.answer(ctx) })
	factory.Start(ctx.Done())
	<-ctx.Done()
	factory.Shutdown() // no pod begins after this
	k.wait.Wait()
	return nil
}

// see does what an object that was made or has changed asks for.
func (k *Kubelet) see(ctx context.Context, object any) {
	spec, ok := object.(*corev1.Pod)
	if !ok || ctx.Err() != nil {
		return
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	if spec.Spec.NodeName == "" {
		k.place(ctx, spec)
		return
	}
	if !slices.Contains(k.nodes, spec.Spec.NodeName) {
		return // of a node that somebody else makes up
	}
	p := k.pods[spec.UID]
	if p == nil {
		if spec.Status.Phase == corev1.PodSucceeded || spec.Status.Phase == corev1.PodFailed {
			return
		}
		p = newPod(k, spec)
		k.pods[spec.UID] = p
		k.wait.Go(func() { p.run(ctx) })
		return
	}
	p.tell(spec)
}

// place binds a pod to the node that it asks for by name, as those of a
// DaemonSet do, or else to the one whose turn it is. The caller holds mu.
func (k *Kubelet) place(ctx context.Context, spec *corev1.Pod) {
	waits := spec.DeletionTimestamp != nil || len(spec.Spec.SchedulingGates) > 0
	if waits || k.bound[spec.UID] || len(k.nodes) == 0 {
		return
	}
	k.bound[spec.UID] = true
	node := wanted(spec)
	if node == "" {
		node = k.nodes[k.turn%len(k.nodes)]
		k.turn++
	}
	binding := &corev1.Binding{
		ObjectMeta: metav1.ObjectMeta{Name: spec.Name, UID: spec.UID},
		Target:     corev1.ObjectReference{Kind: "Node", Name: node},
	}
	k.wait.Go(func() {
		err := k.Client.CoreV1().Pods(spec.Namespace).Bind(ctx, binding, metav1.CreateOptions{})
		if err == nil || ctx.Err() != nil {
			return
		}
		k.Log.WarnContext(ctx, "a pod was not bound", "namespace", spec.Namespace, "pod", spec.Name, "error", err)
		k.mu.Lock()
		defer k.mu.Unlock()
		delete(k.bound, spec.UID)
	})
}

// wanted returns the one node that a pod may run on, empty if it does not name
// one.
func wanted(spec *corev1.Pod) string {
	a := spec.Spec.Affinity
	if a == nil || a.NodeAffinity == nil || a.NodeAffinity.RequiredDuringSchedulingIgnoredDuringExecution == nil {
		return ""
	}
	for _, term := range a.NodeAffinity.RequiredDuringSchedulingIgnoredDuringExecution.NodeSelectorTerms {
		for _, f := range term.MatchFields {
			if f.Key == metav1.ObjectNameField && f.Operator == corev1.NodeSelectorOpIn && len(f.Values) == 1 {
				return f.Values[0]
			}
		}
	}
	return ""
}

// forget ends a pod whose object is gone.
func (k *Kubelet) forget(object any) {
	if unknown, ok := object.(cache.DeletedFinalStateUnknown); ok {
		object = unknown.Obj
	}
	spec, ok := object.(*corev1.Pod)
	if !ok {
		return
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	if p := k.pods[spec.UID]; p != nil {
		p.end()
	}
	delete(k.pods, spec.UID)
	delete(k.bound, spec.UID)
}
