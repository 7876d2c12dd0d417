// SPDX-License-Identifier: Apache-2.0

package kube_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	coordinationv1 "k8s.io/api/coordination/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	dynamicfake "k8s.io/client-go/dynamic/fake"
	clients "k8s.io/client-go/kubernetes"
	"k8s.io/client-go/kubernetes/fake"
	coordinationclient "k8s.io/client-go/kubernetes/typed/coordination/v1"
	clienttesting "k8s.io/client-go/testing"

	"github.com/sluice-mesh/sluice/control/kube"
	"github.com/sluice-mesh/sluice/control/planner"
	"github.com/sluice-mesh/sluice/discovery"
	"github.com/sluice-mesh/sluice/discovery/kubernetes"
	"github.com/sluice-mesh/sluice/routing"
)

// acme is the namespace of the environment that these tests move about.
const acme = "acme/prod"

var gatewaysAt = schema.GroupVersionResource{Group: kubernetes.GatewayGroup, Version: kubernetes.GatewayVersion, Resource: kubernetes.GatewayResource}

// cluster plays an API server that keeps what is written. All of a test is in a
// bubble, so that its time is the test's.
type cluster struct {
	t       *testing.T
	api     *fake.Clientset
	objects *dynamicfake.FakeDynamicClient
	gate    *gate
	made    atomic.Int64
}

func newCluster(t *testing.T) *cluster {
	t.Helper()
	c := &cluster{t: t, api: fake.NewClientset(), objects: dynamicfake.NewSimpleDynamicClientWithCustomListKinds(
		runtime.NewScheme(), map[schema.GroupVersionResource]string{gatewaysAt: "SluiceGatewayList"},
	)}
	c.gate = &gate{Interface: c.api}
	// An event that is made is given a name.
	c.api.PrependReactor("create", "*", func(a clienttesting.Action) (bool, runtime.Object, error) {
		n := c.made.Add(1)
		if o, ok := a.(clienttesting.CreateAction).GetObject().(metav1.Object); ok && o.GetName() == "" {
			o.SetName(fmt.Sprint(o.GetGenerateName(), n))
		}
		return false, nil, nil
	})
	return c
}

// control is a control plane as far as a Writer needs one.
type control struct {
	*kube.Writer

	t       *testing.T
	planner *planner.Planner
	stop    func()

	mu       sync.Mutex // guards the fields below
	deployed kube.Deployment
	sure     bool
}

func (p *control) set(change func()) {
	p.mu.Lock()
	defer p.mu.Unlock()
	change()
}

