// SPDX-License-Identifier: Apache-2.0

package wire_test

import (
	"crypto/tls"
	"encoding/binary"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"net/netip"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"

	"github.com/sluice-mesh/sluice/control/controlpb"
	"github.com/sluice-mesh/sluice/control/wire"
	"github.com/sluice-mesh/sluice/routing"
)

// filler gives every field a value that no other field has, as far as there
// are so many. What it does not know how to fill fails the test, and so does
// what it leaves zero.
type filler struct {
	t    *testing.T
	next int64
}

// wordCounts are how many values the enums of routing have.
var wordCounts = map[reflect.Type]protoreflect.EnumDescriptor{
	reflect.TypeFor[routing.PortType]():        controlpb.PortType(0).Descriptor(),
	reflect.TypeFor[routing.SplitMode]():       controlpb.SplitMode(0).Descriptor(),
	reflect.TypeFor[routing.UnavailableMode](): controlpb.UnavailableMode(0).Descriptor(),
	reflect.TypeFor[routing.ForwardedMode]():   controlpb.ForwardedMode(0).Descriptor(),
	reflect.TypeFor[routing.KeySource]():       controlpb.KeySource(0).Descriptor(),
	reflect.TypeFor[routing.Nearness]():        controlpb.Nearness(0).Descriptor(),
	reflect.TypeFor[routing.HealthKind]():      controlpb.HealthKind(0).Descriptor(),
	reflect.TypeFor[routing.ClientAuth]():      controlpb.ClientAuth(0).Descriptor(),
	reflect.TypeFor[routing.PlainHTTP]():       controlpb.PlainHTTP(0).Descriptor(),
	reflect.TypeFor[routing.BetweenRoutes]():   controlpb.BetweenRoutes(0).Descriptor(),
	reflect.TypeFor[routing.ProxyVersion]():    controlpb.ProxyVersion(0).Descriptor(),
	reflect.TypeFor[routing.Protocol]():        controlpb.Protocol(0).Descriptor(),
}

func (f *filler) fill(v reflect.Value, path string) {
	f.t.Helper()
	f.next++
	switch x := v.Addr().Interface().(type) {
	case *netip.Addr:
		var b [16]byte
		binary.BigEndian.PutUint64(b[8:], uint64(f.next))
		b[0] = 0xfd
		*x = netip.AddrFrom16(b)
	case *netip.Prefix:
		*x = netip.PrefixFrom(netip.AddrFrom4([4]byte{10, byte(f.next >> 8), byte(f.next), 0}), 24).Masked()
	case *time.Time:
		*x = time.Unix(1_700_000_000+f.next, f.next).UTC()
	case *time.Duration:
		*x = time.Second + time.Duration(f.next)
	case *routing.Weight:
		*x = routing.Weight(f.next % 9973)
	case *routing.StatusSet:
		for _, code := range []int64{200 + f.next%100, 300 + f.next%100, 301 + f.next%100, 599} {
			x[code>>6] |= 1 << (code & 63)
		}
	case *routing.Statuses:
		x.Add(400 + int(f.next%50))
		x.Add(500 + int(f.next%50))
		x.Add(501 + int(f.next%50))
	case *map[string]any:
		*x = map[string]any{
			"n": f.next, "text": path, "yes": true, "no": false, "nothing": nil, "half": 0.5,
			"list": []any{f.next, map[string]any{}, []any{}}, "map": map[string]any{"deep": path},
		}
	default:
		if inside, put := opened(v); put != nil {
			f.fill(inside, path)
			put()
			break
		}
		f.plain(v, path)
	}
	if v.IsZero() {
		f.t.Errorf("%s is still zero", path)
	}
}

// opened returns a copy of what a routing.Part holds, and what puts it back; nil
// if v is something else.
func opened(v reflect.Value) (inside reflect.Value, put func()) {
	switch p := v.Addr().Interface().(type) {
	case *routing.Part[routing.Limits]:
		return openedPart(p)
	case *routing.Part[routing.Timeouts]:
		return openedPart(p)
	case *routing.Part[routing.Load]:
		return openedPart(p)
	case *routing.Part[routing.Retries]:
		return openedPart(p)
	case *routing.Part[routing.Health]:
		return openedPart(p)
	case *routing.Part[routing.Ejection]:
		return openedPart(p)
	}
	return reflect.Value{}, nil
}

func openedPart[T comparable](p *routing.Part[T]) (inside reflect.Value, put func()) {
	v := p.Value()
	return reflect.ValueOf(&v).Elem(), func() { *p = routing.PartOf(v) }
}

