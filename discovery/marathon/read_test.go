// SPDX-License-Identifier: Apache-2.0

package marathon

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"testing/iotest"
	"time"
	"unsafe"

	"github.com/rogpeppe/go-internal/txtar"
)

func ids(apps map[string]*app) []string { return slices.Sorted(maps.Keys(apps)) }

// TestAnswersThatSayNothing are errors of the whole, never a shorter list.
func TestAnswersThatSayNothing(t *testing.T) {
	for _, tt := range []struct {
		name, answer, says string
		is                 error
	}{
		{"nothing at all", ``, "cut short after 0 bytes", errCut},
		{"spaces", " \n", "cut short", errCut},
		{"a page of HTML", "\n<!DOCTYPE html><p>502", "HTML", errHTML},
		{"a text that is no JSON", `Bad gateway`, "no JSON: byte 1", nil},
		{"a list", `[]`, "no object", nil},
		{"null", `null`, "no object", nil},
		{"a number", `7`, "no object", nil},
		{"an object without apps", `{}`, "no apps", nil},
		{"a message", `{"message":"Could not determine the current leader"}`, `"Could not determine the current leader"`, nil},
		{"a message that is no text", `{"message":[1]}`, "no apps", nil},
		{"apps that are null", `{"apps":null}`, "no list", nil},
		{"apps that are an object", `{"apps":{"id":"/a"}}`, "no list", nil},
		{"apps that are a text", `{"apps":"/a"}`, "no list", nil},
		{"two lists", `{"apps":[],"apps":[]}`, "two lists", nil},
		{"something behind", `{"apps":[]}{}`, "follows", nil},
		{"rubbish behind", `{"apps":[]}x`, "no JSON", nil},
		{"cut in an app", `{"apps":[{"id":"/a","tasks":[{"id":"x"`, "cut short", errCut},
		{"cut between apps", `{"apps":[{"id":"/a"}`, "cut short", errCut},
		{"cut behind the list", `{"apps":[{"id":"/a"}]`, "cut short", errCut},
		{"a bracket of the other kind", `{"apps":[{"id":"/a"]}`, "no JSON", nil},
		{"too deep", `{"apps":[{"x":` + strings.Repeat("[", 20_000), "no JSON", nil},
	} {
		t.Run(tt.name, func(t *testing.T) {
			apps, faults, err := readApps(strings.NewReader(tt.answer), 1<<20)
			if apps != nil || faults != nil || err == nil || !strings.Contains(err.Error(), tt.says) || tt.is != nil && !errors.Is(err, tt.is) {
				t.Errorf("readApps(%.60q) = %v, %v, %v, want an error that says %q", tt.answer, apps, faults, err, tt.says)
			}
		})
	}
}

// TestErrorsOfReading pass, whatever JSON makes of them.
func TestErrorsOfReading(t *testing.T) {
	hangUp := errors.New("hung up")
	_, _, err := readApps(io.MultiReader(strings.NewReader(`{"apps":[`), iotest.ErrReader(hangUp)), 1<<20)
	if !errors.Is(err, hangUp) {
		t.Errorf("the error is %v, want %v", err, hangUp)
	}
}

func TestAnswersAreBounded(t *testing.T) {
	answer := `{"apps":[{"id":"/a"}]}`
	if _, _, err := readApps(strings.NewReader(answer), int64(len(answer))); err != nil {
		t.Errorf("an answer of the size of the bound: %v", err)
	}
	for limit := range int64(len(answer)) {
		if _, _, err := readApps(strings.NewReader(answer), limit); !errors.Is(err, errTooLarge) {
			t.Fatalf("an answer of %d bytes, %d allowed: %v, want %v", len(answer), limit, err, errTooLarge)
		}
	}
	endless := io.MultiReader(strings.NewReader(`{"apps":[`), &repeated{text: `{"id":"/a","tasks":[{},{},{}],"labels":{"a":"b"}},`})
	if _, _, err := readApps(endless, 1<<20); !errors.Is(err, errTooLarge) {
		t.Errorf("an answer without end: %v, want %v", err, errTooLarge)
	}
	for _, tt := range []struct{ name, head, one, says string }{
		{"apps", `{"apps":[`, `{},`, "more than 100000 apps"},
		{"tasks", `{"apps":[{"id":"/a","tasks":[`, `{},`, "more than 500000 tasks"},
	} {
		many := io.MultiReader(strings.NewReader(tt.head), &repeated{text: tt.one})
		if _, _, err := readApps(many, 64<<20); err == nil || !strings.Contains(err.Error(), tt.says) {
			t.Errorf("%s without end: %v, want %s", tt.name, err, tt.says)
		}
	}
}

