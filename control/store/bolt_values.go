// SPDX-License-Identifier: Apache-2.0

package store

import (
	"bytes"
	"context"
	"fmt"
)

func (s *boltStore) Value(ctx context.Context, name string) (Value, error) {
	if err := checkName("name", name); err != nil {
		return Value{}, err
	}
	var v Value
	err := s.view(ctx, func(l *ledger) (err error) {
		v, err = l.value(name)
		if err == nil && v.Revision == 0 {
			err = ErrNotFound
		}
		return err
	})
	if err != nil {
		return Value{}, err
	}
	return v, nil
}

// value returns the value of a name, with the revision 0 if there is none.
func (l *ledger) value(name string) (Value, error) {
	v := Value{Name: name}
	text := l.get(valuesBucket, []byte(name))
	if text == nil {
		return v, nil
	}
	err := decode("value "+name, text, &v)
	return v, err
}

func (s *boltStore) Values(ctx context.Context, prefix string) ([]Value, error) {
	var values []Value
	err := s.view(ctx, func(l *ledger) error {
		values = nil
		c := l.tx.Bucket(valuesBucket).Cursor()
		for k, text := c.Seek([]byte(prefix)); k != nil && bytes.HasPrefix(k, []byte(prefix)); k, text = c.Next() {
			v := Value{Name: string(k)}
			if err := decode("value "+v.Name, text, &v); err != nil {
				return err
			}
			values = append(values, v)
		}
		return nil
	})
	return values, err
}

func (s *boltStore) SetValue(ctx context.Context, name string, data []byte, expect Expect) (Value, error) {
	if err := checkName("name", name); err != nil {
		return Value{}, err
	}
	if len(data) > MaxValue {
		return Value{}, fmt.Errorf("value %s: %d bytes, more than %d: %w", name, len(data), MaxValue, ErrTooLarge)
	}
	data = bytes.Clone(data)
	v := Value{Name: name, Data: data}
	err := s.change(ctx, func(l *ledger) error {
		if _, err := l.expect(name, expect); err != nil {
			return err
		}
		l.state.Counter++
		v.Revision = l.state.Counter
		return l.putJSON(valuesBucket, []byte(name), v)
	})
	if err != nil {
		return Value{}, err
	}
	return v, nil
}

// expect returns the present value if its revision is as expected.
func (l *ledger) expect(name string, expect Expect) (Value, error) {
	v, err := l.value(name)
	if err == nil && !expect.holds(v.Revision) {
		err = &ConflictError{Name: "value " + name, Expect: expect, Present: v.Revision}
	}
	return v, err
}

func (s *boltStore) DeleteValue(ctx context.Context, name string, expect Expect) error {
	if err := checkName("name", name); err != nil {
		return err
	}
	return s.change(ctx, func(l *ledger) error {
		v, err := l.expect(name, expect)
		if err == nil && v.Revision == 0 {
			err = fmt.Errorf("value %s: %w", name, ErrNotFound)
		}
		if err != nil {
			return err
		}
		return l.remove(valuesBucket, []byte(name))
	})
}