func (f *filler) plain(v reflect.Value, path string) {
	f.t.Helper()
	switch v.Kind() {
	case reflect.Struct:
		for i := range v.NumField() {
			if !v.Type().Field(i).IsExported() {
				f.t.Errorf("%s has a field that is not exported: it is lost, or needs a case of its own", path)
				continue
			}
			f.fill(v.Field(i), path+"."+v.Type().Field(i).Name)
		}
	case reflect.Pointer:
		v.Set(reflect.New(v.Type().Elem()))
		f.fill(v.Elem(), path)
	case reflect.Slice:
		v.Set(reflect.MakeSlice(v.Type(), 2, 2))
		f.fill(v.Index(0), path+"[0]")
		f.fill(v.Index(1), path+"[1]")
	case reflect.Array:
		for i := range v.Len() {
			f.fill(v.Index(i), fmt.Sprintf("%s[%d]", path, i))
		}
	case reflect.String:
		v.SetString(path)
	case reflect.Bool:
		v.SetBool(true)
	case reflect.Int, reflect.Int64:
		v.SetInt(1 + f.next)
	case reflect.Uint16:
		v.SetUint(tls.VersionTLS13)
	case reflect.Uint8:
		words := wordCounts[v.Type()]
		if words == nil {
			f.t.Fatalf("%s is of the unknown type %s", path, v.Type())
		}
		v.SetUint(uint64(1 + f.next%int64(words.Values().Len()-1)))
	default:
		f.t.Fatalf("%s is of the unknown type %s", path, v.Type())
	}
}

// full returns a gateway all of whose fields have a value.
func full(t *testing.T) *routing.Gateway {
	t.Helper()
	g := &routing.Gateway{}
	f := &filler{t: t}
	f.fill(reflect.ValueOf(g).Elem(), "gateway")
	g.Sticky, g.NoRoute = "instance", 404
	for _, r := range g.Routes {
		r.Redirect.Code %= 600
	}
	return g
}

// through returns what comes of a gateway on its way over the wire.
func through(t *testing.T, g *routing.Gateway) *routing.Gateway {
	t.Helper()
	m, err := wire.FromGateway(g)
	if err != nil {
		t.Fatalf("FromGateway: %v", err)
	}
	data, err := proto.Marshal(m)
	if err != nil {
		t.Fatal(err)
	}
	var back controlpb.Gateway
	if err := proto.Unmarshal(data, &back); err != nil {
		t.Fatal(err)
	}
	got, err := wire.ToGateway(&back)
	if err != nil {
		t.Fatalf("ToGateway: %v", err)
	}
	return got
}

// TestEveryFieldSurvives fails for a field that routing has and the message,
// or either way of the translation, has not.
func TestEveryFieldSurvives(t *testing.T) {
	want := full(t)
	got := through(t, want)
	if diff := differences(reflect.ValueOf(*want), reflect.ValueOf(*got), "gateway"); len(diff) > 0 {
		t.Errorf("lost on the way:\n%s", strings.Join(diff, "\n"))
	}
	if !reflect.DeepEqual(got, want) {
		t.Error("what came back is not deeply equal")
	}
}

// differences names what differs, a line a field.
func differences(want, got reflect.Value, path string) (all []string) {
	if reflect.DeepEqual(want.Interface(), got.Interface()) {
		return nil
	}
	switch {
	case want.Kind() == reflect.Pointer && !want.IsNil() && !got.IsNil():
		return differences(want.Elem(), got.Elem(), path)
	case want.Kind() == reflect.Struct && strings.HasPrefix(want.Type().Name(), "Part["):
		return differences(want.MethodByName("Value").Call(nil)[0], got.MethodByName("Value").Call(nil)[0], path)
	case want.Kind() == reflect.Struct && want.NumField() > 0 && want.Type().Field(0).IsExported():
		for i := range want.NumField() {
			all = append(all, differences(want.Field(i), got.Field(i), path+"."+want.Type().Field(i).Name)...)
		}
		return all
	case want.Kind() == reflect.Slice && want.Len() == got.Len():
		for i := range want.Len() {
			all = append(all, differences(want.Index(i), got.Index(i), fmt.Sprintf("%s[%d]", path, i))...)
		}
		return all
	}
	return []string{fmt.Sprintf("%s: got %v, want %v", path, got, want)}
}