// control starts a Writer at home in the namespace sluice.
func (c *cluster) control(change func(*kube.Options)) *control {
	c.t.Helper()
	p := &control{t: c.t, planner: planner.New(planner.Options{}), deployed: kube.Deployment{Proxies: 1, Served: 1}, sure: true}
	o := kube.Options{
		Client: &kubernetes.Client{API: c.gate, Dynamic: c.objects, Home: "sluice"}, Plans: p.planner,
		Deployed: func(string, string) (d kube.Deployment) {
			p.set(func() { d = p.deployed })
			return d
		},
		Sure: func() (sure bool) {
			p.set(func() { sure = p.sure })
			return sure
		},
		Log: slog.New(slog.NewTextHandler(c.t.Output(), nil)),
	}
	if change != nil {
		change(&o)
	}
	var err error
	if p.Writer, err = kube.New(o); err != nil {
		c.t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(c.t.Context())
	ended := make(chan error, 1)
	go func() { ended <- p.Run(ctx) }()
	p.stop = sync.OnceFunc(func() {
		cancel()
		if err := <-ended; err != nil {
			c.t.Errorf("Run() = %v, want nil", err)
		}
	})
	return p
}

// says plans what an object of a source says, nothing if it is no more.
func (p *control) says(namespace, key, text string) {
	p.t.Helper()
	u := discovery.Update{Key: key, Gone: true}
	if text != "" {
		docs, faults := routing.Read(key, []byte(text))
		u = discovery.Update{Key: key, Namespace: namespace, Documents: docs, Faults: faults}
	}
	p.tells(namespace, u)
}

func (p *control) tells(namespace string, u discovery.Update) {
	p.t.Helper()
	p.planner.Put([]discovery.Update{u})
	plan, err := p.planner.Plan(p.t.Context(), namespace)
	if err != nil {
		p.t.Fatal(err)
	}
	p.Put(plan)
}

func gateway(name string, port int) string {
	return fmt.Sprintf("name: %q\nport: %d/http\nroutes: {\"[127.0.0.1:8080]\": {weight: 100%%}}\n", name, port)
}

// services returns the Services that there are, NAMESPACE/NAME.
func (c *cluster) services() string {
	c.t.Helper()
	list, err := c.api.CoreV1().Services("").List(c.t.Context(), metav1.ListOptions{})
	if err != nil {
		c.t.Fatal(err)
	}
	var all []string
	for _, s := range list.Items {
		all = append(all, s.Namespace+"/"+s.Name)
	}
	slices.Sort(all)
	return strings.Join(all, " ")
}

// after lets a time pass, and all come to rest.
func after(d time.Duration) {
	time.Sleep(d)
	synctest.Wait()
}

// has checks that there are these Services, some time from now.
func (c *cluster) has(d time.Duration, want string) {
	c.t.Helper()
	after(d)
	if got := c.services(); got != want {
		c.t.Fatalf("the Services are %q, want %q", got, want)
	}
}

// ours returns a Service of a gateway as a control plane before has made it.
func ours(place, name, namespace string) *corev1.Service {
	return &corev1.Service{ObjectMeta: metav1.ObjectMeta{Namespace: place, Name: name, Labels: map[string]string{
		"app.kubernetes.io/managed-by": "sluice", "sluice.dev/namespace": kube.NamespaceLabel(namespace),
	}}}
}

func (c *cluster) make(s *corev1.Service) {
	c.t.Helper()
	if _, err := c.api.CoreV1().Services(s.Namespace).Create(c.t.Context(), s, metav1.CreateOptions{}); err != nil {
		c.t.Fatal(err)
	}
}

// A namespace that finds its home elsewhere has its Services made there, and
// nobody is without meanwhile.
func TestServicesMoveWithTheirEnvironment(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		c := newCluster(t)
		p := c.control(nil)
		defer p.stop()
		p.says("", "files/a", gateway("a", 9000))
		p.says(acme, "files/b", gateway("b", 9001))
		c.has(time.Second, "sluice/a") // nobody says where those of acme are made
		homes := func(place string) {
			p.PutPlaces(kubernetes.Places{Environments: map[string]string{place: acme}, Homes: map[string]string{acme: place}})
		}
		homes("one")
		c.has(time.Second, "one/b sluice/a")

		// The second Service cannot be made: the first one stays.
		var refuse atomic.Bool
		refuse.Store(true)
		c.api.PrependReactor("create", "services", func(clienttesting.Action) (bool, runtime.Object, error) {
			return refuse.Load(), nil, apierrors.NewForbidden(schema.GroupResource{Resource: "services"}, "b", errors.New("not yours"))
		})
		homes("two")
		c.has(10*time.Second, "one/b sluice/a")
		if got := p.Trouble(acme, "b"); !strings.Contains(got, "not yours") {
			t.Errorf("the trouble is %q", got)
		}
		refuse.Store(false)
		c.has(2*time.Minute, "sluice/a two/b")

		// Without a home they stay for a while, and are there if it comes back.
		p.PutPlaces(kubernetes.Places{})
		c.has(50*time.Second, "sluice/a two/b")
		homes("two")
		c.has(5*time.Minute, "sluice/a two/b")
		p.PutPlaces(kubernetes.Places{})
		c.has(2*time.Minute, "sluice/a")
		if _, ok := p.Service(acme, "b"); ok {
			t.Error("a gateway without home has a Service")
		}
		// What is not followed any more is followed again.
		homes("one")
		c.has(time.Second, "one/b sluice/a")
		p.says(acme, "files/b", "")
		c.has(time.Second, "sluice/a")
	})
}

