// SPDX-License-Identifier: Apache-2.0

package wire

import (
	"encoding/binary"

	"github.com/sluice-mesh/sluice/control/controlpb"
	"github.com/sluice-mesh/sluice/routing"
)

const (
	// maxKnown bounds what is known, in bytes of texts and lists; beyond, all is
	// forgotten, and what is common is soon known again.
	maxKnown = 256 << 10
	// maxKnownOne bounds one text or list of labels: longer ones are seldom
	// common.
	maxKnownOne = 4 << 10
	// knownCost is about what knowing one takes beside its bytes.
	knownCost = 64
)

// known is what the gateways that a receiver has read have in common. A gateway
// of ten thousand has the kind, namespace, zone and labels of many others: they
// hold one text, and one list of labels. The zero known knows nothing. It is not
// safe for concurrent use; what it returns is not changed by it later.
type known struct {
	texts map[string]string
	lists map[string][]routing.Label // by their lengths and texts
	bytes int                        // what both come to
	key   []byte                     // room for one of lists
}

// room makes room for one more of so many bytes, and reports whether there is.
func (k *known) room(bytes int) bool {
	if bytes > maxKnownOne {
		return false
	}
	if k.bytes += knownCost + bytes; k.texts == nil || k.bytes > maxKnown {
		k.texts, k.lists = make(map[string]string), make(map[string][]routing.Label)
		k.bytes = knownCost + bytes
	}
	return true
}

// text returns a text equal to s.
func (k *known) text(s string) string {
	if s == "" {
		return s
	}
	if one, ok := k.texts[s]; ok {
		return one
	}
	if k.room(len(s)) {
		k.texts[s] = s
	}
	return s
}

// labels returns the labels of a message, nil for none.
func (k *known) labels(all []*controlpb.Label) []routing.Label {
	if len(all) == 0 {
		return nil
	}
	key := k.key[:0]
	for _, l := range all {
		for _, text := range [...]string{l.GetName(), l.GetValue()} {
			key = append(binary.AppendUvarint(key, uint64(len(text))), text...)
		}
	}
	if list, ok := k.lists[string(key)]; ok {
		return list
	}
	list := make([]routing.Label, len(all))
	for i, l := range all {
		list[i] = routing.Label{Name: k.text(l.GetName()), Value: k.text(l.GetValue())}
	}
	if k.room(len(key)) {
		k.key = key // but for long ones, which are not kept
		k.lists[string(key)] = list
	}
	return list
}