// TestEveryFieldCounts takes away one field after the other: the hash sees it,
// and the rest survives as it is, so no two fields are mistaken for each other.
func TestEveryFieldCounts(t *testing.T) {
	g := full(t)
	whole, refused, n := hashOf(t, g), 0, 0
	without := func(path string) {
		n++
		m, err := wire.FromGateway(g)
		if err != nil {
			t.Fatalf("without %s: %v", path, err)
		}
		if h, err := wire.HashOf(m); err != nil || h == whole {
			t.Errorf("without %s the hash is the same, or missing (%v)", path, err)
		}
		switch got, err := wire.ToGateway(m); {
		case err != nil:
			refused++ // it cannot be missing
		case !reflect.DeepEqual(got, g):
			t.Errorf("without %s:\n%s", path, strings.Join(differences(reflect.ValueOf(*g), reflect.ValueOf(*got), "gateway"), "\n"))
		}
	}
	var walk func(v reflect.Value, path string, put func())
	walk = func(v reflect.Value, path string, put func()) {
		if inside, put := opened(v); put != nil {
			walk(inside, path, put)
			return
		}
		switch {
		case v.Kind() == reflect.Struct && v.Type().Field(0).IsExported():
			for i := range v.NumField() {
				field, path := v.Field(i), path+"."+v.Type().Field(i).Name
				walk(field, path, put)
				saved := reflect.New(field.Type()).Elem()
				saved.Set(field)
				field.SetZero()
				put()
				without(path)
				field.Set(saved)
				put()
			}
		case v.Kind() == reflect.Pointer:
			walk(v.Elem(), path, put)
		case v.Kind() == reflect.Slice:
			walk(v.Index(0), path+"[0]", put)
		}
	}
	walk(reflect.ValueOf(g).Elem(), "gateway", func() {})
	if n < 200 || refused > n/4 {
		t.Errorf("%d fields were taken away, %d of which cannot be", n, refused)
	}
}

func hashOf(t *testing.T, g *routing.Gateway) wire.Hash {
	t.Helper()
	m, err := wire.FromGateway(g)
	if err != nil {
		t.Fatal(err)
	}
	h, err := wire.HashOf(m)
	if err != nil {
		t.Fatal(err)
	}
	return h
}

// TestEveryWordHasANumber counts the values of the enums where routing
// declares them: one that is added there is missing on the wire.
func TestEveryWordHasANumber(t *testing.T) {
	files, err := filepath.Glob("../../routing/*.go")
	if err != nil {
		t.Fatal(err)
	}
	declared := map[string]int{}
	for _, name := range files {
		file, err := parser.ParseFile(token.NewFileSet(), name, nil, parser.SkipObjectResolution)
		if err != nil {
			t.Fatal(err)
		}
		for _, d := range file.Decls {
			block, ok := d.(*ast.GenDecl)
			if !ok || block.Tok != token.CONST {
				continue
			}
			if first := block.Specs[0].(*ast.ValueSpec); len(first.Values) == 1 {
				of, typed := first.Type.(*ast.Ident)
				if value, is := first.Values[0].(*ast.Ident); typed && is && value.Name == "iota" {
					declared[of.Name] += len(block.Specs)
				}
			}
		}
	}
	for of, words := range wordCounts {
		if got, want := words.Values().Len(), declared[of.Name()]; got != want {
			t.Errorf("%s has %d values on the wire and %d in routing", of, got, want)
		}
		for i := range words.Values().Len() {
			if n := words.Values().Get(i).Number(); int(n) != i {
				t.Errorf("%s: the number %d follows %d", of, n, i-1)
			}
		}
	}
}

// documents are the texts of gateways that the project shows or tests with.
func documents(tb testing.TB) map[string]*routing.Table {
	tb.Helper()
	tables := map[string]*routing.Table{}
	read := func(name, text string) {
		docs, _ := routing.Read(name, []byte(text))
		if table, _ := routing.Resolve(docs); len(table.Gateways) > 0 {
			tables[name] = table
		}
	}
	for _, pattern := range []string{"../../deploy/examples/*.yaml", "../../routing/testdata/*/*.txt"} {
		files, err := filepath.Glob(pattern)
		if err != nil || len(files) == 0 {
			tb.Fatalf("no documents in %s: %v", pattern, err)
		}
		for _, name := range files {
			data, err := os.ReadFile(name)
			if err != nil {
				tb.Fatal(err)
			}
			if strings.HasSuffix(name, ".yaml") {
				read(name, string(data))
				continue
			}
			for i, one := range strings.Split(string(data), "\n=== ") {
				_, text, _ := strings.Cut(one, "\n")
				text, _, _ = strings.Cut(text, "--- what is asked\n")
				text, _, _ = strings.Cut(text, "\n--- ")
				read(fmt.Sprintf("%s:%d", name, i), text)
			}
		}
	}
	if len(tables) < 100 {
		tb.Fatalf("only %d documents have gateways", len(tables))
	}
	return tables
}

