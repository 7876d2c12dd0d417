// SPDX-License-Identifier: Apache-2.0

package tlsconf

import (
	"time"

	"github.com/sluice-mesh/sluice/routing"
)

// Check returns why what two files hold cannot be used as a pair.
func Check(certificate, key []byte) error {
	s := source{pair: routing.KeyPair{Certificate: "a.crt", Key: "a.key"}}
	s.take(reading{files: [][]byte{certificate, key}})
	return s.err
}

// Servers counts the servers that follow their files.
func (s *Store) Servers() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.servers)
}

// Forget forgets what nobody uses as if it were the time now.
func (s *Store) Forget(now time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.tidy(now)
}

// Rotate makes a new key for tickets, as time does.
func (s *Store) Rotate() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.tickets.rotate(s.tickets.made.Add(ticketKeyLife))
	s.refresh()
}
