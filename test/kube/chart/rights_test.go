// SPDX-License-Identifier: Apache-2.0

//go:build linux

package chart_test

import (
	"context"
	"fmt"
	"net/http"
	"slices"
	"strings"

	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// rights are what an account may do or does: a verb, a group and a resource
// each, such as "list /pods".
type rights map[string]bool

func (r rights) add(verb, group, resource string) { r[verb+" "+group+"/"+resource] = true }

// without returns those of r that are not among others, sorted.
func (r rights) without(others rights) (rest []string) {
	for right := range r {
		if !others[right] {
			rest = append(rest, right)
		}
	}
	slices.Sort(rest)
	return rest
}

// granted returns what the roles of an account of the installation say.
func (i *installation) granted(ctx context.Context, account string) rights {
	i.Helper()
	all := make(rights)
	client := i.b.Client.RbacV1()
	bound, err := client.RoleBindings(metav1.NamespaceAll).List(ctx, metav1.ListOptions{})
	if err != nil {
		i.Fatal(err)
	}
	for _, binding := range bound.Items {
		if !i.isFor(binding.Subjects, account) {
			continue
		}
		role, err := client.Roles(binding.Namespace).Get(ctx, binding.RoleRef.Name, metav1.GetOptions{})
		if err != nil {
			i.Fatal(err)
		}
		all.take(role.Rules)
	}
	everywhere, err := client.ClusterRoleBindings().List(ctx, metav1.ListOptions{})
	if err != nil {
		i.Fatal(err)
	}
	for _, binding := range everywhere.Items {
		if !i.isFor(binding.Subjects, account) {
			continue
		}
		role, err := client.ClusterRoles().Get(ctx, binding.RoleRef.Name, metav1.GetOptions{})
		if err != nil {
			i.Fatal(err)
		}
		all.take(role.Rules)
	}
	return all
}

// take adds what rules say.
func (r rights) take(rules []rbacv1.PolicyRule) {
	for _, rule := range rules {
		for _, group := range rule.APIGroups {
			for _, resource := range rule.Resources {
				for _, verb := range rule.Verbs {
					r.add(verb, group, resource)
				}
			}
		}
	}
}

// isFor reports whether an account is among subjects.
func (i *installation) isFor(subjects []rbacv1.Subject, account string) bool {
	return slices.ContainsFunc(subjects, func(s rbacv1.Subject) bool {
		return s.Kind == rbacv1.ServiceAccountKind && s.Name == account && s.Namespace == i.ns
	})
}

// used returns what an account has done, and what it was refused.
func (i *installation) used(account string) (done rights, refused []string) {
	i.Helper()
	done = make(rights)
	for _, r := range i.b.Requests(i.T, i.ns, account) {
		switch {
		case r.Resource == "": // what every account may read, such as /version
		case r.Status == http.StatusForbidden:
			refused = append(refused, r.Explanation)
		default:
			done.add(r.Verb, r.Group, r.Resource)
			if r.Verb == "watch" {
				// This API server lets a watch begin with all that is there.
				// Others have to be asked for a list first.
				done.add("list", r.Group, r.Resource)
			}
		}
	}
	slices.Sort(refused)
	return done, slices.Compact(refused)
}

// hasTheRightsItUses waits until an account has used every right that it has,
// and fails if it was refused anything.
func (i *installation) hasTheRightsItUses(account string) {
	i.Helper()
	granted := i.granted(i.Context(), account)
	if len(granted) == 0 {
		i.Fatalf("%s has no rights at all", account)
	}
	i.b.Eventually(i.T, account+" uses all rights that it has", func(context.Context) error {
		done, refused := i.used(account)
		if len(refused) > 0 {
			i.Fatalf("%s was refused:\n%s", account, strings.Join(refused, "\n"))
		}
		if idle := granted.without(done); len(idle) > 0 {
			return fmt.Errorf("it has not used: %s", strings.Join(idle, ", "))
		}
		return nil
	})
}
