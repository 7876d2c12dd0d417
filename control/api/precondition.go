// SPDX-License-Identifier: Apache-2.0

package api

import (
	"fmt"
	"math"
	"net/http"
	"slices"
	"strconv"
	"strings"

	"github.com/sluice-mesh/sluice/control/store"
)

// precondition is what If-Match and If-None-Match ask for (RFC 9110 section
// 13.1). The zero precondition asks for nothing.
type precondition struct {
	exists    bool     // If-Match: *
	revisions []uint64 // If-Match: "7", "8"; nil if it was not sent
	absent    bool     // If-None-Match: *
	not       []uint64 // If-None-Match: "7"
}

func (c *call) precondition() (precondition, error) {
	var p precondition
	for _, name := range []string{"If-Match", "If-None-Match"} {
		values := c.r.Header.Values(name)
		if len(values) == 0 {
			continue
		}
		all, revisions, err := c.api.readTags(name, strings.Join(values, ","))
		if err != nil {
			return p, err
		}
		if name == "If-Match" {
			p.exists, p.revisions = all, revisions
		} else {
			p.absent, p.not = all, revisions
		}
	}
	return p, nil
}

// another is the revision in the tag of another life of the store, which is not
// there.
const another = math.MaxUint64

// readTags reads entity tags, which name revisions; people may leave out the
// epoch before them. A tag that is none of ours is refused.
func (a *API) readTags(name, text string) (all bool, revisions []uint64, err error) {
	revisions = []uint64{}
	for tag := range strings.SplitSeq(text, ",") {
		tag = strings.TrimSpace(tag)
		switch tag {
		case "":
		case "*":
			all = true
		default:
			epoch, revision, whole := strings.Cut(strings.Trim(strings.TrimPrefix(tag, "W/"), `"`), ".")
			if !whole {
				revision = epoch
			}
			n, err := strconv.ParseUint(revision, 10, 64)
			if err != nil || n == 0 {
				return false, nil, refuse(http.StatusBadRequest, fmt.Sprintf("%s %.60q is no version: use the ETag of an answer, such as \"7\"", name, tag))
			}
			if whole && epoch != strconv.FormatUint(a.epoch, 16) {
				n = another
			}
			revisions = append(revisions, n)
		}
	}
	if all {
		revisions = nil
	}
	return all, revisions, nil
}

// asked reports whether anything is asked for.
func (p precondition) asked() bool {
	return p.exists || p.revisions != nil || p.absent || p.not != nil
}

// holds reports whether the present revision, 0 for nothing, is as asked for.
func (p precondition) holds(present uint64) bool {
	switch {
	case p.exists && present == 0,
		p.absent && present != 0,
		p.revisions != nil && !slices.Contains(p.revisions, present),
		slices.Contains(p.not, present):
		return false
	}
	return true
}

// expect returns what the store has to hold at the time of writing.
func expect(present uint64) store.Expect {
	if present == 0 {
		return store.Absent
	}
	return store.Expect(present)
}