// Of a namespace of Kubernetes that is no home any more, only what is ours goes.
func TestWhatOthersHaveInAFormerHomeStays(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		c := newCluster(t)
		c.make(ours("one", "a", "other/tenant"))
		c.make(&corev1.Service{ObjectMeta: metav1.ObjectMeta{Namespace: "one", Name: "b"}})
		p := c.control(func(o *kube.Options) { o.Environments = map[string]string{"one": acme} })
		defer p.stop()
		for _, name := range []string{"a", "b", "c"} {
			p.says(acme, "files/"+name, gateway(name, 9000+int(name[0])))
		}
		c.has(time.Second, "one/a one/b one/c")
		p.PutPlaces(kubernetes.Places{Environments: map[string]string{"one": acme, "two": acme}, Homes: map[string]string{acme: "two"}})
		c.has(5*time.Minute, "one/a one/b two/a two/b two/c")
	})
}

// What no plan of this process has ever had is deleted only once it is sure that
// it is not there, and has been for a while.
func TestServicesStayWhileNobodyKnows(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		c := newCluster(t)
		c.make(ours("sluice", "old", planner.DefaultNamespace))
		p := c.control(nil)
		defer p.stop()
		p.set(func() { p.sure = false })
		p.says("", "files/a", gateway("a", 9000))
		c.has(10*time.Minute, "sluice/a sluice/old")
		p.set(func() { p.sure = true })
		c.has(50*time.Second, "sluice/a sluice/old")
		p.set(func() { p.sure = false })
		after(10 * time.Second)
		p.set(func() { p.sure = true })
		c.has(50*time.Second, "sluice/a sluice/old")
		c.has(3*time.Minute, "sluice/a")
		// What was seen to go needs no time.
		p.set(func() { p.sure = false })
		p.says("", "files/a", "")
		c.has(time.Second, "")
	})
}

// gate lets pass who asks for a Lease, unless it is shut: then whoever asks
// waits until it is opened, or has waited for long enough.
type gate struct {
	clients.Interface

	mu   sync.Mutex // guards shut
	shut chan struct{}
}

// IsWatchListSemanticsUnSupported says, as that of c.api does, that lists are not
// streamed here.
func (g *gate) IsWatchListSemanticsUnSupported() bool { return true }

func (g *gate) pass(ctx context.Context) error {
	g.mu.Lock()
	shut := g.shut
	g.mu.Unlock()
	if shut == nil {
		return nil
	}
	select {
	case <-shut:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// hang has the API server answer nothing about Leases until end is called.
func (c *cluster) hang() (end func()) {
	shut := make(chan struct{})
	set := func(to chan struct{}) {
		c.gate.mu.Lock()
		defer c.gate.mu.Unlock()
		c.gate.shut = to
	}
	set(shut)
	return sync.OnceFunc(func() {
		set(nil)
		close(shut)
	})
}

// CoordinationV1 implements clients.Interface.
func (g *gate) CoordinationV1() coordinationclient.CoordinationV1Interface {
	return gatedCoordination{g.Interface.CoordinationV1(), g}
}

type gatedCoordination struct {
	coordinationclient.CoordinationV1Interface

	gate *gate
}

// Leases implements coordinationclient.LeasesGetter.
func (c gatedCoordination) Leases(namespace string) coordinationclient.LeaseInterface {
	return gatedLeases{c.CoordinationV1Interface.Leases(namespace), c.gate}
}

type gatedLeases struct {
	coordinationclient.LeaseInterface

	gate *gate
}

// Get implements coordinationclient.LeaseInterface.
func (l gatedLeases) Get(ctx context.Context, name string, o metav1.GetOptions) (*coordinationv1.Lease, error) {
	if err := l.gate.pass(ctx); err != nil {
		return nil, err
	}
	return l.LeaseInterface.Get(ctx, name, o)
}

// Update implements coordinationclient.LeaseInterface.
func (l gatedLeases) Update(ctx context.Context, lease *coordinationv1.Lease, o metav1.UpdateOptions) (*coordinationv1.Lease, error) {
	if err := l.gate.pass(ctx); err != nil {
		return nil, err
	}
	return l.LeaseInterface.Update(ctx, lease, o)
}

// Who cannot renew the Lease writes no more before another may have it, even if
// no answer comes at all; what is asked for meanwhile is done later.
func TestAServerThatHangsEndsTheWriting(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		c := newCluster(t)
		p := c.control(nil)
		defer p.stop()
		p.says("", "files/a", gateway("a", 9000))
		c.has(time.Second, "sluice/a")
		end := c.hang()
		defer end()
		after(14 * time.Second) // another may have it after 15
		if p.Leading() {
			t.Fatal("it leads without the Lease")
		}
		p.says("", "files/b", gateway("b", 9001))
		p.says("", "files/a", "")
		c.has(time.Minute, "sluice/a")
		end()
		c.has(time.Minute, "sluice/b")
	})
}

