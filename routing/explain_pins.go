// SPDX-License-Identifier: Apache-2.0

package routing

// broughtBy says what a client brought along that decides in place of a draw:
// its key, or the cookie of that name.
func (g *CompiledGateway) broughtBy(cookie string) string {
	if g.Sticky.Keyed() {
		return "its key"
	}
	return "its cookie " + cookie
}

// pins says at a sticky gateway what the client brought, and what it is given
// for the next time.
func (x *explainer) pins(out *HopExplanation, h *Hop) {
	s := h.Gateway.Sticky
	if s == nil {
		return
	}
	if c := h.held(); h.Pins&StrengthPinned != 0 {
		out.Strength.PinnedBy = h.Gateway.broughtBy(c.StrengthCookie())
	} else if h.Pins&StrengthDrawn != 0 && !s.Keyed() {
		value := s.Cookie
		if h.Taken {
			value = c.ID
		}
		out.Cookies = append(out.Cookies, HeaderField{c.StrengthCookie(), value})
	}
	if h.Pins&WeightsPinned != 0 {
		out.PinnedBy = h.Gateway.broughtBy(s.Cookie)
	} else if h.Pins&WeightsDrawn != 0 && !s.Keyed() {
		out.Cookies = append(out.Cookies, HeaderField{s.Cookie, h.Route.ID})
	}
}

// via says what chose the route of a hop, as Trace.via does, and knows besides
// on which route the client was before nothing there could serve.
func (x *explainer) via(h *Hop) (how, unusable string) {
	if h.Route != nil && !h.Taken {
		if was := h.Gateway.pinned(new(Hop), x.request); was != nil && was != h.Route {
			return viaRedistributed, was.Path
		}
	}
	return x.trace.via(h)
}
