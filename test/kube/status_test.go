// SPDX-License-Identifier: Apache-2.0

//go:build linux

package kube_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/sluice-mesh/sluice/control/kube"
	"github.com/sluice-mesh/sluice/discovery/kubernetes"
	"github.com/sluice-mesh/sluice/test/freeport"
	"github.com/sluice-mesh/sluice/test/kube/bed"
)

var defineGateways sync.Once

// withGateways has the cluster know of objects that are gateways.
func withGateways(tb testing.TB, b *bed.Bed) {
	tb.Helper()
	defineGateways.Do(func() {
		b.Kubectl(tb, "apply", "--filename", "../../deploy/kubernetes/sluicegateways.yaml")
		b.Kubectl(tb, "wait", "--for=condition=Established", "--timeout=60s", "crd/sluicegateways.sluice.dev")
	})
}

// gatewayStatus is the status of an object that is a gateway.
type gatewayStatus struct {
	ObservedGeneration int64
	Port, Weights      string
	Service            struct {
		Host, Port string
		NodePort   int
	}
	Conditions []metav1.Condition
}

// shopStatus waits until the object of the shop is as right says, and returns
// its generation.
func shopStatus(tb testing.TB, b *bed.Bed, ns string, right func(gatewayStatus) error) (generation int64) {
	tb.Helper()
	b.Eventually(tb, "the status of the shop", func(ctx context.Context) error {
		text, err := b.Client.Discovery().RESTClient().Get().
			AbsPath("/apis/sluice.dev/v1alpha1/namespaces/" + ns + "/sluicegateways/shop").DoRaw(ctx)
		if err != nil {
			return err
		}
		var o struct {
			Metadata metav1.ObjectMeta
			Status   gatewayStatus
		}
		if err := json.Unmarshal(text, &o); err != nil {
			return err
		}
		generation = o.Metadata.Generation
		if right == nil {
			return nil
		}
		if err := right(o.Status); err != nil {
			return fmt.Errorf("%w: %+v", err, o.Status)
		}
		return nil
	})
	return generation
}

// conditionsAre returns whether the conditions are TYPE=STATUS/REASON, in any
// order, all of one generation.
func conditionsAre(generation int64, want ...string) func(gatewayStatus) error {
	return func(s gatewayStatus) error {
		told := make(map[string]bool)
		for _, c := range s.Conditions {
			told[c.Type+"="+string(c.Status)+"/"+c.Reason] = c.ObservedGeneration == generation
		}
		for _, one := range want {
			if !told[one] {
				return fmt.Errorf("there is no condition %s of generation %d", one, generation)
			}
		}
		if len(told) != len(want) || s.ObservedGeneration != generation {
			return fmt.Errorf("of generation %d, want %d and %q", s.ObservedGeneration, generation, want)
		}
		return nil
	}
}

const shopObject = `
apiVersion: sluice.dev/v1alpha1
kind: SluiceGateway
metadata: {name: shop}
spec:
  port: 9070
  routes:
  - {name: "[10.0.0.1:80]", weight: 90%}
  - {name: "[10.0.0.2:80]", weight: 10%}
`

// shopText is what shopObject says.
const shopText = "name: shop\nport: 9070\nroutes:\n- \"[10.0.0.1:80]\": {weight: 90%}\n- \"[10.0.0.2:80]\": {weight: 10%}\n"

