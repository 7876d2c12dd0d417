// SPDX-License-Identifier: Apache-2.0

package boot

import (
	"fmt"
	"io"
	"log/slog"
)

// NewLog returns a logger that writes lines to w. The format is text or json;
// the level debug, info, warn or error, in any letter case.
func NewLog(w io.Writer, format, level string) (*slog.Logger, error) {
	var l slog.Level
	if err := l.UnmarshalText([]byte(level)); err != nil {
		return nil, fmt.Errorf("--log-level: %q is not a level; debug, info, warn or error", level)
	}
	o := &slog.HandlerOptions{Level: l}
	switch format {
	case "text":
		return slog.New(slog.NewTextHandler(w, o)), nil
	case "json":
		return slog.New(slog.NewJSONHandler(w, o)), nil
	default:
		return nil, fmt.Errorf("--log-format: %q is not a format; text or json", format)
	}
}
