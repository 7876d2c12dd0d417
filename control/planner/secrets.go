// SPDX-License-Identifier: Apache-2.0

package planner

import (
	"slices"

	"github.com/sluice-mesh/sluice/routing"
)

// vault is which Secrets the objects of a namespace are. The zero vault has
// none.
type vault struct {
	all   []*keyholder
	table *routing.Table // that last is of
	last  []*routing.Secret
	stale bool // all has changed since
}

// keyholder is a Secret and the object that is it.
type keyholder struct {
	o *object
	*routing.Secret
}

// tell replaces the Secrets of an object.
func (v *vault) tell(o *object, was, is []*routing.Secret) {
	if len(was) > 0 {
		v.all = slices.DeleteFunc(v.all, func(t *keyholder) bool { return t.o == o })
	}
	for _, one := range is {
		t := &keyholder{o, one}
		at, _ := slices.BinarySearchFunc(v.all, t, (*keyholder).compare)
		v.all = slices.Insert(v.all, at, t)
	}
	v.stale = true
}

func (t *keyholder) compare(u *keyholder) int {
	if c := routing.CompareSecrets(t.Secret, u.Secret); c != 0 {
		return c
	}
	return t.o.compare(u.o)
}

// named returns the Secrets that the gateways of a table name. Of several of
// one name, that of the first object counts.
func (v *vault) named(t *routing.Table) []*routing.Secret {
	if t == v.table && !v.stale {
		return v.last
	}
	all := make([]*routing.Secret, 0, len(v.all))
	for i, one := range v.all {
		if i == 0 || routing.CompareSecrets(v.all[i-1].Secret, one.Secret) != 0 {
			all = append(all, one.Secret)
		}
	}
	named := routing.SecretsOf(t.Gateways, all)
	if !slices.Equal(named, v.last) {
		v.last = named
	}
	v.table, v.stale = t, false
	return v.last
}