// The Lease that another has by now is not given back.
func TestWhatAnotherHasIsNotGivenBack(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		c := newCluster(t)
		p := c.control(nil)
		defer p.stop()
		after(time.Second)
		if !p.Leading() {
			t.Fatal("nobody leads")
		}
		end := c.hang()
		defer end()
		after(15 * time.Second) // it is about to be given back
		c.hold("thief", time.Now())
		end()
		after(time.Second)
		if got := c.holder(); got != "thief" {
			t.Errorf("the Lease is held by %q, want thief", got)
		}
		if p.Leading() {
			t.Error("two lead")
		}
	})
}

// hold gives the Lease to another, who renewed it at a time.
func (c *cluster) hold(who string, at time.Time) {
	c.t.Helper()
	seconds, now := int32(15), metav1.NewMicroTime(at)
	lease := &coordinationv1.Lease{
		ObjectMeta: metav1.ObjectMeta{Namespace: "sluice", Name: kube.LeaseName(planner.DefaultNamespace)},
		Spec:       coordinationv1.LeaseSpec{HolderIdentity: &who, LeaseDurationSeconds: &seconds, RenewTime: &now, AcquireTime: &now},
	}
	at0 := coordinationv1.SchemeGroupVersion.WithResource("leases")
	if err := c.api.Tracker().Update(at0, lease, lease.Namespace); apierrors.IsNotFound(err) {
		err = c.api.Tracker().Create(at0, lease, lease.Namespace)
		if err != nil {
			c.t.Fatal(err)
		}
	} else if err != nil {
		c.t.Fatal(err)
	}
}

func (c *cluster) holder() string {
	c.t.Helper()
	o, err := c.api.Tracker().Get(coordinationv1.SchemeGroupVersion.WithResource("leases"), "sluice", kube.LeaseName(planner.DefaultNamespace))
	if err != nil {
		c.t.Fatal(err)
	}
	return *o.(*coordinationv1.Lease).Spec.HolderIdentity
}

// One that waits for a control plane of its own installation is a deputy; one
// that waits for another's will never write.
func TestAnotherInstallationIsTold(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		c := newCluster(t)
		var all []*control
		for _, installation := range []string{"blue", "blue", "green", ""} {
			p := c.control(func(o *kube.Options) { o.Installation = installation })
			defer p.stop()
			p.says("", "files/a", gateway("a", 9000))
			after(time.Second)
			all = append(all, p)
		}
		after(time.Minute)
		for i, want := range []string{"", "", "the Lease sluice/sluice-control is held by another installation, blue: ", ""} {
			if got := all[i].Trouble(planner.DefaultNamespace, "a"); !strings.HasPrefix(got, want) || want == "" && got != "" {
				t.Errorf("the trouble of %d is %q, want %q", i, got, want)
			}
		}
		all[0].stop()
		all[1].stop()
		after(time.Minute)
		if got := all[2].Trouble(planner.DefaultNamespace, "a"); got != "" || !all[2].Leading() && !all[3].Leading() {
			t.Errorf("alone it has the trouble %q", got)
		}
	})
}

func TestLeasesAreByNamespace(t *testing.T) {
	t.Parallel()
	for namespace, want := range map[string]string{
		"default/default": "sluice-control", "acme/prod": "sluice-control-acme.prod",
		"a-/b": "sluice-control-a9e8cca1d7c10f4a0ffb0b64bb9cb7d0d29f7ad5",
	} {
		got := kube.LeaseName(namespace)
		if namespace == "a-/b" {
			want = got // what no object may be called is told by its hash
			if len(got) != len("sluice-control-")+40 {
				t.Errorf("the Lease of %s is %s", namespace, got)
			}
		}
		if got != want {
			t.Errorf("the Lease of %s is %s, want %s", namespace, got, want)
		}
	}
}