// TestDocumentsSurvive holds that what may be written is not refused on the
// wire, and comes through as it is.
func TestDocumentsSurvive(t *testing.T) {
	for name, table := range documents(t) {
		for _, g := range table.Gateways {
			plain(g)
			if got := through(t, g); !reflect.DeepEqual(got, g) {
				t.Errorf("%s: %s:\n%s", name, g.Name, strings.Join(differences(reflect.ValueOf(*g), reflect.ValueOf(*got), "gateway"), "\n"))
			}
		}
	}
}

// plain makes empty metadata none, which is the same to everybody.
func plain(g *routing.Gateway) {
	if len(g.Metadata) == 0 {
		g.Metadata = nil
	}
	for _, r := range g.Routes {
		if len(r.Metadata) == 0 {
			r.Metadata = nil
		}
	}
}

func TestToGatewayRefuses(t *testing.T) {
	for _, tt := range []struct {
		name   string
		change func(*controlpb.Gateway)
		field  string
	}{
		{"a gateway without name", func(m *controlpb.Gateway) { m.Name = "" }, "name"},
		{"a word of the future", func(m *controlpb.Gateway) { m.Split = 7 }, "split"},
		{"a word below all", func(m *controlpb.Gateway) { m.Sticky = -1 }, "sticky"},
		{"a word of the future in a route", func(m *controlpb.Gateway) { m.Routes[1].Protocol = 99 }, "routes[1].protocol"},
		{"a word of the future in a rate", func(m *controlpb.Gateway) { m.Load.Rates[2].Key.Source = 99 }, "load.rates[2].key.source"},
		{"a port above all", func(m *controlpb.Gateway) { m.Service.Port.Number = 65536 }, "service.port.number"},
		{"a weight above 100 %", func(m *controlpb.Gateway) { m.Routes[0].WeightCp = 10_001 }, "routes[0].weight_cp"},
		{"a negative time", func(m *controlpb.Gateway) { m.Health.EveryNs = -1 }, "health.every_ns"},
		{"a time that is a loop", func(m *controlpb.Gateway) { m.Health.EveryNs = 1 }, "health.every_ns"},
		{"a time for ever where there is none", func(m *controlpb.Gateway) { m.Timeouts.IdleNs = 1<<63 - 1 }, "timeouts.idle_ns"},
		{"a check without interval", func(m *controlpb.Gateway) { m.Health.EveryNs = 0 }, "health.every_ns"},
		{"a rate without window", func(m *controlpb.Gateway) { m.Limits.MinRate.WindowNs = 0 }, "limits.min_rate.window_ns"},
		{"a fifth rate", func(m *controlpb.Gateway) { m.Load.Rates = append(m.Load.Rates, m.Load.Rates[0]) }, "load.rates"},
		{"an address that is none", func(m *controlpb.Gateway) { m.Routes[1].Instances[1].Address = "shop" }, "routes[1].instances[1].address"},
		{"an instance without port", func(m *controlpb.Gateway) { m.Routes[0].Instances[0].Port = 0 }, "routes[0].instances[0].port"},
		{"a time after all", func(m *controlpb.Gateway) { m.Routes[0].Instances[0].Since.Seconds = 1 << 60 }, "routes[0].instances[0].since"},
		{"a network that is none", func(m *controlpb.Gateway) { m.ProxyFrom[1] = "10.0.0.0" }, "proxy_from[1]"},
		{"a network with host bits", func(m *controlpb.Gateway) { m.ProxyFrom[0] = "10.0.0.1/8" }, "proxy_from[0]"},
		{"an old TLS", func(m *controlpb.Gateway) { m.Tls.MinVersion = tls.VersionTLS11 }, "tls.min_version"},
		{"statuses out of bounds", func(m *controlpb.Gateway) { m.Health.Status[0] = &controlpb.Range{From: 1, To: 1 << 31} }, "health.status[0]"},
		{"statuses out of order", func(m *controlpb.Gateway) { slices.Reverse(m.Health.Status) }, "health.status[1]"},
		{"statuses that touch", func(m *controlpb.Gateway) {
			m.Ejection.Statuses = []*controlpb.Range{{From: 500, To: 502}, {From: 503, To: 504}}
		}, "ejection.statuses[1]"},
		{"an empty method", func(m *controlpb.Gateway) { m.Routes[0].Retries.Methods[3] = "" }, "routes[0].retries.methods[3]"},
		{"a breaker without time to count in", func(m *controlpb.Gateway) {
			m.Load.Breaker = &controlpb.Breaker{ErrorsCp: 1, AtLeast: 1, OpenForNs: 1e9, Trials: 1}
		}, "load.breaker.over_ns"},
		{"a preference without share", func(m *controlpb.Gateway) { m.Locality.EnoughCp = 0 }, "locality.enough_cp"},
		{"a retried status that is a success", func(m *controlpb.Gateway) { m.Routes[0].Retries.Statuses[0].From = 200 }, "routes[0].retries.statuses[0]"},
		{"another status for no route", func(m *controlpb.Gateway) { m.NoRoute = 200 }, "no_route"},
		{"a key of metadata twice", func(m *controlpb.Gateway) { m.Metadata[1] = m.Metadata[0] }, "metadata[1].key"},
		{"a value of metadata of no kind", func(m *controlpb.Gateway) { m.Metadata[0].Value = nil }, "metadata[0].value"},
		{"metadata without bottom", func(m *controlpb.Gateway) {
			v := &controlpb.Value{}
			for range 10_000 {
				v = &controlpb.Value{Kind: &controlpb.Value_List{List: &controlpb.Values{Values: []*controlpb.Value{v}}}}
			}
			m.Metadata[0].Value = v
		}, "metadata[0].value.list.values[0]"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			m, err := wire.FromGateway(full(t))
			if err != nil {
				t.Fatal(err)
			}
			tt.change(m)
			g, err := wire.ToGateway(m)
			if g != nil || err == nil {
				t.Fatalf("ToGateway = %v, %v", g, err)
			}
			joined, ok := err.(interface{ Unwrap() []error })
			if !ok {
				t.Fatalf("the error is a %T", err)
			}
			first, ok := joined.Unwrap()[0].(*wire.FieldError) //nolint:errorlint // the first one itself
			if !ok || !strings.HasPrefix(first.Field, tt.field) {
				t.Errorf("the error is %q, want one of %s", err, tt.field)
			}
		})
	}
}

