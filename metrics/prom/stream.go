// SPDX-License-Identifier: Apache-2.0

package prom

import (
	"bytes"
	"encoding/binary"
	"io"
	"math"

	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/common/expfmt"
	"google.golang.org/protobuf/proto"

	"github.com/sluice-mesh/sluice/metrics"
)

// writing is one answer in the making. What it writes is what an encoder of
// expfmt does of whole families, but it comes in parts.
type writing struct {
	out    io.Writer
	format expfmt.Format
	buffer bytes.Buffer
	err    error // of out, or of a family of which a part is written: nothing is written after it
	left   int   // families that could not be encoded, and are left out
}

// whole writes a family that is there as a whole.
func (w *writing) whole(f *dto.MetricFamily) {
	if w.err != nil || len(f.GetMetric()) == 0 {
		return
	}
	w.buffer.Reset()
	if err := expfmt.NewEncoder(&w.buffer, w.format).Encode(f); err != nil {
		w.left++
		return
	}
	_, w.err = w.out.Write(w.buffer.Bytes())
}

// family writes a family of the registry while it is gathered.
func (w *writing) family(r *metrics.Registry, s *source) {
	kind := w.format.FormatType()
	e := exposition{registry: r, native: kind == expfmt.TypeProtoDelim, gone: func() bool { return w.err != nil }}
	switch kind {
	case expfmt.TypeTextPlain, expfmt.TypeOpenMetrics:
		first, left := true, w.left
		part := func() {
			if w.left == left {
				w.lines(familyOf(s.family, e.metrics), first)
			}
			first = false
			e.reuse()
		}
		e.full = part
		e.walk(s)
		part()
	case expfmt.TypeProtoDelim:
		w.delimited(&e, s)
	default: // forms for people, who do not ask for them
		e.walk(s)
		w.whole(familyOf(s.family, e.metrics))
	}
}

// lines writes a part of a family as text. Comments stand before the first one
// alone.
func (w *writing) lines(part *dto.MetricFamily, first bool) {
	if w.err != nil || len(part.GetMetric()) == 0 {
		return
	}
	w.buffer.Reset()
	if err := expfmt.NewEncoder(&w.buffer, w.format).Encode(part); err != nil {
		if w.left++; !first {
			w.err = err // half a family must not pass for a whole one
		}
		return
	}
	text := w.buffer.Bytes()
	for !first && len(text) > 0 && text[0] == '#' {
		text = text[bytes.IndexByte(text, '\n')+1:]
	}
	_, w.err = w.out.Write(text)
}

// delimited writes a family as a message behind its length, so it is kept until
// it is complete: but in the form of the wire, which is a tenth of what it is
// made of. The fields of messages that stand behind each other are those of one.
func (w *writing) delimited(e *exposition, s *source) {
	var parts [][]byte
	size, bad := 0, false
	add := func(f *dto.MetricFamily) {
		b, err := proto.Marshal(f)
		bad = bad || err != nil
		parts = append(parts, b)
		size += len(b)
	}
	add(familyOf(s.family, nil))
	part := func() {
		if len(e.metrics) > 0 {
			add(&dto.MetricFamily{Metric: e.metrics})
		}
		e.reuse()
	}
	e.full = part
	e.walk(s)
	part()
	if w.err != nil || len(parts) == 1 {
		return
	}
	if bad || size > math.MaxInt32 { // no reader takes more
		w.left++
		return
	}
	parts[0] = append(binary.AppendUvarint(nil, uint64(size)), parts[0]...)
	for i, b := range parts {
		if w.err == nil {
			_, w.err = w.out.Write(b)
		}
		parts[i] = nil
	}
}

// end writes what stands behind the last family.
func (w *writing) end() {
	if w.err == nil && w.format.FormatType() == expfmt.TypeOpenMetrics {
		_, w.err = expfmt.FinalizeOpenMetrics(w.out)
	}
}