// Without the right to the Lease nobody writes, and gateways are told why.
func TestNobodyLeadsWithoutTheRight(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		c := newCluster(t)
		var refuse atomic.Bool
		refuse.Store(true)
		c.api.PrependReactor("*", "leases", func(clienttesting.Action) (bool, runtime.Object, error) {
			return refuse.Load(), nil, apierrors.NewForbidden(schema.GroupResource{Group: "coordination.k8s.io", Resource: "leases"}, "sluice-control", errors.New("no"))
		})
		p := c.control(nil)
		defer p.stop()
		p.says("", "files/a", gateway("a", 9000))
		c.has(time.Minute, "")
		if got := p.Trouble(planner.DefaultNamespace, "a"); !strings.Contains(got, "a rule with the verbs get, create and update on leases is needed") {
			t.Errorf("the trouble is %q", got)
		}
		if got := p.Trouble(planner.DefaultNamespace, "b"); got != "" {
			t.Errorf("the trouble of no gateway is %q", got)
		}
		refuse.Store(false)
		c.has(time.Minute, "sluice/a")
		if got := p.Trouble(planner.DefaultNamespace, "a"); got != "" {
			t.Errorf("the trouble is %q", got)
		}
	})
}

// events returns how many events there are.
func (c *cluster) events() int {
	c.t.Helper()
	list, err := c.api.EventsV1().Events("").List(c.t.Context(), metav1.ListOptions{})
	if err != nil {
		c.t.Fatal(err)
	}
	return len(list.Items)
}

// What could not be told before the Lease was lost is told later, and what was is
// not told twice.
func TestEventsThatWereDroppedAreToldLater(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		c := newCluster(t)
		p := c.control(nil)
		defer p.stop()
		after(time.Second)
		const all = 300
		tell := func() {
			for i := range all {
				p.Events().Tell(kube.Event{About: kube.Object{APIVersion: "v1", Kind: "Pod", Namespace: "shop", Name: fmt.Sprint("p", i)}, Reason: "Refused", Action: "Accept"})
			}
		}
		tell()
		after(2 * time.Second)
		told := c.events()
		if told < 50 || told > 70 {
			t.Fatalf("%d are told at once, want 50 and 5 a second", told)
		}
		end := c.hang()
		after(30 * time.Second)
		end()
		stayed := c.events()
		after(30 * time.Second)
		if !p.Leading() || stayed >= all {
			t.Fatalf("it leads: %t; %d were told before", p.Leading(), stayed)
		}
		tell()
		after(2 * time.Minute)
		if got := c.events(); got != all {
			t.Errorf("%d are told in the end, want each once", got)
		}
	})
}

// A label that names nobody is told to its namespace.
func TestNamespacesAreToldWhatIsWrong(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		c := newCluster(t)
		p := c.control(nil)
		defer p.stop()
		after(time.Second)
		fault := &routing.Fault{Code: "UnreadableEnvironment", At: routing.Position{Source: "namespaces/shop"}, Problem: "it names nobody"}
		p.tells("", discovery.Update{Key: "namespaces/shop", Faults: []*routing.Fault{fault}})
		after(time.Second)
		list, err := c.api.EventsV1().Events("default").List(t.Context(), metav1.ListOptions{})
		if err != nil || len(list.Items) != 1 {
			t.Fatalf("the events are %v, %v", list, err)
		}
		e := list.Items[0]
		if e.Regarding.Kind != "Namespace" || e.Regarding.Name != "shop" || e.Reason != "UnreadableEnvironment" || e.Note != "it names nobody" {
			t.Errorf("the event is %+v", e)
		}
	})
}

// shopObject puts an object that is a gateway.
func (c *cluster) shopObject(p *control) {
	c.t.Helper()
	o := object(route("[127.0.0.1:8080]", "100%"))
	if _, err := c.objects.Resource(gatewaysAt).Namespace("shops").Create(c.t.Context(), &unstructured.Unstructured{Object: o}, metav1.CreateOptions{}); err != nil {
		c.t.Fatal(err)
	}
	docs, faults := routing.Read(kube.ObjectSource("shops", "shop"), []byte(gateway("shop", 9000)))
	p.tells("", discovery.Update{Key: kube.ObjectSource("shops", "shop"), Generation: 3, Documents: docs, Faults: faults})
}