func TestObjectsAreToldWhatBecomesOfThem(t *testing.T) {
	t.Parallel()
	b := start(t)
	withGateways(t, b)
	ns := b.Namespace(t)
	b.Apply(t, ns, shopObject)
	generation := shopStatus(t, b, ns, nil)
	c := newControl(t, b, ns, nil)
	key := "sluicegateways/" + ns + "/shop"
	c.says(t, key, generation, shopText)
	good := []string{"Accepted=True/Accepted", "Deployed=True/Served", "Exposed=True/ServiceMade"}
	shopStatus(t, b, ns, conditionsAre(generation, good...))
	made := service(t, b, ns, "shop", has(9070))
	shopStatus(t, b, ns, func(s gatewayStatus) error {
		if s.Port != "9070" || s.Weights != "90%/90%, 10%/10%" || s.Service.Host != made.Spec.ClusterIP ||
			s.Service.Port != "9070/http" || s.Service.NodePort != int(made.Spec.Ports[0].NodePort) {
			return fmt.Errorf("the Service is %s, with %v", made.Spec.ClusterIP, made.Spec.Ports)
		}
		return nil
	})
	if table := b.Kubectl(t, "get", "sgw", "--namespace", ns); !strings.Contains(table, "90%/90%, 10%/10%") {
		t.Errorf("kubectl get shows\n%s", table)
	}

	// A form that was not planned yet is not spoken of.
	b.Kubectl(t, "patch", "sgw/shop", "--namespace", ns, "--type=merge", "--patch", `{"spec":{"port":9071,"sticky":"never"}}`)
	second := shopStatus(t, b, ns, conditionsAre(generation, good...))
	if second == generation {
		t.Fatalf("the generation is %d as before", second)
	}
	c.says(t, key, second, strings.Replace(shopText, "9070", "9071\nsticky: never", 1))
	shopStatus(t, b, ns, conditionsAre(second, "Accepted=False/Refused", "Deployed=True/Served", "Exposed=True/ServiceMade"))
	b.Eventually(t, "an event", func(ctx context.Context) error {
		list, err := b.Client.EventsV1().Events(ns).List(ctx, metav1.ListOptions{})
		if err != nil {
			return err
		}
		for _, e := range list.Items {
			if e.Reason == "Refused" && e.Type == corev1.EventTypeWarning && e.Regarding.Name == "shop" && strings.Contains(e.Note, "sticky") {
				return nil
			}
		}
		return fmt.Errorf("there are %v", list.Items)
	})
	if described := b.Kubectl(t, "describe", "sgw/shop", "--namespace", ns); !strings.Contains(described, "Refused") {
		t.Errorf("kubectl describe shows\n%s", described)
	}
	// The Service of one that is refused stays.
	service(t, b, ns, "shop", has(9070))

	c.mu.Lock()
	c.deployed = kube.Deployment{Proxies: 2, Served: 1}
	c.mu.Unlock()
	c.says(t, key, second, strings.Replace(shopText, "9070", "9071", 1))
	shopStatus(t, b, ns, conditionsAre(second, "Accepted=True/Accepted", "Deployed=False/Pending", "Exposed=True/ServiceMade"))
	c.mu.Lock()
	c.deployed.Served = 2
	c.mu.Unlock()
	c.Look()
	shopStatus(t, b, ns, conditionsAre(second, good...))
}

func TestAnObjectIsToldThatTheNameOfItsServiceIsTaken(t *testing.T) {
	t.Parallel()
	b := start(t)
	withGateways(t, b)
	ns := b.Namespace(t)
	b.Apply(t, ns, foreign)
	b.Apply(t, ns, shopObject)
	generation := shopStatus(t, b, ns, nil)
	c := newControl(t, b, ns, nil)
	c.says(t, "sluicegateways/"+ns+"/shop", generation, shopText)
	shopStatus(t, b, ns, conditionsAre(generation, "Accepted=True/Accepted", "Deployed=True/Served", "Exposed=False/NoService"))
	b.Kubectl(t, "delete", "service/shop", "--namespace", ns)
	shopStatus(t, b, ns, conditionsAre(generation, "Accepted=True/Accepted", "Deployed=True/Served", "Exposed=True/ServiceMade"))
}

