// SPDX-License-Identifier: Apache-2.0

package planner

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"
	"google.golang.org/protobuf/proto"

	"github.com/sluice-mesh/sluice/control/controlpb"
	"github.com/sluice-mesh/sluice/control/store"
	"github.com/sluice-mesh/sluice/control/wire"
	"github.com/sluice-mesh/sluice/routing"
)

// The names of the store's values.
const (
	gatewayValues = "planner/gateways/"
	partValues    = "planner/parts/"
	originValues  = "planner/origins/"
)

const (
	// maxPart bounds the data of one value.
	maxPart = store.MaxValue - 1<<10
	// maxParts bounds how many values what is kept of one gateway takes. What
	// is longer is kept without its last good form.
	maxParts = 64
	// savers is how many values are written at once: the store commits
	// together what comes together.
	savers = 64
)

var errLong = fmt.Errorf("it has more than %d bytes", maxParts*maxPart)

// StoreMemory returns a Memory that keeps everything in values of a store.
// What cannot be read any more, of a single gateway, is as if it had not been
// kept.
func StoreMemory(s store.Store) Memory {
	return &storeMemory{store: s, parts: make(map[string][]string)}
}

// storeMemory implements Memory.
type storeMemory struct {
	store store.Store
	parts map[string][]string // the names of the parts of a value that has some
}

// kept is a Keepsake as JSON.
type kept struct {
	Namespace string      `json:"namespace"`
	Gateway   string      `json:"gateway"`
	Port      int         `json:"port,omitempty"`
	Vanished  time.Time   `json:"vanished,omitzero"`
	Known     []keptRoute `json:"known,omitempty"`
	Refused   bool        `json:"refused,omitempty"`
	Last      []byte      `json:"last,omitempty"` // a message of controlpb
}

type keptRoute struct {
	Name     string         `json:"name"`
	Since    time.Time      `json:"since,omitzero"`
	Weight   routing.Weight `json:"weight,omitempty"`
	Gone     time.Time      `json:"gone,omitzero"`
	Promoted bool           `json:"promoted,omitempty"`
}

// split stands in the place of what is too long for one value.
type split struct {
	Parts []string `json:"parts"`  // the names of values
	Sum   string   `json:"sha256"` // of all parts together
}

// keptOrigins is what is kept of a namespace itself.
type keptOrigins struct {
	Namespace string   `json:"namespace"`
	Origins   []string `json:"origins"`
}

// Load implements Memory.
func (m *storeMemory) Load(ctx context.Context) (map[string]Remembered, error) {
	all := make(map[string]Remembered)
	origins, err := m.store.Values(ctx, originValues)
	if err != nil {
		return nil, fmt.Errorf("load what is known of origins: %w", err)
	}
	for _, v := range origins {
		var k keptOrigins
		if json.Unmarshal(v.Data, &k) == nil {
			all[k.Namespace] = Remembered{Origins: k.Origins}
		}
	}
	values, err := m.store.Values(ctx, gatewayValues)
	if err != nil {
		return nil, fmt.Errorf("load what is known of gateways: %w", err)
	}
	used := make(map[string]bool)
	for _, v := range values {
		data, err := m.whole(ctx, v, used)
		if err != nil {
			return nil, err
		}
		if k, namespace, ok := read(data); ok && v.Name == valueOf(gatewayValues, namespace, k.Gateway) {
			r := all[namespace]
			r.Keepsakes = append(r.Keepsakes, k)
			all[namespace] = r
		}
	}
	return all, m.clean(ctx, used)
}

// whole returns the data of a value with that of its parts, nil if it is not
// whole.
func (m *storeMemory) whole(ctx context.Context, v store.Value, used map[string]bool) ([]byte, error) {
	var s split
	if err := json.Unmarshal(v.Data, &s); err != nil {
		return nil, nil //nolint:nilerr // it is as if it had not been kept
	}
	if len(s.Parts) == 0 {
		return v.Data, nil
	}
	var data []byte
	for _, name := range s.Parts[:min(len(s.Parts), maxParts)] {
		part, err := m.store.Value(ctx, name)
		if errors.Is(err, store.ErrNotFound) {
			return nil, nil
		}
		if err != nil {
			return nil, fmt.Errorf("load what is known of gateways: %w", err)
		}
		used[name] = true
		data = append(data, part.Data...)
	}
	m.parts[v.Name] = s.Parts
	if sum(data) != s.Sum {
		return nil, nil
	}
	return data, nil
}

// clean takes away parts that no value names: those of a saving that was cut
// off.
func (m *storeMemory) clean(ctx context.Context, used map[string]bool) error {
	parts, err := m.store.Values(ctx, partValues)
	if err != nil {
		return fmt.Errorf("load what is known of gateways: %w", err)
	}
	for _, v := range parts {
		if !used[v.Name] {
			// It is in nobody's way; the next start tries again.
			_ = m.store.DeleteValue(ctx, v.Name, store.Any)
		}
	}
	return nil
}

