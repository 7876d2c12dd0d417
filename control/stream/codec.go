// SPDX-License-Identifier: Apache-2.0

package stream

import (
	"google.golang.org/grpc/encoding"
	_ "google.golang.org/grpc/encoding/proto" // registers the codec that ours wraps
	"google.golang.org/grpc/mem"
	"google.golang.org/protobuf/proto"

	"github.com/sluice-mesh/sluice/control/controlpb"
)

// frame is a message as it travels, which many sessions send.
type frame []byte

// newFrame makes a message ready to be sent.
func newFrame(m *controlpb.ToProxy) (frame, error) { return proto.Marshal(m) }

// incoming is a message of a proxy. What is wrong with its bytes is in err, so
// that it can be told from faults of the connection.
type incoming struct {
	msg  controlpb.FromProxy
	size int
	err  error
}

// codec sends frames as they are, and reads messages. It takes anything else
// to the codec of gRPC.
type codec struct{ encoding.CodecV2 }

func newCodec() codec { return codec{encoding.GetCodecV2("proto")} }

// Marshal implements encoding.CodecV2.
func (c codec) Marshal(v any) (mem.BufferSlice, error) {
	if f, ok := v.(frame); ok {
		return mem.BufferSlice{mem.SliceBuffer(f)}, nil
	}
	return c.CodecV2.Marshal(v)
}

// Unmarshal implements encoding.CodecV2. Fields that are not known are not
// kept.
func (c codec) Unmarshal(data mem.BufferSlice, v any) error {
	in, ok := v.(*incoming)
	if !ok {
		return c.CodecV2.Unmarshal(data, v)
	}
	b := data.MaterializeToBuffer(mem.DefaultBufferPool())
	defer b.Free()
	in.size = b.Len()
	in.err = proto.UnmarshalOptions{DiscardUnknown: true}.Unmarshal(b.ReadOnlyData(), &in.msg)
	return nil
}