func TestServicesOfOtherTypes(t *testing.T) {
	t.Parallel()
	b := start(t)
	withGateways(t, b)
	ns := b.Namespace(t)
	one := newControl(t, b, ns, func(o *kube.Options) {
		o.Services = kube.ServiceOptions{Type: kube.LoadBalancer, Selector: "app=edge", InternalTrafficPolicy: "Local"}
	})
	one.says(t, "files/shop", 0, gateway("Shop/1", 9000))
	name := kube.ServiceName("Shop/1")
	made := service(t, b, ns, name, has(9000))
	if made.Spec.Type != corev1.ServiceTypeLoadBalancer || *made.Spec.InternalTrafficPolicy != corev1.ServiceInternalTrafficPolicyLocal ||
		made.Spec.Selector["app"] != "edge" || made.Labels["sluice.dev/gateway"] != "Shop_1" {
		t.Errorf("the Service is %v with labels %v", made.Spec, made.Labels)
	}
	b.Kubectl(t, "patch", "service/"+name, "--namespace", ns, "--subresource=status", "--type=merge",
		"--patch", `{"status":{"loadBalancer":{"ingress":[{"hostname":"shop.example"}]}}}`)
	b.Eventually(t, "the address of the load balancer", func(context.Context) error {
		if a, ok := one.Service("default/default", "Shop/1"); !ok || a.Host != "shop.example" || a.Port != 9000 {
			return fmt.Errorf("Service() = %+v, %t", a, ok)
		}
		return nil
	})
	one.stop()

	// The Service that is there takes the new form.
	two := newControl(t, b, ns, func(o *kube.Options) { o.Services = kube.ServiceOptions{Type: kube.ClusterIP} })
	two.says(t, "files/shop", 0, gateway("Shop/1", 9001))
	service(t, b, ns, name, func(s *corev1.Service) error {
		if s.Spec.Type != corev1.ServiceTypeClusterIP || s.Spec.Ports[0].NodePort != 0 || s.Spec.Ports[0].Port != 9001 {
			return fmt.Errorf("it is %v", s.Spec)
		}
		return nil
	})
	two.stop()

	// Without Services, those that are there are left alone.
	three := newControl(t, b, ns, func(o *kube.Options) { o.Services = kube.ServiceOptions{Type: kube.NoServices} })
	b.Apply(t, ns, shopObject)
	generation := shopStatus(t, b, ns, nil)
	three.says(t, "sluicegateways/"+ns+"/shop", generation, shopText)
	shopStatus(t, b, ns, conditionsAre(generation, "Accepted=True/Accepted", "Deployed=True/Served"))
	service(t, b, ns, name, has(9001))
	if list := b.Kubectl(t, "get", "services", "--namespace", ns, "--output", "name"); strings.TrimSpace(list) != "service/"+name {
		t.Errorf("the Services are %s, want those of before alone", list)
	}
}

// Before all that is there was planned, nothing is believed to be gone; and a
// gateway that is refused may come back.
func TestServicesOutliveARestart(t *testing.T) {
	t.Parallel()
	b := start(t)
	ns := b.Namespace(t)
	one := newControl(t, b, ns, nil)
	one.says(t, "files/shop", 0, gateway("shop", 9000))
	one.says(t, "files/cart", 0, gateway("cart", 9001))
	one.says(t, "files/old", 0, gateway("old", 9002))
	before := map[string]*corev1.Service{}
	for _, name := range []string{"shop", "cart", "old"} {
		before[name] = service(t, b, ns, name, nil)
	}
	one.stop()
	two := newControl(t, b, ns, nil)
	b.Eventually(t, "a leader", func(context.Context) error {
		if !two.Leading() {
			return errors.New("nobody leads")
		}
		return nil
	})
	two.planner.Put(nil)
	docs := []string{gateway("shop", 9000), "---\n", "name: cart\nport: nowhere\nroutes: {}\nsticky: never\n"}
	two.says(t, "files/all", 0, strings.Join(docs, ""))
	two.says(t, "files/new", 0, gateway("new", 9003))
	service(t, b, ns, "new", nil)
	two.says(t, "files/new", 0, "")
	noService(t, b, ns, "new") // at once, as it was seen to go
	service(t, b, ns, "old", nil)
	two.stop()
	three := newControl(t, b, ns, func(o *kube.Options) { o.Hold = time.Millisecond })
	three.says(t, "files/all", 0, strings.Join(docs, ""))
	noService(t, b, ns, "old")
	for _, name := range []string{"shop", "cart"} {
		if now := service(t, b, ns, name, nil); now.UID != before[name].UID {
			t.Errorf("the Service %s was made anew", name)
		}
	}
}

func TestOneOfTwoControlPlanesWrites(t *testing.T) {
	t.Parallel()
	b := start(t)
	ns := b.Namespace(t)
	brief := func(name string) func(*kube.Options) {
		return func(o *kube.Options) { o.Identity, o.LeaseDuration = name, 3*time.Second }
	}
	leads := func(c *control, what string) {
		t.Helper()
		b.Eventually(t, what, func(context.Context) error {
			if !c.Leading() {
				return errors.New("it does not lead")
			}
			return nil
		})
	}
	one := newControl(t, b, ns, brief("one"))
	leads(one, "the first one leads")
	two := newControl(t, b, ns, brief("two"))
	two.says(t, "files/shop", 0, gateway("shop", 9000))
	one.says(t, "files/shop", 0, gateway("shop", 9001))
	service(t, b, ns, "shop", has(9001))
	// Whoever does not lead knows where a gateway is, too.
	b.Eventually(t, "the address of the Service", func(context.Context) error {
		if _, ok := two.Service("default/default", "shop"); !ok {
			return errors.New("it is not known")
		}
		return nil
	})
	if two.Leading() {
		t.Error("both lead")
	}
	one.stop() // and the Lease is given back
	leads(two, "the second one leads")
	service(t, b, ns, "shop", has(9000))

	// Robbed of the Lease, it writes no more, and goes on living.
	steal(t, b, ns, "thief")
	b.Eventually(t, "the loss of the Lease", func(context.Context) error {
		if two.Leading() {
			return errors.New("it leads")
		}
		return nil
	})
	two.says(t, "files/shop", 0, gateway("shop", 9002))
	if s := service(t, b, ns, "shop", nil); has(9000)(s) != nil {
		t.Errorf("the Service was changed to %v without the Lease", s.Spec.Ports)
	}
	leads(two, "the Lease is over") // as the thief does not renew it
	service(t, b, ns, "shop", has(9002))
}

