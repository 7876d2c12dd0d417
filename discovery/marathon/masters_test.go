// SPDX-License-Identifier: Apache-2.0

package marathon_test

import (
	"context"
	"crypto/rsa"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/sluice-mesh/sluice/discovery"
	"github.com/sluice-mesh/sluice/discovery/marathon"
	"github.com/sluice-mesh/sluice/discovery/marathon/marathontest"
)

// following is a source that runs by the clock of the machine.
type following struct {
	*marathon.Source
	t       *testing.T
	end     func()
	batches chan discovery.Batch
	state   map[string]discovery.Update
}

// follow runs a source until the test or end ends it.
func follow(t *testing.T, o marathon.Options) *following {
	t.Helper()
	s, err := marathon.New(o)
	if err != nil {
		t.Fatal(err)
	}
	f := &following{Source: s, t: t, batches: make(chan discovery.Batch, 100_000), state: make(map[string]discovery.Update)}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error)
	go func() { ended <- s.Run(ctx, func(b discovery.Batch) { f.batches <- b }) }()
	f.end = sync.OnceFunc(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Errorf("the source ended with %v", err)
		}
	})
	t.Cleanup(f.end)
	return f
}

// await takes what is told until it holds.
func (f *following) await(what string, holds func(state map[string]discovery.Update) bool) {
	f.t.Helper()
	late := time.After(time.Minute)
	for !holds(f.state) {
		select {
		case b := <-f.batches:
			for _, u := range b.Updates {
				f.state[u.Key] = u
				if u.Gone {
					delete(f.state, u.Key)
				}
			}
		case <-late:
			f.t.Fatalf("no sign of %s; it fares %+v, and this is known: %v", what, f.Watches(), f.state)
		}
	}
}

// awaitStale waits until the source says that Marathon does not answer.
func (f *following) awaitStale() {
	f.t.Helper()
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	late := time.After(time.Minute)
	for f.Watches()[0].Stale.IsZero() {
		select {
		case <-tick.C:
		case <-late:
			f.t.Fatalf("Marathon seems to answer: %+v", f.Watches())
		}
	}
}

// ready returns how many tasks of an app take traffic.
func ready(state map[string]discovery.Update, key string) (n int) {
	for _, i := range state[key].Instances {
		if i.Ready {
			n++
		}
	}
	return n
}

// checked is an app with a health check, of a number of tasks.
func checked(called, image string, tasks int) string {
	return fmt.Sprintf(`{"id":"/shop/%s","instances":%d,"container":{"docker":{"image":%q}},"portDefinitions":[{"port":0}],
		"healthChecks":[{"protocol":"MESOS_HTTP","path":"/","portIndex":0}]}`, called, tasks, image)
}

func TestAnotherMasterLeads(t *testing.T) {
	t.Parallel()
	for _, version := range []string{"1.6", "1.11"} {
		t.Run("Marathon "+version, func(t *testing.T) {
			t.Parallel()
			c := marathontest.Start(t, marathontest.Options{Version: version, Instances: 3, Users: map[string]string{"jo": "s3cret"}})
			c.Deploy(checked("a", "a1", 2))
			f := follow(t, marathon.Options{URLs: c.URLs(), Credentials: marathon.Credentials{BasicAuthFile: secretFile(t, "jo:s3cret")}})
			two := func(state map[string]discovery.Update) bool { return ready(state, "apps/shop/a") == 2 }
			f.await("both tasks", two)
			for _, leader := range []int{1, 2, 0} {
				// Nobody knows of health at first, so that what was known stays.
				c.Elect(-1)
				c.CloseStreams()
				c.Elect(leader)
				image := fmt.Sprintf("b%d", leader)
				c.Deploy(labelled("b", image))
				f.await("what happened since the election", func(state map[string]discovery.Update) bool {
					u := state["apps/shop/b"]
					return len(u.Instances) == 1 && u.Instances[0].Image == image
				})
				if !two(f.state) {
					t.Errorf("%d leads, and %d tasks are ready, want 2", leader, ready(f.state, "apps/shop/a"))
				}
				c.Recheck()
			}
			c.Stop(0)
			c.Elect(1)
			c.Deploy(labelled("c", "c1"))
			f.await("what happened while one master is down", func(state map[string]discovery.Update) bool { return len(state["apps/shop/c"].Instances) == 1 })
		})
	}
}

