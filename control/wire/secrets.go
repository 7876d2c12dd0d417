// SPDX-License-Identifier: Apache-2.0

package wire

import (
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"slices"

	"google.golang.org/protobuf/proto"

	"github.com/sluice-mesh/sluice/control/controlpb"
	"github.com/sluice-mesh/sluice/routing"
)

// What is collected of Secrets that come in parts is bounded, in number and in
// bytes.
const (
	maxSecrets     = 100_000
	maxSecretBytes = 256 << 20
)

// Secrets are Secrets ready for the wire, once for all sessions. They are
// immutable and safe for concurrent use. The nil Secrets are none.
type Secrets struct {
	whole []*controlpb.Secret // sorted by namespace and name, each once
	index map[string]Hash     // by Ref
}

// EncodeSecrets makes Secrets ready for the wire. Of several of one name the
// first counts.
func EncodeSecrets(all []*routing.Secret) *Secrets {
	s := &Secrets{index: make(map[string]Hash, len(all))}
	for _, one := range all {
		ref := one.Ref()
		if _, twice := s.index[ref]; twice {
			continue
		}
		h := hashOfSecret(one)
		s.index[ref] = h
		s.whole = append(s.whole, &controlpb.Secret{
			Namespace: one.Namespace, Name: one.Name, Hash: h[:],
			Certificate: one.Certificate, Key: one.Key, Ca: one.CA,
		})
	}
	slices.SortFunc(s.whole, func(a, b *controlpb.Secret) int {
		return routing.CompareSecrets(fromSecret(a), fromSecret(b))
	})
	return s
}

// hashOfSecret tells contents apart.
func hashOfSecret(s *routing.Secret) Hash {
	sum := sha256.New()
	var length [8]byte
	for _, part := range [][]byte{s.Certificate, s.Key, s.CA} {
		binary.BigEndian.PutUint64(length[:], uint64(len(part)))
		_, _ = sum.Write(length[:])
		_, _ = sum.Write(part)
	}
	return Hash(sum.Sum(nil)[:len(Hash{})])
}

// Len returns how many there are.
func (s *Secrets) Len() int {
	if s == nil {
		return 0
	}
	return len(s.whole)
}

// Equal reports whether both have the same Secrets with the same contents.
func (s *Secrets) Equal(o *Secrets) bool {
	if s.Len() != o.Len() {
		return false
	}
	if s != nil && o != nil {
		for ref, h := range s.index {
			if other, ok := o.index[ref]; !ok || other != h {
				return false
			}
		}
	}
	return true
}

// Since returns the messages, in their order, that make s of what a session
// brought before, nil if that is nothing. A message is larger than size, in
// bytes, only if it brings a single Secret that is.
func (s *Secrets) Since(prev *Secrets, size int) []*controlpb.Secrets {
	parts, taken := []*controlpb.Secrets{{}}, 0
	for _, one := range s.whole {
		if prev != nil {
			if h, ok := prev.index[fromSecret(one).Ref()]; ok && h == Hash(one.GetHash()) {
				one = &controlpb.Secret{Namespace: one.GetNamespace(), Name: one.GetName(), Hash: one.GetHash(), Held: true}
			}
		}
		n := frame + proto.Size(one)
		if last := parts[len(parts)-1]; taken > 0 && taken+n > size {
			last.More = true
			parts, taken = append(parts, &controlpb.Secrets{}), 0
		}
		last := parts[len(parts)-1]
		last.Secrets = append(last.Secrets, one)
		taken += n
	}
	return parts
}

// fromSecret reads a Secret as it is.
func fromSecret(m *controlpb.Secret) *routing.Secret {
	return &routing.Secret{Namespace: m.GetNamespace(), Name: m.GetName(), Certificate: m.GetCertificate(), Key: m.GetKey(), CA: m.GetCa()}
}

// SecretReceiver makes lists of what a session brings, at the end of a proxy.
// The zero SecretReceiver holds nothing. It is not safe for concurrent use;
// what it returns is not changed by it later.
type SecretReceiver struct {
	held    map[string]heldSecret // by Ref
	pending []*controlpb.Secret   // the parts so far
	bytes   int
}

type heldSecret struct {
	secret *routing.Secret
	hash   Hash
}

// Receive takes a message, and returns all Secrets that there are now, sorted,
// once they are whole. Those that did not change are the same pointers. After
// an error, which wraps ErrMalformed, ErrIncomplete or ErrTooLarge, the parts
// so far are forgotten and everything is as before them.
func (r *SecretReceiver) Receive(m *controlpb.Secrets) (all []*routing.Secret, whole bool, err error) {
	r.pending = append(r.pending, m.GetSecrets()...)
	r.bytes += proto.Size(m)
	if len(r.pending) > maxSecrets || r.bytes > maxSecretBytes {
		r.drop()
		return nil, false, fmt.Errorf("%w: at most %d Secrets of %d bytes in all are allowed", ErrTooLarge, maxSecrets, maxSecretBytes)
	}
	if m.GetMore() {
		return nil, false, nil
	}
	list := r.pending
	r.drop()
	held := make(map[string]heldSecret, len(list))
	for _, one := range list {
		next, err := r.take(one)
		if err != nil {
			return nil, false, err
		}
		ref := next.secret.Ref()
		if _, twice := held[ref]; twice {
			return nil, false, fmt.Errorf("%w: %s comes twice", ErrMalformed, ref)
		}
		held[ref] = next
		all = append(all, next.secret)
	}
	r.held = held
	slices.SortFunc(all, routing.CompareSecrets)
	return all, true, nil
}

// take returns what a message of a Secret says.
func (r *SecretReceiver) take(m *controlpb.Secret) (heldSecret, error) {
	one := fromSecret(m)
	ref := one.Ref()
	if !routing.IsSecretName(one.Namespace, one.Name) || len(m.GetHash()) != len(Hash{}) {
		return heldSecret{}, fmt.Errorf("%w: %q has no hash, or is no name of a Secret", ErrMalformed, ref)
	}
	next, had := heldSecret{one, Hash(m.GetHash())}, r.held[ref]
	same := had.secret != nil && had.hash == next.hash
	switch {
	case same:
		return had, nil
	case m.GetHeld():
		return heldSecret{}, fmt.Errorf("%w: %s", ErrIncomplete, ref)
	}
	return next, nil
}

// Reset forgets everything, as when a session ends.
func (r *SecretReceiver) Reset() { *r = SecretReceiver{} }

func (r *SecretReceiver) drop() { r.pending, r.bytes = nil, 0 }
