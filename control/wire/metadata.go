// SPDX-License-Identifier: Apache-2.0

package wire

import (
	"maps"
	"slices"

	"github.com/sluice-mesh/sluice/control/controlpb"
)

// maxNesting bounds the levels of metadata. Reading text allows fewer.
const maxNesting = 200

// entries returns metadata sorted by key, which makes equal ones equal bytes.
func (w *writer) entries(p path, m map[string]any) []*controlpb.Entry {
	return w.entriesIn(&p, m, maxNesting)
}

func (w *writer) entriesIn(p *path, m map[string]any, levels int) []*controlpb.Entry {
	if len(m) == 0 {
		return nil
	}
	all := make([]*controlpb.Entry, 0, len(m))
	for i, key := range slices.Sorted(maps.Keys(m)) {
		at := path{up: p.up, name: p.name, index: i + 1}
		all = append(all, &controlpb.Entry{Key: key, Value: w.value(&at, m[key], levels)})
	}
	return all
}

func (w *writer) value(p *path, v any, levels int) *controlpb.Value {
	if levels == 0 {
		w.fault(p, "value", "it is nested too deeply; at most %d levels are allowed", maxNesting)
		return &controlpb.Value{}
	}
	switch v := v.(type) {
	case nil:
		return &controlpb.Value{Kind: &controlpb.Value_Null{Null: true}}
	case bool:
		return &controlpb.Value{Kind: &controlpb.Value_Truth{Truth: v}}
	case int64:
		return &controlpb.Value{Kind: &controlpb.Value_Integer{Integer: v}}
	case float64:
		return &controlpb.Value{Kind: &controlpb.Value_Decimal{Decimal: v}}
	case string:
		return &controlpb.Value{Kind: &controlpb.Value_Text{Text: v}}
	case []any:
		list := &controlpb.Values{}
		for i, one := range v {
			at := path{up: &path{up: p, name: "value.list"}, name: "values", index: i + 1}
			list.Values = append(list.Values, w.value(&at, one, levels-1))
		}
		return &controlpb.Value{Kind: &controlpb.Value_List{List: list}}
	case map[string]any:
		at := path{up: &path{up: p, name: "value.map"}, name: "entries"}
		entries := &controlpb.Entries{Entries: w.entriesIn(&at, v, levels-1)}
		return &controlpb.Value{Kind: &controlpb.Value_Map{Map: entries}}
	default:
		w.fault(p, "value", "a %T is no value of metadata", v)
		return &controlpb.Value{}
	}
}

// metadata reads entries; nil if there are none.
func (r *reader) metadata(p *path, field string, entries []*controlpb.Entry, levels int) map[string]any {
	if len(entries) == 0 {
		return nil
	}
	m := make(map[string]any, len(entries))
	for i, e := range entries {
		at := path{up: p, name: field, index: i + 1}
		if i > 0 && entries[i-1].GetKey() >= e.GetKey() {
			r.fault(&at, "key", "%q does not come after the key before it", e.GetKey())
		}
		m[e.GetKey()] = r.value(&at, e.GetValue(), levels)
	}
	return m
}

func (r *reader) value(p *path, v *controlpb.Value, levels int) any {
	if levels == 0 {
		r.fault(p, "value", "it is nested too deeply; at most %d levels are allowed", maxNesting)
		return nil
	}
	at := path{up: p, name: "value"}
	switch kind := v.GetKind().(type) {
	case *controlpb.Value_Null:
		return nil
	case *controlpb.Value_Truth:
		return kind.Truth
	case *controlpb.Value_Integer:
		return kind.Integer
	case *controlpb.Value_Decimal:
		return kind.Decimal
	case *controlpb.Value_Text:
		return kind.Text
	case *controlpb.Value_List:
		list := make([]any, len(kind.List.GetValues()))
		for i, one := range kind.List.GetValues() {
			list[i] = r.value(&path{up: &path{up: &at, name: "list"}, name: "values", index: i + 1}, one, levels-1)
		}
		return list
	case *controlpb.Value_Map:
		m := r.metadata(&path{up: &at, name: "map"}, "entries", kind.Map.GetEntries(), levels-1)
		if m == nil {
			m = map[string]any{}
		}
		return m
	default:
		r.fault(p, "value", "its kind is unknown")
		return nil
	}
}
