// SPDX-License-Identifier: Apache-2.0

package kube

import (
	"context"
	"sync"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/tools/leaderelection"
	"k8s.io/client-go/tools/leaderelection/resourcelock"
)

// LeaseName is the name of the Lease for which control planes compete.
const LeaseName = "sluice-control"

// term is a time in which this control plane is the one that writes.
type term struct{ elector *leaderelection.LeaderElector }

// lasts reports whether nobody else can have taken over yet. It goes by the
// clock as well, as a process that stood still has noticed nothing.
func (t term) lasts() bool {
	return t.elector.IsLeader() && t.elector.Check(0) == nil
}

// compete leads whenever nobody else does, until ctx ends.
func (w *Writer) compete(ctx context.Context) error {
	for ctx.Err() == nil {
		if err := w.competeOnce(ctx); err != nil {
			return err
		}
	}
	return nil
}

// competeOnce waits for the Lease and leads until it is lost, or ctx ends. The
// Lease is given back only when nothing is written any more.
func (w *Writer) competeOnce(ctx context.Context) error {
	holding, giveBack := context.WithCancel(context.WithoutCancel(ctx))
	defer giveBack()
	var leads sync.Mutex // held while w leads
	var t term
	elector, err := leaderelection.NewLeaderElector(leaderelection.LeaderElectionConfig{
		Lock:          w.lock(),
		LeaseDuration: w.o.LeaseDuration,
		RenewDeadline: w.o.LeaseDuration * 2 / 3,
		RetryPeriod:   w.o.LeaseDuration * 2 / 15,
		Name:          LeaseName, ReleaseOnCancel: true,
		Callbacks: leaderelection.LeaderCallbacks{
			OnStartedLeading: func(held context.Context) {
				leads.Lock()
				defer leads.Unlock()
				work, stop := context.WithCancel(held)
				defer stop()
				defer context.AfterFunc(ctx, stop)()
				if work.Err() == nil {
					w.lead(work, t)
				}
			},
			OnStoppedLeading: func() {},
			OnNewLeader: func(identity string) {
				if identity != w.o.Identity {
					w.o.Log.InfoContext(ctx, "another control plane writes to Kubernetes", "holder", identity)
				}
			},
		},
	})
	if err != nil {
		return err
	}
	t.elector = elector
	over := make(chan struct{})
	go func() {
		defer close(over)
		elector.Run(holding)
	}()
	select {
	case <-over:
	case <-ctx.Done():
		leads.Lock() // until it has ended
		giveBack()
		leads.Unlock()
		<-over
	}
	leads.Lock()
	defer leads.Unlock()
	return nil
}

func (w *Writer) lock() resourcelock.Interface {
	return &toldLock{w: w, Interface: &resourcelock.LeaseLock{
		LeaseMeta:  metav1.ObjectMeta{Namespace: w.o.Home, Name: LeaseName},
		Client:     w.client.CoordinationV1(),
		LockConfig: resourcelock.ResourceLockConfig{Identity: w.o.Identity},
	}}
}

// toldLock is a lock that tells why it cannot be had.
type toldLock struct {
	resourcelock.Interface

	w *Writer
}

// Get implements resourcelock.Interface.
func (l *toldLock) Get(ctx context.Context) (*resourcelock.LeaderElectionRecord, []byte, error) {
	record, raw, err := l.Interface.Get(ctx)
	if !apierrors.IsNotFound(err) {
		l.tell(err)
	}
	return record, raw, err
}

// Create implements resourcelock.Interface.
func (l *toldLock) Create(ctx context.Context, r resourcelock.LeaderElectionRecord) error {
	err := l.Interface.Create(ctx, r)
	l.tell(err)
	return err
}

// Update implements resourcelock.Interface.
func (l *toldLock) Update(ctx context.Context, r resourcelock.LeaderElectionRecord) error {
	err := l.Interface.Update(ctx, r)
	l.tell(err)
	return err
}

func (l *toldLock) tell(err error) {
	if err != nil && !apierrors.IsConflict(err) && !apierrors.IsAlreadyExists(err) {
		l.w.complain(explainWrite(err, "the Lease "+l.Describe(), "leases", "get, create and update"))
	}
}

// writeTimeout bounds each write, so that what was begun as the Lease was lost
// is over before another may have it.
func (w *Writer) writeTimeout() time.Duration { return w.o.LeaseDuration / 3 }
