// SPDX-License-Identifier: Apache-2.0

package wire_test

import (
	"bytes"
	"io/fs"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/sluice-mesh/sluice/test/wire"
)

const (
	headerText = "# requirement: RFC 0000 1: a thing\n# level: MUST\n\n"
	bodyText   = "--- client ---\nGET / HTTP/1.1\n\n--- origin sees nothing ---\n--- client sees ---\nstatus 400\n"
)

func TestParse(t *testing.T) {
	for _, tt := range []struct {
		name, text string
		want       string // in the error; empty if the case is good
	}{
		{"a whole case is read", headerText + bodyText, ""},
		{"further connections have numbers", headerText + bodyText + "--- client 2 ---\nx\n--- client 2 sees ---\nnothing\n", ""},
		{"all escapes are known", headerText + "--- client ---\n\\r\\n\\t\\0\\\\\\x7f{{repeat 3 \\x00}}{{port}}\\\n--- origin sees nothing ---\n", ""},
		{"an escaped backslash does not join lines", headerText + "--- client ---\na\\\\\n--- origin sees nothing ---\n", ""},
		{"a level is asked for", "# requirement: RFC 0000 1: a thing\n" + bodyText, "level"},
		{"a requirement has a section", "# requirement: a thing\n# level: MUST\n" + bodyText, "want SECTION: WHAT"},
		{"a key is written once", "# level: MUST\n" + headerText + bodyText, "written twice"},
		{"unknown keys are refused", "# colour: red\n" + headerText + bodyText, "unknown key"},
		{"what departs from a section says why", "# departs: RFC 0000\n" + headerText + bodyText, "says why"},
		{"the header has nothing but keys", headerText + "hello\n" + bodyText, "neither"},
		{"unknown blocks are refused", headerText + bodyText + "--- server ---\n", "unknown block"},
		{"a connection of number 1 has none", headerText + bodyText + "--- client 1 ---\nx\n", "further connections"},
		{"a connection number has one spelling", headerText + bodyText + "--- client 02 ---\nx\n", "further connections"},
		{"the client sends something", headerText + "--- origin sees nothing ---\n", "sends nothing"},
		{"something is said of the origin", headerText + "--- client ---\nx\n", "nothing is said"},
		{"the origin does not see nothing and something", headerText + bodyText + "--- origin sees ---\nbody\n", "nothing, or something"},
		{"an origin that sends has seen something", headerText + bodyText + "--- origin ---\nx\n", "no request before"},
		{"at once comes first", headerText + "--- client ---\nx\n--- origin sees ---\nbody\n--- origin ---\nx\n--- origin at once ---\ny\n", "after another"},
		{"an answer is looked at", headerText + bodyText + "--- client sees ---\nkept\n", "no claim of status"},
		{"a request is looked at", headerText + "--- client ---\nx\n--- origin sees ---\n", "no claim"},
		{"claims of the other side are refused", headerText + bodyText + "--- client sees ---\nstatus 200\nconnection new\n", "no claim"},
		{"a status has a number", headerText + bodyText + "--- client sees ---\nstatus ok\n", "no status"},
		{"a range of statuses goes up", headerText + bodyText + "--- client sees ---\nstatus 500-400\n", "no status"},
		{"a field has a colon", headerText + bodyText + "--- client sees ---\nstatus 200\nhas X\n", "cannot be of"},
		{"a framing is a known one", headerText + bodyText + "--- client sees ---\nstatus 200\nframing odd\n", "cannot be of"},
		{"an escape is a known one", headerText + "--- client ---\n\\q\n--- origin sees nothing ---\n", "unknown escape"},
		{"braces are closed", headerText + "--- client ---\n{{repeat 3 x\n--- origin sees nothing ---\n", "open braces"},
		{"braces hold something known", headerText + "--- client ---\nx{{y}}\n--- origin sees nothing ---\n", "braces hold"},
		{"directives are known", headerText + "--- client ---\n{{wait}}\n--- origin sees nothing ---\n", "no directive"},
		{"the client has no body to read", headerText + "--- client ---\n{{body}}\n--- origin sees nothing ---\n", "no directive"},
		{"bytes are bounded", headerText + "--- client ---\n{{repeat 9999999 x}}\n--- origin sees nothing ---\n", "more than"},
		{"bytes are bounded in the product", headerText + "--- client ---\n{{repeat 99999 {{repeat 99 x}}}}\n--- origin sees nothing ---\n", "braces"},
		{"carriage returns are written as such", headerText + "--- client ---\r\n", "carriage return"},
		{"the last line ends", headerText + bodyText + "x", "does not end"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			_, err := wire.Parse("a/b", []byte(tt.text))
			if (err == nil) != (tt.want == "") || err != nil && !strings.Contains(err.Error(), tt.want) {
				t.Errorf("Parse(%q) error = %v, want %q in it", tt.text, err, tt.want)
			}
		})
	}
}

func TestLoadTellsWhichFileIsWrong(t *testing.T) {
	root := fstest.MapFS{
		"good/one.txt": {Data: []byte(headerText + bodyText)},
		"bad/one.txt":  {Data: []byte(bodyText)},
		"bad/two.txt":  {Data: []byte("?\n")},
		"good/read.me": {Data: []byte("?")},
		"good/two.txt": {Data: []byte(headerText + bodyText)},
		"good/dir.txt": {Mode: fs.ModeDir},
	}
	_, err := wire.Load(root)
	if err == nil || !strings.Contains(err.Error(), "bad/one.txt") || !strings.Contains(err.Error(), "bad/two.txt") {
		t.Errorf("Load() error = %v, want both files in it", err)
	}
	delete(root, "bad/one.txt")
	delete(root, "bad/two.txt")
	cases, err := wire.Load(root)
	if err != nil || len(cases) != 2 || cases[0].Name != "good/one" || cases[0].Topic() != "good" {
		t.Errorf("Load() = %d cases, %v, want good/one and good/two", len(cases), err)
	}
}

func TestTheGatewayBlockIsKept(t *testing.T) {
	c, err := wire.Parse("a/b", []byte(headerText+"--- gateway ---\nlimits:\n  head: 1KiB\n"+bodyText))
	if err != nil || c.Gateway() != "limits:\n  head: 1KiB\n" {
		t.Errorf("Gateway() = %q, %v", c.Gateway(), err)
	}
}

// FuzzParse holds that a case means the same after formatting.
func FuzzParse(f *testing.F) {
	f.Add([]byte(headerText + bodyText))
	files, err := filepath.Glob("testdata/cases/*/*.txt")
	if err != nil {
		f.Fatal(err)
	}
	for i := 0; i < len(files); i += 40 {
		text, err := os.ReadFile(files[i])
		if err != nil {
			f.Fatal(err)
		}
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		c, err := wire.Parse("a/b", text)
		if err != nil {
			return
		}
		formatted := c.Format()
		again, err := wire.Parse("a/b", formatted)
		if err != nil || !reflect.DeepEqual(c, again) {
			t.Fatalf("Parse(Format()) = %+v, %v, want %+v\n%s", again, err, c, formatted)
		}
		if !bytes.Equal(again.Format(), formatted) {
			t.Errorf("Format() = %q, and %q when it is parsed", formatted, again.Format())
		}
	})
}