// repeated reads as its text, for ever.
type repeated struct {
	text string
	at   int
}

func (r *repeated) Read(p []byte) (int, error) {
	for i := range p {
		p[i] = r.text[r.at]
		r.at = (r.at + 1) % len(r.text)
	}
	return len(p), nil
}

// TestALargeFieldIsAFaultOfItsApp: it is not kept, and the others are.
func TestALargeFieldIsAFaultOfItsApp(t *testing.T) {
	large := strings.Repeat("x", maxField)
	apps, faults, err := readApps(strings.NewReader(`{"apps":[{"id":"/a","labels":{"a":"`+large+`"}},{"id":"/b","cmd":"`+large+`"}]}`), 8<<20)
	if err != nil || len(faults) != 1 || faults[0].Name != "/a" || faults[0].Path != "labels" || len(apps) != 2 || apps["/a"] != nil || apps["/b"] == nil {
		t.Errorf("readApps = %v, %v, %v, want /b and a fault of /a", apps, faults, err)
	}
}

// TestTooManyElementsAreAFaultOfTheirApp: they would take many times what they
// are sent as.
func TestTooManyElementsAreAFaultOfTheirApp(t *testing.T) {
	list := func(one string, n int) string { return strings.TrimSuffix(strings.Repeat(one+",", n), ",") }
	labels := func(n int) string {
		var b strings.Builder
		for i := range n {
			fmt.Fprintf(&b, `"l%d":"",`, i)
		}
		return "{" + strings.TrimSuffix(b.String(), ",") + "}"
	}
	for _, tt := range []struct {
		path string
		with func(n int) string
	}{
		{"labels", func(n int) string { return `"labels":` + labels(n) }},
		{"ports", func(n int) string { return `"ports":[` + list("1", n) + `]` }},
		{"networks", func(n int) string { return `"networks":[` + list("{}", n) + `]` }},
		{"healthChecks", func(n int) string { return `"healthChecks":[` + list("{}", n) + `]` }},
		{"readinessChecks", func(n int) string { return `"readinessChecks":[` + list("{}", n) + `]` }},
		{"portDefinitions", func(n int) string { return `"portDefinitions":[` + list("{}", n) + `]` }},
		{"portDefinitions.labels", func(n int) string { return `"portDefinitions":[{"labels":` + labels(n) + `}]` }},
		{"container.portMappings", func(n int) string { return `"container":{"portMappings":[` + list("{}", n) + `]}` }},
		{"container.portMappings", func(n int) string { return `"container":{"docker":{"portMappings":[` + list("{}", n) + `]}}` }},
		{"container.portMappings.labels", func(n int) string { return `"container":{"portMappings":[{"labels":` + labels(n) + `}]}` }},
		{"ipAddress.discovery.ports", func(n int) string { return `"ipAddress":{"discovery":{"ports":[` + list("{}", n) + `]}}` }},
		{"ipAddress.discovery.ports.labels", func(n int) string { return `"ipAddress":{"discovery":{"ports":[{"labels":` + labels(n) + `}]}}` }},
		{"tasks.ports", func(n int) string { return `"tasks":[{"id":"t","ports":[` + list("1", n) + `]}]` }},
		{"tasks.servicePorts", func(n int) string { return `"tasks":[{"id":"t","servicePorts":[` + list("1", n) + `]}]` }},
		{"tasks.ipAddresses", func(n int) string { return `"tasks":[{"id":"t","ipAddresses":[` + list("{}", n) + `]}]` }},
		{"tasks.healthCheckResults", func(n int) string { return `"tasks":[{"id":"t","healthCheckResults":[` + list("{}", n) + `]}]` }},
	} {
		t.Run(tt.path, func(t *testing.T) {
			answer := func(n int) io.Reader {
				return strings.NewReader(`{"apps":[{"id":"/a",` + tt.with(n) + `},{"id":"/b"}]}`)
			}
			if apps, faults, err := readApps(answer(maxElements), 1<<20); err != nil || len(faults) > 0 || apps["/a"] == nil {
				t.Errorf("%d of them: %v, %v", maxElements, faults, err)
			}
			apps, faults, err := readApps(answer(maxElements+1), 1<<20)
			if err != nil || len(apps) != 2 || apps["/a"] != nil || apps["/b"] == nil || len(faults) != 1 || faults[0].Path != tt.path || faults[0].Name != "/a" {
				t.Errorf("%d of them: %v, %v, %v, want a fault at %s", maxElements+1, apps, faults, err, tt.path)
			}
		})
	}
}