// deployed returns what the status of the object says of proxies, and how often a
// status was written.
func (c *cluster) deployed() (says string, writes int) {
	c.t.Helper()
	o, err := c.objects.Resource(gatewaysAt).Namespace("shops").Get(c.t.Context(), "shop", metav1.GetOptions{})
	if err != nil {
		c.t.Fatal(err)
	}
	conditions, _, _ := unstructured.NestedSlice(o.Object, "status", "conditions")
	for _, one := range conditions {
		if m := one.(map[string]any); m["type"] == "Deployed" {
			says = fmt.Sprint(m["reason"], ": ", m["message"])
		}
	}
	for _, a := range c.objects.Actions() {
		if a.GetVerb() == "patch" {
			writes++
		}
	}
	return says, writes
}

// A proxy that joins, and is behind for a moment, is not worth a write to each
// object.
func TestProxiesThatJoinRewriteNoStatus(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		c := newCluster(t)
		p := c.control(func(o *kube.Options) { o.Services.Type = kube.NoServices })
		defer p.stop()
		c.shopObject(p)
		after(10 * time.Second)
		const served = "Served: all proxies of its namespace serve it"
		says, writes := c.deployed()
		if says != served {
			t.Fatalf("Deployed is %s", says)
		}
		proxies := func(all, serving int, d time.Duration) {
			p.set(func() { p.deployed = kube.Deployment{Proxies: all, Served: serving} })
			p.Look()
			after(d)
		}
		for n := 2; n < 20; n++ {
			proxies(n, n-1, 20*time.Second)
			proxies(n, n, time.Second)
		}
		if says, n := c.deployed(); n != writes || says != served {
			t.Errorf("%d writes for 18 proxies that joined; it says %s", n-writes, says)
		}
		// What stays behind is told, and not each step of it.
		for n := range 19 {
			proxies(20, n, 3*time.Second)
		}
		if says, n := c.deployed(); n < writes+1 || n > writes+2 || !strings.HasPrefix(says, "Pending: ") {
			t.Errorf("%d writes, and it says %s", n-writes, says)
		}
		_, writes = c.deployed()
		proxies(20, 20, time.Second)
		if says, n := c.deployed(); n != writes+1 || says != served {
			t.Errorf("%d writes, and it says %s", n-writes, says)
		}
	})
}

// An object that is another environment's by now says how it fares there.
func TestStatusesFollowTheirEnvironment(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		c := newCluster(t)
		p := c.control(nil)
		defer p.stop()
		c.shopObject(p)
		c.has(time.Second, "sluice/shop")
		p.PutPlaces(kubernetes.Places{Environments: map[string]string{"shops": acme}, Homes: map[string]string{acme: "shops"}})
		after(time.Second)
		docs, faults := routing.Read(kube.ObjectSource("shops", "shop"), []byte(gateway("shop", 9000)))
		u := discovery.Update{Key: kube.ObjectSource("shops", "shop"), Namespace: acme, Generation: 3, Documents: docs, Faults: faults}
		p.tells(acme, u)
		plan, err := p.planner.Plan(t.Context(), "")
		if err != nil {
			t.Fatal(err)
		}
		p.Put(plan)
		c.has(time.Second, "shops/shop")
		p.set(func() { p.deployed = kube.Deployment{} })
		p.Look()
		after(10 * time.Second)
		if says, _ := c.deployed(); !strings.HasPrefix(says, "NoProxies") {
			t.Errorf("Deployed is %s", says)
		}
	})
}

// Put is called where tables are published, which is not to wait for names that
// are made, nor for anything else.
func TestPutWaitsForNobody(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		c := newCluster(t)
		p := c.control(nil)
		defer p.stop()
		put := make(chan struct{})
		p.Locked(func() {
			go func() {
				p.says("", "files/a", gateway("a", 9000))
				p.PutPlaces(kubernetes.Places{})
				close(put)
			}()
			<-put
		})
		c.has(time.Second, "sluice/a")
	})
}
