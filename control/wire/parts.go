// SPDX-License-Identifier: Apache-2.0

package wire

import (
	"google.golang.org/protobuf/proto"

	"github.com/sluice-mesh/sluice/control/controlpb"
)

// Parts splits an update into messages of at most size bytes, in the order in
// which they are to be sent; there is at least one. A message is larger only
// if it brings a single gateway that is. u is not changed.
func Parts(u *controlpb.Update, size int) []*controlpb.Update {
	s := &splitter{whole: u, most: size}
	s.begin()
	each(s, u.GetChanged(), sizeOf[*controlpb.Named], func(p *controlpb.Update, n *controlpb.Named) { p.Changed = append(p.Changed, n) })
	each(s, u.GetGone(), textSize, func(p *controlpb.Update, name string) { p.Gone = append(p.Gone, name) })
	each(s, u.GetNames(), textSize, func(p *controlpb.Update, name string) { p.Names = append(p.Names, name) })
	each(s, u.GetBroken(), textSize, func(p *controlpb.Update, name string) { p.Broken = append(p.Broken, name) })
	each(s, u.GetChanges(), sizeOf[*controlpb.Change], func(p *controlpb.Update, c *controlpb.Change) { p.Changes = append(p.Changes, c) })
	for _, p := range s.parts[:len(s.parts)-1] {
		p.More = true
	}
	return s.parts
}

// splitter is one run of Parts.
type splitter struct {
	whole *controlpb.Update
	most  int
	parts []*controlpb.Update
	size  int // of the last part
	items int // in the last part
}

// frame is the most that an element takes beside what it holds: a tag and a
// length.
const frame = 1 + 5

// head is the most that a part takes without elements.
const head = 2*frame + 3*(1+10) + 3*2

func (s *splitter) begin() {
	w := s.whole
	s.parts = append(s.parts, &controlpb.Update{Version: w.GetVersion(), Ordered: w.GetOrdered(), Complete: w.GetComplete(), Number: w.GetNumber()})
	s.size, s.items = head, 0
}

func each[T any](s *splitter, list []T, size func(T) int, put func(*controlpb.Update, T)) {
	for _, one := range list {
		n := frame + size(one)
		if s.items > 0 && s.size+n > s.most {
			s.begin()
		}
		put(s.parts[len(s.parts)-1], one)
		s.size += n
		s.items++
	}
}

func sizeOf[M proto.Message](m M) int { return proto.Size(m) }

func textSize(text string) int { return len(text) }