func TestEventsThatDoNotComeAsTheyShould(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name    string
		trouble func(c *marathontest.Cluster)
	}{
		{"in another order", func(c *marathontest.Cluster) { c.ReorderEvents(3) }},
		{"twice", func(c *marathontest.Cluster) { c.DuplicateEvents(100) }},
		{"several in one", func(c *marathontest.Cluster) { c.JoinEvents(3) }},
		{"cut in the middle", func(c *marathontest.Cluster) { c.CutEvent() }},
		{"with garbage between", func(c *marathontest.Cluster) { c.SendRaw("event: x\ndata: {\n\n\xff\xfe: \x00\n\ndata: [1\n\n") }},
		{"with one of 5 MB", func(c *marathontest.Cluster) {
			c.SendRaw("event: deployment_info\ndata: " + strings.Repeat("x", 5<<20) + "\n\n")
		}},
		{"not at all, as streams are closed", func(c *marathontest.Cluster) { c.CloseStreams() }},
	} {
		for _, end := range []string{"\n", "\r", "\r\n"} {
			t.Run(fmt.Sprintf("%s, lines end with %q", tt.name, end), func(t *testing.T) {
				t.Parallel()
				c := marathontest.Start(t, marathontest.Options{LineEnd: end, Heartbeat: 50 * time.Millisecond})
				c.Deploy(labelled("a", "a1"))
				c.Deploy(labelled("b", "b1"))
				f := follow(t, marathon.Options{URLs: c.URLs()})
				f.await("both apps", func(state map[string]discovery.Update) bool { return len(state) == 2 })
				if err := c.AwaitStreams(t.Context(), 1); err != nil {
					t.Fatal(err)
				}
				tt.trouble(c)
				c.Deploy(labelled("a", "a2"))
				c.Remove("/shop/b")
				c.Deploy(labelled("c", "c1"))
				f.await("what happened", func(state map[string]discovery.Update) bool {
					a := state["apps/shop/a"]
					_, b := state["apps/shop/b"]
					return len(a.Instances) == 1 && a.Instances[0].Image == "a2" && !b && len(state["apps/shop/c"].Instances) == 1
				})
			})
		}
	}
}

func TestATokenThatWasRevokedIsRenewed(t *testing.T) {
	t.Parallel()
	account, err := marathontest.NewAccount("robot")
	if err != nil {
		t.Fatal(err)
	}
	c := marathontest.Start(t, marathontest.Options{Prefix: "/service/marathon", Accounts: map[string]*rsa.PublicKey{"robot": account.Public()}})
	c.Deploy(labelled("a", "a1"))
	text, err := account.File(c.LoginURL())
	if err != nil {
		t.Fatal(err)
	}
	f := follow(t, marathon.Options{
		URLs: c.URLs(), Credentials: marathon.Credentials{ServiceAccountFile: secretFile(t, string(text))},
	})
	f.await("the app", func(state map[string]discovery.Update) bool { return len(state) == 1 })
	c.RevokeTokens()
	c.CloseStreams()
	c.Deploy(labelled("b", "b1"))
	f.await("another one", func(state map[string]discovery.Update) bool { return len(state) == 2 })
	asked := make(map[string]bool)
	for _, r := range c.Requests() {
		if strings.HasPrefix(r.Path, "/v2/") {
			asked[r.Header.Get("Authorization")] = true
		}
	}
	if len(asked) != 2 || asked[""] {
		t.Errorf("asked by %d different headers, by none: %t; want two tokens", len(asked), asked[""])
	}
}

func TestAMasterThatAnswersBadlyIsPassedOver(t *testing.T) {
	t.Parallel()
	for _, fault := range []marathontest.Fault{
		{Path: "/v2/apps", Status: http.StatusServiceUnavailable, Body: "<html>"},
		{Path: "/v2/apps", Status: http.StatusOK, Body: "<html>"},
		{Path: "/v2/apps", Cut: 40},
		{Path: "/v2/apps", Huge: 2 << 20},
	} {
		t.Run(fmt.Sprintf("%+v", fault), func(t *testing.T) {
			t.Parallel()
			c := marathontest.Start(t, marathontest.Options{})
			c.Deploy(labelled("a", "a1"))
			f := follow(t, marathon.Options{URLs: c.URLs(), MaxAnswer: 1 << 20})
			f.await("the app", func(state map[string]discovery.Update) bool { return len(state) == 1 })
			heal := c.Break(fault)
			c.CloseStreams()
			f.awaitStale()
			heal()
			c.Deploy(labelled("b", "b1"))
			f.await("another app", func(state map[string]discovery.Update) bool { return len(state) == 2 })
		})
	}
}
