// SPDX-License-Identifier: Apache-2.0

package book_test

import (
	"time"

	"google.golang.org/protobuf/types/known/timestamppb"
)

func stamp(t time.Time) *timestamppb.Timestamp { return timestamppb.New(t) }
