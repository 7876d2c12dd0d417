// SPDX-License-Identifier: Apache-2.0

package tcp

import "github.com/sluice-mesh/sluice/proxy/arrive"

// SetDoor says how connections begin that come from now on. nil means that
// they begin with what is forwarded.
func (l *Listener) SetDoor(d *arrive.Door) { l.door.Store(d) }

// Door returns what SetDoor was told.
func (l *Listener) Door() *arrive.Door { return l.door.Load() }
