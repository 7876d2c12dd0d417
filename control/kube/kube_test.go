// SPDX-License-Identifier: Apache-2.0

package kube_test

import (
	"math/rand/v2"
	"regexp"
	"strings"
	"testing"
	"unicode/utf8"

	"k8s.io/apimachinery/pkg/util/validation"

	"github.com/sluice-mesh/sluice/control/kube"
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

// Whatever a gateway is called, its Service can be called and labelled so. This
// is no fuzz test, for which all of client-go would be compiled once more.
func TestAnyNameMakesValidNamesAndLabels(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	letters := []rune("aZ09-_./ ä\x00\U0001f600")
	names := []string{"", "shop", "Shop", "a/b/c", "-", "ä", strings.Repeat("a", 64), "a..b", "a\x00b", "\xff"}
	for range 20_000 {
		name := make([]rune, random.IntN(80))
		for i := range name {
			name[i] = letters[random.IntN(len(letters))]
		}
		names = append(names, string(name))
	}
	for _, name := range names {
		if problems := validation.IsDNS1035Label(kube.ServiceName(name)); problems != nil {
			t.Fatalf("ServiceName(%q) = %q: %q", name, kube.ServiceName(name), problems)
		}
		if value, ok := kube.LabelValue(name); ok {
			if problems := validation.IsValidLabelValue(value); problems != nil || value == "" {
				t.Fatalf("the label of %q is %q: %q", name, value, problems)
			}
		}
		if of := "a" + name; validation.IsDNS1123Subdomain(of) == nil {
			if problems := validation.IsDNS1123Subdomain(kube.EventName(of) + "x"); problems != nil {
				t.Fatalf("an event about %q is called %q: %q", of, kube.EventName(of), problems)
			}
		}
		for _, n := range []int{0, 1, 5, 1024} {
			if got := kube.Cut(name, n); len(got) > n || !strings.HasPrefix(name, got) || utf8.ValidString(name) && !utf8.ValidString(got) {
				t.Fatalf("Cut(%q, %d) = %q", name, n, got)
			}
		}
	}
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
