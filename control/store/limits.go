// SPDX-License-Identifier: Apache-2.0

package store

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"
)

// The bounds of what a store accepts, in bytes where nothing else is said.
const (
	MaxText      = 1 << 20  // the text of an artifact
	MaxApply     = 16 << 20 // all texts of one Apply
	MaxChanges   = 1000     // changes of one Apply
	MaxName      = 253      // a name, author, holder, type or tag
	MaxValue     = 64 << 10 // the data of a value
	MaxEventData = 8 << 10  // the data of an event
	MaxTags      = 32       // tags of one event
	MaxLeases    = 1024     // leases held at a time

	MinTTL = time.Second // of a lease
	MaxTTL = time.Hour

	DefaultEvents = 100    // events that a query is answered with
	MaxEvents     = 10_000 // the same, at most; also events of one AppendEvents
)

// Kinds returns the kinds of artifacts, sorted.
func Kinds() []string { return slices.Clone(kinds) }

var kinds = []string{"conditions", "gateways", "rewrites", "routes", "templates"}

// Check returns an *InvalidError if no store accepts the key.
func (k Key) Check() error {
	if err := checkNamespace("namespace", k.Namespace); err != nil {
		return err
	}
	if !slices.Contains(kinds, k.Kind) {
		return &InvalidError{"kind", fmt.Sprintf("unknown kind %q, must be one of %s", k.Kind, strings.Join(kinds, ", "))}
	}
	return checkName("name", k.Name)
}

// CheckNamespace returns an *InvalidError unless ns has the form
// organisation/environment.
func CheckNamespace(ns string) error { return checkNamespace("namespace", ns) }

func checkNamespace(field, ns string) error {
	organisation, environment, ok := strings.Cut(ns, "/")
	if !ok || !isLabel(organisation) || !isLabel(environment) {
		return &InvalidError{field, fmt.Sprintf("%.140q is not organisation/environment, each 1 to 63 of a-z, 0-9 and -", ns)}
	}
	return nil
}

func isLabel(s string) bool {
	if s == "" || len(s) > 63 {
		return false
	}
	for _, c := range []byte(s) {
		if (c < 'a' || c > 'z') && (c < '0' || c > '9') && c != '-' {
			return false
		}
	}
	return true
}

// checkName keeps names apart from the zero bytes that end them in keys.
func checkName(field, s string) error {
	switch {
	case s == "":
		return &InvalidError{field, "is empty"}
	case len(s) > MaxName:
		return &InvalidError{field, fmt.Sprintf("has %d bytes, more than %d", len(s), MaxName)}
	case !utf8.ValidString(s) || strings.ContainsFunc(s, unicode.IsControl):
		return &InvalidError{field, fmt.Sprintf("%q is not UTF-8 without control characters", s)}
	}
	return nil
}

func checkChanges(author string, changes []Change) error {
	if err := checkName("author", author); err != nil {
		return err
	}
	if len(changes) == 0 {
		return &InvalidError{"changes", "there are none"}
	}
	if len(changes) > MaxChanges {
		return fmt.Errorf("%d changes at once, more than %d: %w", len(changes), MaxChanges, ErrTooLarge)
	}
	seen := make(map[Key]bool, len(changes))
	total := 0
	for i, c := range changes {
		if err := checkChange(c); err != nil {
			return fmt.Errorf("changes[%d]: %w", i, err)
		}
		if seen[c.Key] {
			return &InvalidError{"changes[" + strconv.Itoa(i) + "]", c.String() + " is changed twice"}
		}
		seen[c.Key] = true
		total += len(c.Text)
	}
	if total > MaxApply {
		return fmt.Errorf("texts of %d bytes at once, more than %d: %w", total, MaxApply, ErrTooLarge)
	}
	return nil
}

func checkChange(c Change) error {
	if err := c.Check(); err != nil {
		return err
	}
	switch {
	case c.Delete && c.Expect == Absent:
		return &InvalidError{"expect", "what must not exist cannot be deleted"}
	case c.Delete:
		return nil
	case len(c.Text) > MaxText:
		return fmt.Errorf("%s: a text of %d bytes, more than %d: %w", c.Key, len(c.Text), MaxText, ErrTooLarge)
	case c.Text == "":
		return &InvalidError{"text", "is empty"}
	case !utf8.ValidString(c.Text):
		return &InvalidError{"text", "is not UTF-8"}
	}
	return nil
}

func checkEvents(events []Event) error {
	if len(events) > MaxEvents {
		return fmt.Errorf("%d events at once, more than %d: %w", len(events), MaxEvents, ErrTooLarge)
	}
	for i := range events {
		if err := checkEvent(&events[i]); err != nil {
			return fmt.Errorf("events[%d]: %w", i, err)
		}
	}
	return nil
}

func checkEvent(e *Event) error {
	if err := checkNamespace("namespace", e.Namespace); err != nil {
		return err
	}
	if err := checkName("type", e.Type); err != nil {
		return err
	}
	if y := e.Time.UTC().Year(); y < 0 || y > 9999 { // what RFC 3339 can say
		return &InvalidError{"time", "is not of the years 0 to 9999"}
	}
	if len(e.Tags) > MaxTags {
		return &InvalidError{"tags", fmt.Sprintf("there are %d, more than %d", len(e.Tags), MaxTags)}
	}
	for _, tag := range e.Tags {
		if err := checkName("tags", tag); err != nil {
			return err
		}
	}
	if len(e.Data) > MaxEventData {
		return fmt.Errorf("data of %d bytes, more than %d: %w", len(e.Data), MaxEventData, ErrTooLarge)
	}
	if !utf8.ValidString(e.Data) {
		return &InvalidError{"data", "is not UTF-8"}
	}
	return nil
}
