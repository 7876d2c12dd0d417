// SPDX-License-Identifier: Apache-2.0

//go:build linux

package kube_test

import (
	"context"
	"encoding/json"
	"fmt"
	"regexp"
	"strconv"
	"strings"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/sluice-mesh/sluice/test/freeport"
	"github.com/sluice-mesh/sluice/test/kube/bed"
)

// accepted waits until an object that is a gateway is told that it is accepted,
// or not, for a reason and with words in the message.
func accepted(t *testing.T, b *bed.Bed, ns, name, reason, words string) {
	t.Helper()
	b.Eventually(t, name+" is told "+reason, func(ctx context.Context) error {
		text, err := b.Client.Discovery().RESTClient().Get().
			AbsPath("/apis/sluice.dev/v1alpha1/namespaces/" + ns + "/sluicegateways/" + name).DoRaw(ctx)
		if err != nil {
			return err
		}
		var o struct {
			Status struct{ Conditions []metav1.Condition }
		}
		if err := json.Unmarshal(text, &o); err != nil {
			return err
		}
		for _, c := range o.Status.Conditions {
			if c.Type == "Accepted" && c.Reason == reason && strings.Contains(c.Message, words) {
				return nil
			}
		}
		return fmt.Errorf("it is told %v", o.Status.Conditions)
	})
}

// What is odd about gateways is told at their objects, and the others serve.
func TestOddGatewaysAreTold(t *testing.T) {
	t.Parallel()
	b := start(t)
	withGateways(t, b)
	ns := b.Namespace(t)
	b.Apply(t, ns, release("1.0.3", 1))
	b.Kubectl(t, "rollout", "status", "deployment/sava-product-1.0.3", "--namespace", ns, "--timeout", "60s")
	s := newSluice(t, b, ns)
	image, everything := freeport.One(t), freeport.One(t)
	apply := func(name string, port int, selector string) {
		t.Helper()
		b.Apply(t, ns, fmt.Sprintf("apiVersion: sluice.dev/v1alpha1\nkind: SluiceGateway\nmetadata: {name: %s}\nspec: {port: %d, selector: %q}\n", name, port, selector))
	}

	// The name of an image is no name of a route.
	apply("by-image", image, "label(app)(sava-product) && image((.*))")
	answers := func(port int) {
		t.Helper()
		answering(t, b, port)("the pod answers", func(v, _ map[string]int) bool { return v["1.0.3"] == 100 })
	}
	answers(image)
	routed := regexp.MustCompile(`by-image .* [0-9a-f]{30,40}0000 100%`)
	s.until("the route is called by a hash", routed.MatchString, "get", "gateways", "-o", "wide")
	accepted(t, b, ns, "by-image", "Accepted", "")

	apply("by-nothing", freeport.One(t), "label(app)(nobody) && label(version)((.*))")
	accepted(t, b, ns, "by-nothing", "AcceptedWithWarnings", "finds no")
	apply("by-everything", everything, "true")
	answers(everything)
	apply("by-mistake", freeport.One(t), "label(app")
	accepted(t, b, ns, "by-mistake", "Refused", "selector")

	// Who has a port keeps it, and serves on.
	apply("same-port", image, "label(app)(sava-product)")
	accepted(t, b, ns, "same-port", "Refused", strconv.Itoa(image))
	answers(image)

	// Of two objects that say what one gateway is, the one that was there counts.
	b.Apply(t, ns, fmt.Sprintf("apiVersion: sluice.dev/v1alpha1\nkind: SluiceGateway\nmetadata: {name: same-name}\nspec: {name: by-image, port: %d, selector: label(app)(nobody)}\n", freeport.One(t)))
	accepted(t, b, ns, "same-name", "Conflict", "the name stands twice")
	answers(image)
	answers(everything)
}
