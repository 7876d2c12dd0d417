// SPDX-License-Identifier: Apache-2.0

package kube_test

import (
	"regexp"
	"strings"
	"testing"
	"unicode/utf8"

	"k8s.io/apimachinery/pkg/util/validation"

	"github.com/sluice-mesh/sluice/control/kube"
	"github.com/sluice-mesh/sluice/control/store"
)

func TestServicesAreCalledAsByVamp(t *testing.T) {
	for _, tt := range []struct {
		name, gateway string
		want          string // empty for a hash
	}{
		{"a plain name stays", "sava-product", "sava-product"},
		{"so does one of 24 bytes", "a23456789012345678901234", "a23456789012345678901234"},
		{"one of 25 becomes its hash", "a234567890123456789012345", ""},
		{"one that begins with a digit, too", "1shop", ""},
		{"and one with capitals", "Shop", ""},
		{"and one that ends with a dash", "shop-", ""},
		{"and one with segments", "shop/web/http", ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got := kube.ServiceName(tt.gateway)
			if tt.want == "" {
				if !regexp.MustCompile(`^hex[0-9a-f]{20}0000$`).MatchString(got) {
					t.Errorf("ServiceName(%q) = %q, want hex, 20 digits and 0000", tt.gateway, got)
				}
				return
			}
			if got != tt.want {
				t.Errorf("ServiceName(%q) = %q, want %q", tt.gateway, got, tt.want)
			}
		})
	}
	// printf shop/web/http | sha1sum
	if got, want := kube.ServiceName("shop/web/http"), "hex91d4f7c30db6ea7e373b0000"; got != want {
		t.Errorf("ServiceName() = %q, want %q", got, want)
	}
}

// Whatever a gateway or a namespace is called, what is made for it can be called
// and labelled so.
func FuzzNames(f *testing.F) {
	for _, name := range []string{
		"", "shop", "Shop", "a/b/c", "-", "ä", "a..b", "a\x00b", "\xff", "1shop", "shop-", "a.-b", "a23456789012345678901234",
		"\U0001f600", strings.Repeat("a", 64), strings.Repeat("ä", 40), strings.Repeat("a.", 140),
	} {
		f.Add(name, 5)
	}
	f.Fuzz(func(t *testing.T, name string, n int) {
		service := kube.ServiceName(name)
		if problems := validation.IsDNS1035Label(service); problems != nil {
			t.Errorf("ServiceName(%q) = %q: %q", name, service, problems)
		}
		if service != name && kube.ServiceName(service) == name {
			t.Errorf("%q and %q have each other's Service", name, service)
		}
		if value, ok := kube.LabelValue(name); ok {
			if problems := validation.IsValidLabelValue(value); problems != nil || value == "" {
				t.Errorf("the label of %q is %q: %q", name, value, problems)
			}
			if again, ok := kube.LabelValue(value); !ok || again != value {
				t.Errorf("the label of %q is %q, %t", value, again, ok)
			}
		}
		if of := "a" + name; validation.IsDNS1123Subdomain(of) == nil {
			if problems := validation.IsDNS1123Subdomain(kube.EventName(of) + "x"); problems != nil {
				t.Errorf("an event about %q is called %q: %q", of, kube.EventName(of), problems)
			}
		}
		if n = max(n, 0); len(kube.Cut(name, n)) > n || !strings.HasPrefix(name, kube.Cut(name, n)) ||
			utf8.ValidString(name) && !utf8.ValidString(kube.Cut(name, n)) {
			t.Errorf("Cut(%q, %d) = %q", name, n, kube.Cut(name, n))
		}
		if store.CheckNamespace(name) != nil {
			return
		}
		if problems := validation.IsValidLabelValue(kube.NamespaceLabel(name)); problems != nil {
			t.Errorf("the label of the namespace %q is %q: %q", name, kube.NamespaceLabel(name), problems)
		}
		if problems := validation.IsDNS1123Subdomain(kube.LeaseName(name)); problems != nil {
			t.Errorf("the Lease of %q is %q: %q", name, kube.LeaseName(name), problems)
		}
	})
}

func TestNamespaceLabelsDiffer(t *testing.T) {
	long := strings.Repeat("a", 63)
	seen := make(map[string]string)
	for _, ns := range []string{"default/default", "a/b-c", "a-b/c", "-a/b", "a/b-", long + "/a", long + "/b", "a/" + long} {
		got := kube.NamespaceLabel(ns)
		if problems := validation.IsValidLabelValue(got); problems != nil {
			t.Errorf("the label of %s is %q: %q", ns, got, problems)
		}
		if other, taken := seen[got]; taken {
			t.Errorf("the label %q is of %s and of %s", got, other, ns)
		}
		seen[got] = ns
	}
	if got := kube.NamespaceLabel("default/default"); got != "default.default" {
		t.Errorf("the label of default/default is %q", got)
	}
}

func TestServiceOptionsAreChecked(t *testing.T) {
	for _, tt := range []struct {
		name string
		o    kube.ServiceOptions
		want string // part of the error; empty for none
	}{
		{"the zero options are good", kube.ServiceOptions{}, ""},
		{"so are others", kube.ServiceOptions{Type: "ClusterIP", Selector: "app=edge,tier=a", InternalTrafficPolicy: "Local"}, ""},
		{"no Services are good, too", kube.ServiceOptions{Type: "none"}, ""},
		{"an unknown type is refused", kube.ServiceOptions{Type: "nodeport"}, `--service-type: "nodeport" is not NodePort`},
		{"an unknown policy is refused", kube.ServiceOptions{InternalTrafficPolicy: "local"}, `--service-internal-traffic-policy: "local" is not`},
		{"a selector without value is refused", kube.ServiceOptions{Selector: "app"}, "--service-selector: "},
		{"one with a bad name is refused", kube.ServiceOptions{Selector: "-=a"}, "--service-selector: "},
	} {
		t.Run(tt.name, func(t *testing.T) {
			switch err := tt.o.Check(); {
			case tt.want == "" && err != nil:
				t.Errorf("Check() = %v, want nil", err)
			case tt.want != "" && (err == nil || !strings.Contains(err.Error(), tt.want)):
				t.Errorf("Check() = %v, want an error with %q", err, tt.want)
			}
		})
	}
}

func TestAWriterNeedsACluster(t *testing.T) {
	if _, err := kube.New(kube.Options{}); err == nil {
		t.Error("New() of nothing = nil, want an error")
	}
}