func TestFaultsAreBounded(t *testing.T) {
	apps, faults, err := readApps(strings.NewReader(`{"apps":[`+strings.Repeat(`{"id":7},`, 2*maxReadFaults)+`{"id":"/a","labels":7}]}`), 8<<20)
	if err != nil || len(faults) != maxReadFaults || len(apps) != 1 || apps["/a"] != nil {
		t.Errorf("readApps = %d apps, %d faults, %v, want one that cannot be read and %d faults", len(apps), len(faults), err, maxReadFaults)
	}
}

func TestReadApp(t *testing.T) {
	for _, tt := range []struct{ name, answer, says string }{
		{"an app", `{"app":{"id":"/a","tasks":[{"id":"x"}]}}`, ""},
		{"none", `{}`, "no app"},
		{"a message", `{"message":"App '/a' does not exist"}`, "does not exist"},
		{"null", `{"app":null}`, "no object"},
		{"a list of apps", `{"apps":[]}`, "no app"},
		{"one that cannot be read", `{"app":{"id":"/a","labels":7}}`, "apps./a.labels: a number cannot stand here"},
		{"two", `{"app":{"id":"/a"},"app":{"id":"/a"}}`, "two apps"},
		{"HTML", `<html>`, "HTML"},
		{"cut", `{"app":{"id":"/a"}`, "cut short"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			a, _, err := readApp(strings.NewReader(tt.answer), 1<<20)
			switch {
			case tt.says == "" && (err != nil || a == nil || a.id != "/a" || len(a.tasks) != 1):
				t.Errorf("readApp(%q) = %v, %v", tt.answer, a, err)
			case tt.says != "" && (a != nil || err == nil || !strings.Contains(err.Error(), tt.says)):
				t.Errorf("readApp(%q) = %v, %v, want an error that says %q", tt.answer, a, err, tt.says)
			}
		})
	}
}

func TestNamesOfApps(t *testing.T) {
	for _, tt := range []struct{ id, name, group string }{
		{"/web", "web", ""}, {"/shop/web", "web", "shop"}, {"/shop/eu/web", "web", "shop/eu"},
	} {
		if a := (&app{id: tt.id}); a.name() != tt.name || a.group() != tt.group {
			t.Errorf("%s is %q in %q, want %q in %q", tt.id, a.name(), a.group(), tt.name, tt.group)
		}
	}
}

