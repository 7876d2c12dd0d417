// SPDX-License-Identifier: Apache-2.0

package store

import (
	"bytes"
	"context"
	"fmt"
	"time"
)

func (s *boltStore) Lease(ctx context.Context, name, holder string, ttl time.Duration) (Lease, error) {
	if err := checkLease(name, holder); err != nil {
		return Lease{}, err
	}
	if ttl < MinTTL || ttl > MaxTTL {
		return Lease{}, &InvalidError{"ttl", fmt.Sprintf("%v is not within %v and %v", ttl, MinTTL, MaxTTL)}
	}
	var lease Lease
	err := s.change(ctx, func(l *ledger) error {
		now := s.o.Now().UTC()
		held, others, err := l.leases(name, now)
		if err != nil {
			return err
		}
		switch {
		case held.Holder == "" && others >= MaxLeases:
			return fmt.Errorf("lease %s: %d others are held: %w", name, others, ErrTooLarge)
		case held.Holder != "" && held.Holder != holder:
			return &HeldError{held}
		}
		if lease = held; lease.Holder == "" {
			l.state.Term++
			lease = Lease{Name: name, Holder: holder, Term: l.state.Term}
		}
		lease.Expires = now.Add(ttl)
		if err := l.dropLeases(now); err != nil {
			return err
		}
		return l.putJSON(leasesBucket, []byte(name), lease)
	})
	if err != nil {
		return Lease{}, err
	}
	return lease, nil
}

func checkLease(name, holder string) error {
	if err := checkName("name", name); err != nil {
		return err
	}
	return checkName("holder", holder)
}

// leases returns the lease of a name, zero if nobody has it now, and how many
// others are held.
func (l *ledger) leases(name string, now time.Time) (held Lease, others int, err error) {
	err = l.tx.Bucket(leasesBucket).ForEach(func(k, text []byte) error {
		lease := Lease{Name: string(k)}
		if err := decode("lease", text, &lease); err != nil {
			return err
		}
		switch {
		case !now.Before(lease.Expires):
		case lease.Name == name:
			held = lease
		default:
			others++
		}
		return nil
	})
	return held, others, err
}

// dropLeases forgets leases that have expired: nobody takes them up again.
func (l *ledger) dropLeases(now time.Time) error {
	var drop [][]byte
	err := l.tx.Bucket(leasesBucket).ForEach(func(k, text []byte) error {
		var lease Lease
		err := decode("lease", text, &lease)
		if !now.Before(lease.Expires) {
			drop = append(drop, bytes.Clone(k))
		}
		return err
	})
	if err != nil {
		return err
	}
	for _, k := range drop {
		if err := l.remove(leasesBucket, k); err != nil {
			return err
		}
	}
	return nil
}

func (s *boltStore) Release(ctx context.Context, name, holder string) error {
	if err := checkLease(name, holder); err != nil {
		return err
	}
	return s.change(ctx, func(l *ledger) error {
		text := l.get(leasesBucket, []byte(name))
		if text == nil {
			return nil
		}
		var lease Lease
		if err := decode("lease", text, &lease); err != nil {
			return err
		}
		if lease.Holder != holder {
			return nil
		}
		return l.remove(leasesBucket, []byte(name))
	})
}
