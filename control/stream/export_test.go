// SPDX-License-Identifier: Apache-2.0

package stream

import "time"

// HelloWithin sets how long a proxy may take to say who it is.
func (s *Server) HelloWithin(d time.Duration) { s.helloWithin = d }

// RecheckEvery sets how often tokens of sessions are looked up.
func (s *Server) RecheckEvery(d time.Duration) { s.recheck = d }