// whole is an app all of whose fields count.
const wholeApp = `{"id":"/shop/web","instances":3,"version":"2026-01-02T12:00:00.000Z",
 "versionInfo":{"lastScalingAt":"2026-01-02T11:00:00.000Z","lastConfigChangeAt":"2026-01-02T10:00:00.000Z"},
 "labels":{"a":"b","sluice.ip-index":"1"},"networks":[{"mode":"container"}],
 "container":{"docker":{"image":"example/web:1"},"portMappings":[{"containerPort":8080,"hostPort":31000,"servicePort":10001,"protocol":"tcp","name":"http","labels":{"VIP_0":"/web:80"}}]},
 "healthChecks":[{"protocol":"TCP","path":"/h","port":8080,"portIndex":1,"intervalSeconds":0.5,"maxConsecutiveFailures":5}],
 "readinessChecks":[{"timeoutSeconds":7}],"deployments":[{"id":"d"}],"readinessCheckResults":[{"taskId":"t","ready":true}],
 "tasks":[{"id":"t","host":"10.0.0.1","ports":[31000],"servicePorts":[10002],"ipAddresses":[{"ipAddress":"9.0.0.1"}],"state":"TASK_RUNNING",
  "startedAt":"2026-01-02T12:30:00.000Z","version":"2026-01-02T11:30:00.000Z","region":"r","zone":"z","healthCheckResults":[{"alive":true}]}]}`

func one(t *testing.T, text string) *app {
	t.Helper()
	a, _, err := readApp(strings.NewReader(`{"app":`+text+`}`), defaultMaxAnswer)
	if err != nil {
		t.Fatal(err)
	}
	return a
}

// TestEqualSeesEveryField changes one field after the other, so that a new one
// cannot be forgotten.
func TestEqualSeesEveryField(t *testing.T) {
	tried := 0
	var walk func(path string, find func(*app) reflect.Value)
	walk = func(path string, find func(*app) reflect.Value) {
		v := find(one(t, wholeApp))
		try := func() {
			a, b := one(t, wholeApp), one(t, wholeApp)
			if !a.equal(b) {
				t.Fatal("an app is not equal to itself")
			}
			field := find(b)
			if field.IsZero() {
				t.Fatalf("%s is not set", path)
			}
			field.SetZero()
			tried++
			if a.equal(b) || b.equal(a) {
				t.Errorf("a change of %s goes unnoticed", path)
			}
		}
		opaque := v.Type() == reflect.TypeFor[time.Time]() || v.Type().PkgPath() == "unique" || v.Type().PkgPath() == "net/netip"
		switch {
		case v.Kind() == reflect.Pointer:
			walk(path, func(a *app) reflect.Value { return find(a).Elem() })
		case v.Kind() == reflect.Struct && !opaque:
			for i := range v.NumField() {
				walk(path+"."+v.Type().Field(i).Name, func(a *app) reflect.Value {
					f := find(a).Field(i)
					return reflect.NewAt(f.Type(), unsafe.Pointer(f.UnsafeAddr())).Elem()
				})
			}
		case v.Kind() == reflect.Slice && v.Len() > 0:
			try()
			walk(path+"[0]", func(a *app) reflect.Value { return find(a).Index(0) })
		case strings.HasSuffix(path, ".otherwise"): // it is of another mode
		default:
			try()
		}
	}
	walk("", func(a *app) reflect.Value { return reflect.ValueOf(a).Elem() })
	if tried < 35 {
		t.Errorf("only %d fields were changed", tried)
	}
	bridged := strings.Replace(wholeApp, `"container"}`, `"container/bridge"}`, 1)
	a, b := one(t, bridged), one(t, bridged)
	if b.ports[0].otherwise = 0; a.equal(b) {
		t.Error("a change of where a task is reached that does not tell goes unnoticed")
	}
}

// written returns apps as an answer with them.
func written(apps map[string]*app) []byte {
	var b bytes.Buffer
	b.WriteString(`{"apps":[`)
	for i, id := range ids(apps) {
		if i > 0 {
			b.WriteByte(',')
		}
		if apps[id] == nil {
			fmt.Fprintf(&b, `{"id":%q,"labels":7}`, id)
		} else if err := apps[id].write(&b); err != nil {
			panic(err) // it writes to memory
		}
	}
	b.WriteString("]}")
	return b.Bytes()
}