// read returns the keepsake that data tells of, and whether it can be read. A
// last form that cannot be is left out.
func read(data []byte) (k Keepsake, namespace string, ok bool) {
	var r kept
	if json.Unmarshal(data, &r) != nil || r.Gateway == "" {
		return k, "", false
	}
	k = Keepsake{Gateway: r.Gateway, Port: r.Port, Vanished: r.Vanished, Refused: r.Refused}
	for _, one := range r.Known {
		if one.Weight >= 0 && one.Weight <= routing.FullWeight {
			k.Known = append(k.Known, routing.KnownRoute(one))
		}
	}
	if len(r.Last) > 0 {
		var message controlpb.Gateway
		if proto.Unmarshal(r.Last, &message) == nil {
			if g, err := wire.ToGateway(&message); err == nil && g.Name == r.Gateway {
				k.Last = g
			}
		}
	}
	return k, r.Namespace, true
}

// Save implements Memory.
func (m *storeMemory) Save(ctx context.Context, namespace string, keepsakes []Keepsake) error {
	type write struct {
		name string
		data []byte
		old  []string // parts that are not needed any more
	}
	writes := make([]write, 0, len(keepsakes))
	for _, k := range keepsakes {
		name := valueOf(gatewayValues, namespace, k.Gateway)
		w := write{name: name, old: m.parts[name]}
		if !k.Empty() {
			data, err := encode(namespace, &k)
			if err == nil && len(data) > maxPart {
				data, err = m.divide(ctx, name, data)
			} else if err == nil {
				delete(m.parts, name) // it fits in one value again
			}
			if err != nil {
				return fmt.Errorf("keep what is known of gateway %s: %w", k.Gateway, err)
			}
			w.data = data
		} else {
			delete(m.parts, name)
		}
		w.old = slices.DeleteFunc(slices.Clone(w.old), func(part string) bool { return slices.Contains(m.parts[name], part) })
		writes = append(writes, w)
	}
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(savers)
	for _, w := range writes {
		g.Go(func() error {
			if err := m.write(ctx, w.name, w.data); err != nil {
				return fmt.Errorf("keep what is known of gateways: %w", err)
			}
			for _, part := range w.old {
				_ = m.store.DeleteValue(ctx, part, store.Any) // clean does it at the next start
			}
			return nil
		})
	}
	return g.Wait()
}

// write writes a value, or takes it away if there is no data.
func (m *storeMemory) write(ctx context.Context, name string, data []byte) error {
	if data == nil {
		if err := m.store.DeleteValue(ctx, name, store.Any); err != nil && !errors.Is(err, store.ErrNotFound) {
			return err
		}
		return nil
	}
	_, err := m.store.SetValue(ctx, name, data, store.Any)
	return err
}

// divide writes data in parts of new names and returns what stands for them.
// They count once that is written.
func (m *storeMemory) divide(ctx context.Context, name string, data []byte) ([]byte, error) {
	s := split{Sum: sum(data)}
	id := strings.TrimPrefix(name, gatewayValues) + "/" + s.Sum[:16]
	for part := range slices.Chunk(data, maxPart) {
		name := fmt.Sprintf("%s%s/%d", partValues, id, len(s.Parts))
		if _, err := m.store.SetValue(ctx, name, part, store.Any); err != nil {
			return nil, err
		}
		s.Parts = append(s.Parts, name)
	}
	m.parts[name] = s.Parts
	return json.Marshal(s)
}

// encode returns a keepsake as it is kept. One that is too long is kept
// without its last form.
func encode(namespace string, k *Keepsake) ([]byte, error) {
	r := kept{Namespace: namespace, Gateway: k.Gateway, Port: k.Port, Vanished: k.Vanished, Refused: k.Refused}
	for _, one := range k.Known {
		r.Known = append(r.Known, keptRoute(one))
	}
	if k.Last != nil {
		message, err := wire.FromGateway(k.Last)
		if err == nil {
			r.Last, err = proto.MarshalOptions{Deterministic: true}.Marshal(message)
		}
		if err != nil {
			r.Last = nil // it cannot go to proxies either
		}
	}
	data, err := json.Marshal(r)
	if err == nil && len(data) > maxParts*maxPart && r.Last != nil {
		r.Last = nil
		data, err = json.Marshal(r)
	}
	if err == nil && len(data) > maxParts*maxPart {
		err = errLong
	}
	return data, err
}

// SaveOrigins implements Memory.
func (m *storeMemory) SaveOrigins(ctx context.Context, namespace string, origins []string) error {
	name := valueOf(originValues, namespace, "")
	var data []byte
	if len(origins) > 0 {
		var err error
		if data, err = json.Marshal(keptOrigins{namespace, origins}); err != nil {
			return err
		}
	}
	if err := m.write(ctx, name, data); err != nil {
		return fmt.Errorf("keep the origins of %s: %w", namespace, err)
	}
	return nil
}

// valueOf returns the name of a value: those of gateways may be too long for
// it, and stand in the data.
func valueOf(prefix, namespace, gateway string) string {
	return prefix + sum([]byte(namespace + "\x00" + gateway))[:32]
}

func sum(data []byte) string {
	s := sha256.Sum256(data)
	return hex.EncodeToString(s[:])
}
