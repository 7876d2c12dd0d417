// SPDX-License-Identifier: Apache-2.0

package artifacts

import (
	"fmt"

	"github.com/sluice-mesh/sluice/control/store"
	"github.com/sluice-mesh/sluice/discovery"
	"github.com/sluice-mesh/sluice/routing"
)

// Origin is the origin of all updates of this package.
const Origin = "api"

// Codes of faults of an artifact whose text is not about what its key says.
// Those that Vamp has keep its name.
const (
	codeKind  = "InconsistentArtifactKind"
	codeName  = "InconsistentArtifactName"
	codeCount = "SeveralArtifacts"
	codeEmpty = "EmptyArtifact"
)

// Key returns the key of the updates of an artifact, which faults in it name:
// "api:" and namespace, kind and name, separated by slashes.
func Key(k store.Key) string { return Origin + ":" + k.String() }

// Update returns what an artifact says by a text: one document of the kind
// and name of its key, or none and the faults that say why. A text need not
// repeat the kind.
func Update(k store.Key, text string) discovery.Update {
	u := discovery.Update{Key: Key(k), Namespace: k.Namespace, Origin: Origin}
	docs, faults := routing.ReadAs(k.Kind, u.Key, []byte(text))
	u.Faults = faults
	if len(docs) > 1 {
		u.Faults = append(u.Faults, about(k, docs[1], codeCount, "a second artifact stands here",
			"an artifact of the store is one document; write the others by their own names"))
		return u
	}
	if len(docs) == 0 {
		if !refused(faults) {
			u.Faults = append(u.Faults, &routing.Fault{
				Code: codeEmpty, At: routing.Position{Source: u.Key}, Kind: k.Kind, Name: k.Name,
				Problem: "the text says nothing", Allowed: "delete the artifact if it is not wanted any more",
			})
		}
		return u
	}
	if f := misnamed(k, docs[0]); f != nil {
		u.Faults = append(u.Faults, f)
		return u
	}
	u.Documents = docs
	return u
}

// Removal returns what is told when an artifact is deleted.
func Removal(k store.Key) discovery.Update { return discovery.Update{Key: Key(k), Gone: true} }

// misnamed returns what is wrong with a document that is not what its key
// says, or nil.
func misnamed(k store.Key, d *routing.Document) *routing.Fault {
	switch {
	case d.Kind != k.Kind:
		return about(k, d, codeKind, fmt.Sprintf("the text is of kind %s and is stored among %s", d.Kind, k.Kind),
			"kind: "+k.Kind+", or no kind at all, is allowed")
	case d.Name != k.Name:
		return about(k, d, codeName, fmt.Sprintf("the text is named %q and is stored as %q", d.Name, k.Name),
			"both names have to be the same")
	}
	return nil
}

func about(k store.Key, d *routing.Document, code, problem, allowed string) *routing.Fault {
	return &routing.Fault{Code: code, At: d.At, Kind: k.Kind, Name: k.Name, Problem: problem, Allowed: allowed}
}

func refused(faults []*routing.Fault) bool {
	for _, f := range faults {
		if f.Severity == routing.Refused {
			return true
		}
	}
	return false
}
