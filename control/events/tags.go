// SPDX-License-Identifier: Apache-2.0

package events

import (
	"encoding/json"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/sluice-mesh/sluice/control/store"
)

// The types of events.
const (
	TypeEvent   = "event"   // what happened to a gateway, route or proxy
	TypeArchive = "archive" // writes by users
	TypeMetrics = "metrics"
	TypeHealth  = "health"
)

// Expand returns tags with a:b, split at the first colon, as a and a:b, each
// once, in their order.
func Expand(tags ...string) []string {
	all := make([]string, 0, 2*len(tags))
	add := func(tag string) {
		if tag != "" && !slices.Contains(all, tag) {
			all = append(all, tag)
		}
	}
	for _, tag := range tags {
		if kind, _, ok := strings.Cut(tag, ":"); ok {
			add(kind)
		}
		add(tag)
	}
	return all
}

// event returns an event that a store takes: with a value in its room, and
// tags without control characters that are not too long.
func event(namespace, kind string, value any, tags ...string) store.Event {
	for i, tag := range tags {
		tags[i] = fit(clean(tag), store.MaxName)
	}
	tags = Expand(tags...)
	return store.Event{
		Namespace: namespace, Type: kind,
		Tags: tags[:min(len(tags), store.MaxTags)], Data: data(value),
	}
}

// data returns a value as JSON: null for what does not fit into an event, and
// of a text what does.
func data(value any) string {
	if text, ok := value.(string); ok {
		return textData(text)
	}
	var b strings.Builder
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(value); err != nil || b.Len() > store.MaxEventData {
		return "null"
	}
	return strings.TrimSuffix(b.String(), "\n")
}

// cutMark stands at the end of a text that was cut.
const cutMark = "…"

// textData returns a text as JSON, cut to what fits.
func textData(text string) string {
	for room := store.MaxEventData; ; room -= room / 4 {
		cut := fit(text, room)
		if cut != text {
			cut += cutMark
		}
		var b strings.Builder
		enc := json.NewEncoder(&b)
		enc.SetEscapeHTML(false)
		_ = enc.Encode(cut) // a string cannot fail
		if b.Len() <= store.MaxEventData+1 || room < 4 {
			return strings.TrimSuffix(b.String(), "\n")
		}
	}
}

// fit cuts a text to a length in bytes.
func fit(s string, most int) string {
	if len(s) <= most {
		return s
	}
	for most > 0 && !utf8.RuneStart(s[most]) {
		most--
	}
	return s[:most]
}

// clean takes out of a text what no tag may have.
func clean(s string) string {
	if utf8.ValidString(s) && !strings.ContainsFunc(s, unicode.IsControl) {
		return s
	}
	return strings.Map(func(r rune) rune {
		if unicode.IsControl(r) {
			return -1
		}
		return r
	}, strings.ToValidUTF8(s, "\uFFFD"))
}
