// SPDX-License-Identifier: Apache-2.0

package kubernetes

import (
	"maps"
	"slices"

	corev1 "k8s.io/api/core/v1"

	"github.com/sluice-mesh/sluice/discovery"
)

// LabelGateways is the label of ConfigMaps that hold artifacts; its value has
// to be "true".
const LabelGateways = "sluice.dev/gateways"

// configMaps is what ConfigMaps say. Each of their texts is an object of its
// own, whose key, configmaps/NAMESPACE/NAME/TEXT, is the source of positions.
type configMaps struct {
	texts texts
	keys  map[name][]string // of the texts of each, sorted
}

func newConfigMaps() *configMaps {
	return &configMaps{texts: make(texts), keys: make(map[name][]string)}
}

// set takes note of a ConfigMap as it is now, nil if it is no more, and
// returns what that comes to, sorted by key.
func (m *configMaps) set(n name, c *corev1.ConfigMap) []discovery.Update {
	prefix := "configmaps/" + n.String() + "/"
	now := make(map[string]string)
	if c != nil && c.Labels[LabelGateways] == "true" {
		for of, data := range c.Data {
			now[prefix+of] = data
		}
	}
	present := slices.Sorted(maps.Keys(now))
	keys := append(slices.Clone(m.keys[n]), present...)
	slices.Sort(keys)
	if m.keys[n] = present; len(present) == 0 {
		delete(m.keys, n)
	}
	var updates []discovery.Update
	for _, key := range slices.Compact(keys) {
		if u, changed := m.change(key, now); changed {
			updates = append(updates, u)
		}
	}
	return updates
}

func (m *configMaps) change(key string, now map[string]string) (discovery.Update, bool) {
	if data, there := now[key]; there {
		return m.texts.set(key, data)
	}
	return m.texts.drop(key)
}

// withhold takes note that the absence of a ConfigMap is held back, nil that
// it is not any more, and returns what that comes to, sorted by key.
func (m *configMaps) withhold(n name, held *discovery.Held) []discovery.Update {
	var updates []discovery.Update
	for _, key := range m.keys[n] {
		if u, changed := m.texts.hold(key, held); changed {
			updates = append(updates, u)
		}
	}
	return updates
}