// steal gives the Lease to another.
func steal(tb testing.TB, b *bed.Bed, ns, thief string) {
	tb.Helper()
	leases := b.Client.CoordinationV1().Leases(ns)
	b.Eventually(tb, "the theft", func(ctx context.Context) error {
		lease, err := leases.Get(ctx, kube.LeaseName("default/default"), metav1.GetOptions{})
		if err != nil {
			return err
		}
		now := metav1.NowMicro()
		lease.Spec.HolderIdentity, lease.Spec.RenewTime, lease.Spec.AcquireTime = &thief, &now, &now
		_, err = leases.Update(ctx, lease, metav1.UpdateOptions{})
		return err
	})
}

// Two namespaces may be given one namespace of Kubernetes.
func TestGatewaysOfOneNameDoNotShareAService(t *testing.T) {
	t.Parallel()
	b := start(t)
	ns := b.Namespace(t)
	c := newControl(t, b, ns, func(o *kube.Options) { o.Environments = map[string]string{ns: "acme/prod"} })
	c.saysIn(t, "acme/prod", "files/acme", 0, gateway("shop", 9001))
	service(t, b, ns, "shop", has(9001))
	c.says(t, "files/shop", 0, gateway("shop", 9002))
	b.Eventually(t, "the trouble of the second", func(context.Context) error {
		if text := c.Trouble("default/default", "shop"); !strings.Contains(text, "acme/prod") {
			return fmt.Errorf("it is %q", text)
		}
		return nil
	})
	if s := service(t, b, ns, "shop", nil); has(9001)(s) != nil || c.Trouble("acme/prod", "shop") != "" {
		t.Errorf("the Service has %v, want that of acme/prod; trouble %q", s.Spec.Ports, c.Trouble("acme/prod", "shop"))
	}
	c.saysIn(t, "acme/prod", "files/acme", 0, "")
	service(t, b, ns, "shop", has(9002))
}

// Missing rights are told to the gateway, with what is missing.
func TestMissingRightsAreTold(t *testing.T) {
	t.Parallel()
	b := start(t)
	ns := b.Namespace(t)
	b.Kubectl(t, "create", "serviceaccount", "poor", "--namespace", ns)
	b.Kubectl(t, "create", "role", "leases", "--namespace", ns, "--verb=get,create,update", "--resource=leases.coordination.k8s.io")
	b.Kubectl(t, "create", "rolebinding", "leases", "--namespace", ns, "--role=leases", "--serviceaccount="+ns+":poor")
	token := strings.TrimSpace(b.Kubectl(t, "create", "token", "poor", "--namespace", ns))
	file := t.TempDir() + "/kubeconfig"
	text, err := os.ReadFile(b.Kubeconfig)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(file, text, 0o600); err != nil {
		t.Fatal(err)
	}
	b.Kubectl(t, "config", "set-credentials", "poor", "--token="+token, "--kubeconfig="+file)
	clusters := strings.Fields(b.Kubectl(t, "config", "get-clusters", "--kubeconfig="+file))
	b.Kubectl(t, "config", "set-context", "poor", "--user=poor", "--cluster="+clusters[len(clusters)-1], "--kubeconfig="+file)
	client, err := kubernetes.Connect(kubernetes.Access{File: file, Context: "poor"})
	if err != nil {
		t.Fatal(err)
	}
	c := newControl(t, b, ns, func(o *kube.Options) { o.Client = client })
	c.says(t, "files/shop", 0, gateway("shop", 9000))
	trouble := func(want string) {
		t.Helper()
		b.Eventually(t, "what is missing", func(context.Context) error {
			if got := c.Trouble("default/default", "shop"); !strings.Contains(got, want) {
				return fmt.Errorf("it is %q, want %q", got, want)
			}
			return nil
		})
	}
	trouble("a rule with the verbs list and watch is needed")
	b.Kubectl(t, "create", "role", "services", "--namespace", ns, "--verb=list,watch", "--resource=services")
	b.Kubectl(t, "create", "rolebinding", "services", "--namespace", ns, "--role=services", "--serviceaccount="+ns+":poor")
	trouble("a rule with the verbs list, create and update on services is needed")
	b.Kubectl(t, "create", "role", "more", "--namespace", ns, "--verb=create", "--resource=services")
	b.Kubectl(t, "create", "rolebinding", "more", "--namespace", ns, "--role=more", "--serviceaccount="+ns+":poor")
	service(t, b, ns, "shop", has(9000))
}