// checkReading fails if an answer, read as a whole, once more, or as it is
// written, is not the same, or if it cannot be translated.
func checkReading(t *testing.T, answer []byte) {
	t.Helper()
	apps, faults, err := readApps(bytes.NewReader(answer), 1<<20)
	again, faultsAgain, errAgain := readApps(iotest.OneByteReader(bytes.NewReader(answer)), 1<<20)
	if (err == nil) != (errAgain == nil) || !reflect.DeepEqual(faults, faultsAgain) || !maps.EqualFunc(apps, again, sameApp) {
		t.Fatalf("%q is read as\n%v %v %v\nand then as\n%v %v %v", answer, apps, faults, err, again, faultsAgain, errAgain)
	}
	if err != nil {
		if apps != nil {
			t.Fatalf("%q has apps though it is wrong: %v", answer, err)
		}
		return
	}
	back, _, err := readApps(bytes.NewReader(written(apps)), 64<<20)
	if err != nil || !maps.EqualFunc(apps, back, sameApp) {
		t.Fatalf("%q is written as\n%s\nwhich is not the same (%v)", answer, written(apps), err)
	}
	c := newCluster(translateOptions{Resolve: agents})
	for id, a := range apps {
		if a == nil {
			continue
		}
		list, _ := c.instances(a, noon)
		other, _ := newCluster(translateOptions{Resolve: agents}).instances(back[id], noon)
		if !reflect.DeepEqual(list, other) {
			t.Fatalf("the instances of %q are not those of what is written", answer)
		}
		for _, i := range list {
			if !i.AddrPort().IsValid() || i.Port < 1 || i.Port > maxPort || i.ID != id || i.Declared < 0 || i.Declared > maxPort {
				t.Fatalf("%q has the instance %+v", answer, i)
			}
		}
	}
}

func sameApp(a, b *app) bool { return a == b || a != nil && b != nil && a.equal(b) }

// answers are those of all text cases.
func answers(tb testing.TB) (all [][]byte) {
	tb.Helper()
	paths, err := filepath.Glob("testdata/instances/*.txt")
	if err != nil || len(paths) == 0 {
		tb.Fatalf("%d cases, %v", len(paths), err)
	}
	for _, path := range paths {
		data, err := os.ReadFile(path)
		if err != nil {
			tb.Fatal(err)
		}
		for _, part := range txtar.Parse(data).Files {
			if part.Name == "apps" {
				all = append(all, bytes.TrimSpace(part.Data))
			}
		}
	}
	return append(all, []byte(`{"apps":[`+wholeApp+`]}`))
}

// TestAnAnswerThatIsCutAnywhereIsAnError: it must never be taken for a list
// with fewer apps or tasks.
func TestAnAnswerThatIsCutAnywhereIsAnError(t *testing.T) {
	for _, answer := range answers(t) {
		for cut := 0; cut < len(answer); cut++ {
			if cut > 500 && cut < len(answer)-100 {
				cut += 4 // which end up everywhere, over all answers
			}
			if apps, _, err := readApps(bytes.NewReader(answer[:cut]), 1<<20); !errors.Is(err, errCut) {
				t.Fatalf("of %q, cut after %d of %d bytes, %d apps are read: %v", answer, cut, len(answer), len(apps), err)
			}
		}
	}
}

func TestWhatIsReadCanBeWritten(t *testing.T) {
	for _, answer := range answers(t) {
		checkReading(t, answer)
	}
}

// FuzzReadApps reads anything without panic, the same each time, and never a
// shorter list from what is cut.
func FuzzReadApps(f *testing.F) {
	for _, answer := range answers(f) {
		f.Add(answer, uint16(len(answer)/2))
	}
	for _, text := range []string{`{"apps":[`, `{"apps":[{"id":"/a","tasks":[{"id":"x","ports":[1e5,-0.0]}]}]}`, "<html>", "{\"apps\":[]}\n"} {
		f.Add([]byte(text), uint16(3))
	}
	f.Fuzz(func(t *testing.T, answer []byte, cut uint16) {
		checkReading(t, answer)
		whole := bytes.TrimRight(answer, " \t\r\n")
		if int(cut) >= len(whole) {
			return
		}
		if _, _, err := readApps(bytes.NewReader(answer), 1<<20); err != nil {
			return
		}
		if apps, _, err := readApps(bytes.NewReader(answer[:cut]), 1<<20); err == nil {
			t.Fatalf("of %q, cut after %d bytes, %d apps are read", answer, cut, len(apps))
		}
	})
}
