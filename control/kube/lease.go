// SPDX-License-Identifier: Apache-2.0

package kube

import (
	"context"
	"crypto/sha1"
	"encoding/hex"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/validation"
	"k8s.io/client-go/tools/leaderelection"
	"k8s.io/client-go/tools/leaderelection/resourcelock"

	"github.com/sluice-mesh/sluice/control/planner"
)

// leaseName is the name of the Lease of the default namespace, and what all
// others begin with.
const leaseName = "sluice-control"

// LeaseName returns the name of the Lease for which the control planes of a
// namespace, organisation/environment, compete.
func LeaseName(namespace string) string {
	if namespace == planner.DefaultNamespace {
		return leaseName
	}
	name := leaseName + "-" + namespaceLabel(namespace)
	if len(validation.IsDNS1123Subdomain(name)) > 0 {
		sum := sha1.Sum([]byte(namespace))
		name = leaseName + "-" + hex.EncodeToString(sum[:])
	}
	return name
}

// identityOf returns what a control plane calls itself: its installation, if that
// has a name, and its own.
func identityOf(installation, own string) string {
	if installation == "" {
		return own
	}
	return installation + "/" + own
}

// installationOf returns the installation of a control plane; empty if it has no
// name.
func installationOf(identity string) string {
	installation, _, ok := strings.Cut(identity, "/")
	if !ok {
		return ""
	}
	return installation
}

// term is a time in which this control plane is the one that writes.
type term struct {
	elector *leaderelection.LeaderElector
	margin  time.Duration // what a write takes at most
}

// lasts reports whether nobody else can have taken over when a write is over
// that begins now. It goes by the clock as well, as a process that stood still
// has noticed nothing.
func (t term) lasts() bool {
	return t.elector.IsLeader() && t.elector.Check(-t.margin) == nil
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
		Name:          LeaseName(w.o.Namespace), ReleaseOnCancel: true,
		Callbacks: leaderelection.LeaderCallbacks{
			OnStartedLeading: func(held context.Context) {
				leads.Lock()
				defer leads.Unlock()
				held, stop := context.WithCancel(held)
				defer stop()
				defer context.AfterFunc(ctx, stop)()
				w.leadWhile(held, t)
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
	t.elector, t.margin = elector, w.writeTimeout()
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

// leadWhile leads until ctx ends, except for times in which t does not last:
// the elector only says that it has lost the Lease once it has also tried to
// give it back, of which a server that hangs keeps it.
func (w *Writer) leadWhile(ctx context.Context, t term) {
	again := time.NewTicker(w.o.LeaseDuration / 60)
	defer again.Stop()
	for ctx.Err() == nil {
		if t.lasts() {
			work, stop := context.WithCancel(ctx)
			var watching sync.WaitGroup
			watching.Go(func() {
				defer stop()
				for t.lasts() && work.Err() == nil {
					select {
					case <-work.Done():
					case <-again.C:
					}
				}
			})
			w.lead(work, t)
			stop()
			watching.Wait()
		}
		select {
		case <-ctx.Done():
		case <-again.C:
		}
	}
}

func (w *Writer) lock() resourcelock.Interface {
	return &toldLock{w: w, Interface: &resourcelock.LeaseLock{
		LeaseMeta:  metav1.ObjectMeta{Namespace: w.o.Home, Name: LeaseName(w.o.Namespace)},
		Client:     w.client.CoordinationV1(),
		LockConfig: resourcelock.ResourceLockConfig{Identity: w.o.Identity},
	}}
}

// toldLock is a lock that tells why it cannot be had.
type toldLock struct {
	resourcelock.Interface

	w      *Writer
	holder string // that the last Get has seen
}

// errTaken reports that the Lease, which was to be given back, is another's.
var errTaken = errors.New("the Lease is another's by now")

// Get implements resourcelock.Interface.
func (l *toldLock) Get(ctx context.Context) (*resourcelock.LeaderElectionRecord, []byte, error) {
	record, raw, err := l.Interface.Get(ctx)
	if record != nil {
		l.holder = record.HolderIdentity
	}
	switch {
	case apierrors.IsNotFound(err):
	case err == nil && l.foreign():
		l.complain(fmt.Errorf("the Lease %s is held by another installation, %s: give one of the two another --namespace or another --kubernetes-home",
			l.Describe(), installationOf(l.holder)))
	default:
		l.tell(err)
	}
	return record, raw, err
}

// foreign reports whether the last holder is of another installation, which
// writes other Services, and will not give the Lease away.
func (l *toldLock) foreign() bool {
	theirs, ours := installationOf(l.holder), installationOf(l.Identity())
	return theirs != "" && ours != "" && theirs != ours
}

// Create implements resourcelock.Interface.
func (l *toldLock) Create(ctx context.Context, r resourcelock.LeaderElectionRecord) error {
	err := l.Interface.Create(ctx, r)
	l.tell(err)
	return err
}

// Update implements resourcelock.Interface.
func (l *toldLock) Update(ctx context.Context, r resourcelock.LeaderElectionRecord) error {
	if r.HolderIdentity == "" && l.holder != l.Identity() {
		return errTaken
	}
	err := l.Interface.Update(ctx, r)
	l.tell(err)
	return err
}

func (l *toldLock) tell(err error) {
	if err == nil || apierrors.IsConflict(err) || apierrors.IsAlreadyExists(err) {
		l.complain(nil)
		return
	}
	l.complain(explainWrite(err, "the Lease "+l.Describe(), "leases", "get, create and update"))
}

// complain says why nobody leads who may, nil if somebody does.
func (l *toldLock) complain(err error) {
	text := ""
	if err != nil {
		l.w.complain(err)
		text = err.Error()
	}
	l.w.mu.Lock()
	l.w.leaseless = text
	l.w.mu.Unlock()
}

// writeTimeout bounds each write, so that what was begun as the Lease was lost
// is over before another may have it.
func (w *Writer) writeTimeout() time.Duration { return w.o.LeaseDuration / 3 }