// These stop the API server for all, so they run alone.

func TestWhatWasMissedIsMadeUpFor(t *testing.T) {
	b := start(t)
	ns := b.Namespace(t)
	c := newControl(t, b, ns, func(o *kube.Options) { o.LeaseDuration = 3 * time.Second })
	c.says(t, "files/shop", 0, gateway("shop", 9000))
	service(t, b, ns, "shop", has(9000))
	for _, stop := range []func() (resume func()){
		func() func() { return b.PauseAPIServer(t) },
		func() func() { b.KillAPIServer(t); return func() { b.StartAPIServer(t) } },
	} {
		resume := stop()
		b.Eventually(t, "the Lease cannot be renewed", func(context.Context) error {
			if c.Leading() {
				return errors.New("it leads")
			}
			return nil
		})
		c.says(t, "files/shop", 0, gateway("shop", 9100))
		c.says(t, "files/cart", 0, gateway("cart", 9101))
		resume()
		service(t, b, ns, "shop", has(9100))
		service(t, b, ns, "cart", has(9101))
		c.says(t, "files/shop", 0, gateway("shop", 9000))
		c.says(t, "files/cart", 0, "")
		noService(t, b, ns, "cart")
		service(t, b, ns, "shop", has(9000))
	}
	if _, err := b.Client.CoreV1().Services(ns).Get(t.Context(), "cart", metav1.GetOptions{}); !apierrors.IsNotFound(err) {
		t.Errorf("the Service of what is gone: %v", err)
	}
}

// An object is served by a whole process, which tells it so.
func TestAnObjectIsServed(t *testing.T) {
	t.Parallel()
	b := start(t)
	withGateways(t, b)
	ns := b.Namespace(t)
	ports := []int{freeport.One(t), freeport.One(t)}
	s := newSluice(t, b, ns)
	object := func(port int) string {
		return fmt.Sprintf("apiVersion: sluice.dev/v1alpha1\nkind: SluiceGateway\nmetadata: {name: shop}\n"+
			"spec: {port: %d, selector: label(app)(sava-product) && label(version)((.*))}\n", port)
	}
	b.Apply(t, ns, object(ports[0]))
	b.Apply(t, ns, release("1.0.3", 1))
	good := []string{"Accepted=True/Accepted", "Deployed=True/Served", "Exposed=True/ServiceMade"}
	shopStatus(t, b, ns, conditionsAre(1, good...))
	answering(t, b, ports[0])("the pod answers", func(v, _ map[string]int) bool { return v["1.0.3"] == 100 })
	shopStatus(t, b, ns, func(s gatewayStatus) error {
		if s.Weights != "-/100%" {
			return errors.New("the weight is another")
		}
		return nil
	})
	b.Apply(t, ns, object(ports[1]))
	shopStatus(t, b, ns, conditionsAre(2, good...))
	made := service(t, b, ns, "shop", has(int32(ports[1])))
	status, err := fetch(t.Context(), "http://"+s.api+"/api/v1/status")
	if want := fmt.Sprintf(`"service":{"host":%q,"port":%d,"node_port":%d}`, made.Spec.ClusterIP, ports[1], made.Spec.Ports[0].NodePort); err != nil || !strings.Contains(status, want) {
		t.Errorf("the status is %s (%v), want %s in it", status, err, want)
	}
	b.Kubectl(t, "delete", "sgw/shop", "--namespace", ns)
	noService(t, b, ns, "shop")
}
