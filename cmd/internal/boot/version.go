// SPDX-License-Identifier: Apache-2.0

package boot

import (
	"fmt"
	"runtime"
	"runtime/debug"
)

// version is set when linking a release:
// -X github.com/sluice-mesh/sluice/cmd/internal/boot.version=v1.2.3.
var version string

// Build says what a binary was made from.
type Build struct {
	// Version is a tag, or what git describe said; "devel" if neither is
	// known.
	Version string `json:"version"`
	// Revision is the commit, with "+dirty" if files differed from it; empty
	// if unknown.
	Revision string `json:"revision,omitempty"`
	// Time is when the commit was made, RFC 3339; empty if unknown.
	Time     string `json:"time,omitempty"`
	Go       string `json:"go"`
	Platform string `json:"platform"` // such as linux/amd64
}

// ReadBuild returns the facts of the running binary.
func ReadBuild() Build {
	b := Build{
		Version:  version,
		Go:       runtime.Version(),
		Platform: runtime.GOOS + "/" + runtime.GOARCH,
	}
	info, ok := debug.ReadBuildInfo()
	if !ok {
		info = &debug.BuildInfo{}
	}
	if b.Version == "" && info.Main.Version != "(devel)" {
		b.Version = info.Main.Version
	}
	if b.Version == "" {
		b.Version = "devel"
	}
	dirty := ""
	for _, s := range info.Settings {
		switch s.Key {
		case "vcs.revision":
			b.Revision = s.Value
		case "vcs.time":
			b.Time = s.Value
		case "vcs.modified":
			if s.Value == "true" {
				dirty = "+dirty"
			}
		}
	}
	if b.Revision != "" {
		b.Revision += dirty
	}
	return b
}

// String returns one line for people.
func (b Build) String() string {
	s := "sluice " + b.Version
	if b.Revision != "" {
		s += fmt.Sprintf(" (%.12s)", b.Revision)
	}
	return s + " " + b.Go + " " + b.Platform
}