func TestToGatewayBoundsItsFaults(t *testing.T) {
	m := &controlpb.Gateway{Name: "shop"}
	for range 10_000 {
		m.Routes = append(m.Routes, nil)
	}
	_, err := wire.ToGateway(m)
	if err == nil || strings.Count(err.Error(), "\n") != 99 {
		t.Errorf("the error has not 100 lines: %.200v", err)
	}
}

func TestFromGatewayRefusesForeignMetadata(t *testing.T) {
	g := &routing.Gateway{Name: "shop", Metadata: map[string]any{"a": []any{nil, struct{}{}}}}
	_, err := wire.FromGateway(g)
	if want := "metadata[0].value.list.values[1].value: a struct {} is no value of metadata"; err == nil || err.Error() != want {
		t.Errorf("FromGateway error = %v, want %s", err, want)
	}
}

// FuzzToGateway holds that no bytes make it panic, and that what it takes is
// what FromGateway gives back.
func FuzzToGateway(f *testing.F) {
	for _, table := range documents(f) {
		for _, g := range table.Gateways {
			m, err := wire.FromGateway(g)
			if err != nil {
				f.Fatal(err)
			}
			data, err := proto.Marshal(m)
			if err != nil {
				f.Fatal(err)
			}
			f.Add(data)
		}
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		var m controlpb.Gateway
		if proto.Unmarshal(data, &m) != nil {
			return
		}
		g, err := wire.ToGateway(&m)
		if err != nil {
			return
		}
		first, err := wire.FromGateway(g)
		if err != nil {
			t.Fatalf("what was read cannot be written: %v", err)
		}
		again, err := wire.ToGateway(first)
		if err != nil {
			t.Fatalf("what was written cannot be read: %v", err)
		}
		second, err := wire.FromGateway(again)
		if err != nil {
			t.Fatal(err)
		}
		one, err := wire.HashOf(first)
		if err != nil {
			t.Fatal(err)
		}
		if other, err := wire.HashOf(second); err != nil || one != other {
			t.Fatalf("the second form differs (%v):\n%v\n%v", err, first, second)
		}
		routing.Compile(nil, &routing.Table{Gateways: []*routing.Gateway{g}}, routing.CompileOptions{})
	})
}
