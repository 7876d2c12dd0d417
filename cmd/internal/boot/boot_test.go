// SPDX-License-Identifier: Apache-2.0

package boot_test

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"os"
	"os/signal"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/spf13/pflag"

	"github.com/sluice-mesh/sluice/cmd/internal/boot"
)

func TestReadEnviron(t *testing.T) {
	for _, tt := range []struct {
		name    string
		args    []string
		environ map[string]string
		want    string // the flag level
		files   []string
		fails   string
	}{
		{name: "the default stands when nothing is said", want: "info"},
		{
			name:    "the environment wins over the default",
			environ: map[string]string{"SLUICE_LOG_LEVEL": "debug"}, want: "debug",
		},
		{
			name: "a flag wins over the environment", args: []string{"--log-level=warn"},
			environ: map[string]string{"SLUICE_LOG_LEVEL": "debug"}, want: "warn",
		},
		{
			name:    "an empty variable is not a setting",
			environ: map[string]string{"SLUICE_LOG_LEVEL": ""}, want: "info",
		},
		{
			name:    "a list is separated as PATH is",
			environ: map[string]string{"SLUICE_FILE": "a.yaml:b"}, want: "info", files: []string{"a.yaml", "b"},
		},
		{
			name: "a list on the command line replaces the one of the environment", args: []string{"--file=c"},
			environ: map[string]string{"SLUICE_FILE": "a.yaml:b"}, want: "info", files: []string{"c"},
		},
		{
			name:    "a value of the wrong kind is an error that names the variable",
			environ: map[string]string{"SLUICE_PORT": "http"}, want: "info", fails: `SLUICE_PORT="http"`,
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			flags := pflag.NewFlagSet("test", pflag.ContinueOnError)
			level := flags.String("log-level", "info", "")
			files := flags.StringArray("file", nil, "")
			flags.Int("port", 80, "")
			if err := flags.Parse(tt.args); err != nil {
				t.Fatal(err)
			}
			err := boot.ReadEnviron(flags, func(name string) (string, bool) {
				v, ok := tt.environ[name]
				return v, ok
			})
			if tt.fails == "" && err != nil {
				t.Fatalf("ReadEnviron(%v) error = %v, want none", tt.environ, err)
			}
			if tt.fails != "" && (err == nil || !strings.Contains(err.Error(), tt.fails)) {
				t.Fatalf("ReadEnviron(%v) error = %v, want one with %q", tt.environ, err, tt.fails)
			}
			if *level != tt.want {
				t.Errorf("log-level = %q, want %q", *level, tt.want)
			}
			if !slices.Equal(*files, tt.files) {
				t.Errorf("file = %q, want %q", *files, tt.files)
			}
		})
	}
}

func TestNewLog(t *testing.T) {
	t.Run("json lines are objects and the level is kept", func(t *testing.T) {
		var out bytes.Buffer
		log, err := boot.NewLog(&out, "json", "warn")
		if err != nil {
			t.Fatal(err)
		}
		log.Info("not shown")
		log.Warn("shown", "gateway", "shop")
		var line struct{ Msg, Gateway string }
		if err := json.Unmarshal(out.Bytes(), &line); err != nil || line.Msg != "shown" || line.Gateway != "shop" {
			t.Errorf("log = %q (%v), want one object with msg shown and gateway shop", out.String(), err)
		}
	})
	for _, tt := range []struct{ name, format, level, want string }{
		{"an unknown format is refused with those that exist", "xml", "info", "text or json"},
		{"an unknown level is refused with those that exist", "text", "loud", "debug, info, warn or error"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if _, err := boot.NewLog(io.Discard, tt.format, tt.level); err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("NewLog(%q, %q) error = %v, want one with %q", tt.format, tt.level, err, tt.want)
			}
		})
	}
}

func TestNotify(t *testing.T) {
	stop, s := boot.Notify(t.Context())
	defer s.Release()
	// A signal may be delivered after it was raised, which ends the process if
	// nobody listens any more.
	delivered := make(chan os.Signal, 10)
	signal.Notify(delivered, syscall.SIGINT)
	defer signal.Stop(delivered)

	raise(t, syscall.SIGHUP)
	<-s.Hangup
	if stop.Err() != nil {
		t.Fatal("SIGHUP ended the context, want it to go on")
	}

	raise(t, syscall.SIGTERM)
	<-stop.Done()
	if got := context.Cause(stop).Error(); got != "received terminated" {
		t.Errorf("cause of the end = %q, want it to name the signal", got)
	}
	select {
	case <-s.Again:
		t.Fatal("the first signal closed Again, want the second one to")
	default:
	}

	raise(t, syscall.SIGINT)
	<-s.Again
	<-delivered
	raise(t, syscall.SIGINT) // a third one changes nothing
	<-delivered
	s.Release()
	s.Release()
}

func TestReleaseEndsTheContext(t *testing.T) {
	stop, s := boot.Notify(t.Context())
	s.Release()
	<-stop.Done()
}

func raise(t *testing.T, s syscall.Signal) {
	t.Helper()
	if err := syscall.Kill(syscall.Getpid(), s); err != nil {
		t.Fatal(err)
	}
}

func TestBuild(t *testing.T) {
	b := boot.ReadBuild()
	if b.Version == "" || !strings.HasPrefix(b.Go, "go1.") || !strings.Contains(b.Platform, "/") {
		t.Errorf("ReadBuild() = %+v, want a version, a Go version and a platform", b)
	}
	b = boot.Build{Version: "v1.2.3", Revision: "0123456789abcdef", Go: "go1.26", Platform: "linux/amd64"}
	if got, want := b.String(), "sluice v1.2.3 (0123456789ab) go1.26 linux/amd64"; got != want {
		t.Errorf("String() = %q, want %q", got, want)
	}
}
