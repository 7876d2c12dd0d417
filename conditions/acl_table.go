// SPDX-License-Identifier: Apache-2.0

package conditions

import (
	"slices"
	"strconv"
	"strings"
)

// aclFetchSpec describes a fetch.
type aclFetchSpec struct {
	fetch  aclFetch
	names  []string // the canonical one first, which HAProxy knows, too
	yields aclType
	args   aclArgSpec
	// derived are the endings of its name that stand for a method in HAProxy.
	// Any fetch of texts may have any in ours.
	derived []string
}

// aclArgSpec says which arguments a fetch takes.
type aclArgSpec uint8

const (
	argsNone       aclArgSpec = iota
	argsField                 // name
	argsOccurrence            // name[,occurrence]
	argsCookie                // [name]
	argsAttribute             // [name[,occurrence]]
	argsParam                 // [name[,delimiter]]
	argsRange                 // [range]
	argsText                  // [text]
	argsInt                   // integer
	argsBool                  // boolean
)

var derivedAll = []string{"beg", "end", "sub", "dir", "dom", "reg", "len"}

var aclFetchSpecs = []aclFetchSpec{
	{fetchHdr, []string{"hdr", "req.hdr"}, aclText, argsOccurrence, derivedAll},
	{fetchFhdr, []string{"req.fhdr", "fhdr"}, aclText, argsOccurrence, nil},
	{fetchHdrCnt, []string{"hdr_cnt", "req.hdr_cnt"}, aclInt, argsField, nil},
	{fetchFhdrCnt, []string{"req.fhdr_cnt", "fhdr_cnt"}, aclInt, argsField, nil},
	{fetchHdrVal, []string{"hdr_val", "req.hdr_val"}, aclInt, argsOccurrence, nil},
	{fetchHdrIP, []string{"hdr_ip", "req.hdr_ip"}, aclIP, argsOccurrence, nil},
	{fetchCook, []string{"cook", "req.cook"}, aclText, argsCookie, derivedAll},
	{fetchCookCnt, []string{"cook_cnt", "req.cook_cnt"}, aclInt, argsCookie, nil},
	{fetchCookVal, []string{"cook_val", "req.cook_val"}, aclInt, argsCookie, nil},
	{fetchPath, []string{"path"}, aclText, argsNone, derivedAll},
	{fetchPathq, []string{"pathq"}, aclText, argsNone, nil},
	{fetchURL, []string{"url"}, aclText, argsNone, derivedAll},
	{fetchQuery, []string{"query"}, aclText, argsNone, nil},
	{fetchParam, []string{"urlp", "url_param"}, aclText, argsParam, derivedAll},
	{fetchParamVal, []string{"urlp_val", "url_param_val"}, aclInt, argsParam, nil},
	{fetchBase, []string{"base"}, aclText, argsNone, derivedAll},
	{fetchBaseq, []string{"baseq"}, aclText, argsNone, nil},
	{fetchMethod, []string{"method"}, aclVerb, argsNone, nil},
	{fetchSrc, []string{"src"}, aclIP, argsNone, nil},
	{fetchSrcPort, []string{"src_port"}, aclInt, argsNone, nil},
	{fetchDst, []string{"dst"}, aclIP, argsNone, nil},
	{fetchDstPort, []string{"dst_port"}, aclInt, argsNone, nil},
	{fetchTLS, []string{"ssl_fc"}, aclBool, argsNone, nil},
	{fetchSNI, []string{"ssl_fc_sni"}, aclText, argsNone, []string{"end", "reg"}},
	{fetchALPN, []string{"ssl_fc_alpn"}, aclText, argsNone, nil},
	{fetchProtocol, []string{"ssl_fc_protocol"}, aclText, argsNone, nil},
	{fetchClientUsed, []string{"ssl_c_used"}, aclBool, argsNone, nil},
	{fetchClientVerify, []string{"ssl_c_verify"}, aclInt, argsNone, nil},
	{fetchClientSubject, []string{"ssl_c_s_dn"}, aclText, argsAttribute, nil},
	{fetchHelloType, []string{"req.ssl_hello_type", "req_ssl_hello_type"}, aclInt, argsNone, nil},
	{fetchHelloSNI, []string{"req.ssl_sni", "req_ssl_sni"}, aclText, argsNone, nil},
	{fetchHelloALPN, []string{"req.ssl_alpn"}, aclText, argsNone, nil},
	{fetchRand, []string{"rand"}, aclInt, argsRange, nil},
	{fetchBool, []string{"always_true"}, aclBool, argsNone, nil},
	{fetchBool, []string{"always_false"}, aclBool, argsNone, nil},
	{fetchText, []string{"str"}, aclText, argsText, nil},
	{fetchInt, []string{"int"}, aclInt, argsInt, nil},
	{fetchBool, []string{"bool"}, aclBool, argsBool, nil},
}

// aclFetchNames finds a fetch by any of its names.
var aclFetchNames = func() map[string]*aclFetchSpec {
	m := make(map[string]*aclFetchSpec)
	for i := range aclFetchSpecs {
		for _, name := range aclFetchSpecs[i].names {
			m[name] = &aclFetchSpecs[i]
		}
	}
	return m
}()

// findACLFetch finds a fetch by its name, which may end in an underscore and
// a method.
func findACLFetch(name string) (spec *aclFetchSpec, suffix string, ok bool) {
	if spec, ok = aclFetchNames[name]; ok {
		return spec, "", true
	}
	i := strings.LastIndexByte(name, '_')
	if i < 0 {
		return nil, "", false
	}
	spec, ok = aclFetchNames[name[:i]]
	suffix = name[i+1:]
	if !ok || spec.yields != aclText || suffix != "str" && !slices.Contains(derivedAll, suffix) {
		return nil, "", false
	}
	return spec, suffix, true
}

func methodNamed(name string) aclMethod {
	return aclMethod(slices.Index(aclMethodNames[:], name))
}

// method returns how samples of a type are matched if nothing else is said;
// false if it has to be said.
func (t aclType) method() (aclMethod, bool) {
	switch t {
	case aclInt:
		return matchInt, true
	case aclBool:
		return matchBool, true
	case aclIP:
		return matchIP, true
	case aclVerb:
		return matchVerb, true
	default:
		return matchStr, t != aclBytes
	}
}

// matchable reports whether a method can match samples of a type, after the
// table in section 7.1 of HAProxy's manual.
func (t aclType) matchable(m aclMethod) bool {
	switch m {
	case matchInt, matchBool:
		return t == aclInt || t == aclBool || t == aclText || t == aclIP && m == matchInt
	case matchIP:
		return t == aclIP || t == aclText
	case matchBin:
		return t == aclText || t == aclBytes
	default:
		return true
	}
}

// aclConverterSpec describes a converter.
type aclConverterSpec struct {
	do     aclConverter
	name   string
	yields aclType
	args   aclConverterArgs
}

// aclConverterArgs says which arguments a converter takes.
type aclConverterArgs uint8

const (
	convertsAlone     aclConverterArgs = iota
	convertsForm                       // [integer]
	convertsBytes                      // offset[,length]
	convertsDelimited                  // index,delimiters[,count]
	convertsNumber                     // integer
)

var aclConverterSpecs = []aclConverterSpec{
	{convertLower, "lower", aclText, convertsAlone},
	{convertUpper, "upper", aclText, convertsAlone},
	{convertURLDec, "url_dec", aclText, convertsForm},
	{convertLength, "length", aclInt, convertsAlone},
	{convertBytes, "bytes", aclBytes, convertsBytes},
	{convertField, "field", aclText, convertsDelimited},
	{convertWord, "word", aclText, convertsDelimited},
	{convertAdd, "add", aclInt, convertsNumber},
	{convertSub, "sub", aclInt, convertsNumber},
	{convertMul, "mul", aclInt, convertsNumber},
	{convertDiv, "div", aclInt, convertsNumber},
	{convertMod, "mod", aclInt, convertsNumber},
	{convertAnd, "and", aclInt, convertsNumber},
	{convertOr, "or", aclInt, convertsNumber},
	{convertXor, "xor", aclInt, convertsNumber},
	{convertCpl, "cpl", aclInt, convertsAlone},
	{convertNeg, "neg", aclInt, convertsAlone},
	{convertOdd, "odd", aclBool, convertsAlone},
	{convertEven, "even", aclBool, convertsAlone},
	{convertNot, "not", aclBool, convertsAlone},
	{convertBool, "bool", aclBool, convertsAlone},
}

func findACLConverter(name string) *aclConverterSpec {
	i := slices.IndexFunc(aclConverterSpecs, func(s aclConverterSpec) bool { return s.name == name })
	if i < 0 {
		return nil
	}
	return &aclConverterSpecs[i]
}

// takes reports whether samples of a type can be converted.
func (s *aclConverterSpec) takes(t aclType) bool {
	switch {
	case s.do == convertBytes:
		return t == aclText || t == aclBytes || t == aclVerb
	case s.do >= convertAdd:
		return t != aclBytes && t != aclVerb
	default:
		return true
	}
}

// aclPredefined are the predefined tests, and what they are short for
// (section 7.4 of HAProxy's manual). Those that ask what is not known here
// are short for nothing.
var aclPredefined = map[string]string{
	"FALSE":          "always_false",
	"HTTP":           "method -m found",
	"HTTP_1.0":       "",
	"HTTP_1.1":       "",
	"HTTP_2.0":       "",
	"HTTP_CONTENT":   "hdr_val(content-length) gt 0",
	"HTTP_URL_ABS":   "url_reg ^[^/:]*://",
	"HTTP_URL_SLASH": "url_beg /",
	"HTTP_URL_STAR":  "url *",
	"LOCALHOST":      "src 127.0.0.1/8 ::1",
	"METH_CONNECT":   "method CONNECT",
	"METH_DELETE":    "method DELETE",
	"METH_GET":       "method GET HEAD",
	"METH_HEAD":      "method HEAD",
	"METH_OPTIONS":   "method OPTIONS",
	"METH_POST":      "method POST",
	"METH_PUT":       "method PUT",
	"METH_TRACE":     "method TRACE",
	"RDP_COOKIE":     "",
	"REQ_CONTENT":    "",
	"TRUE":           "always_true",
	"WAIT_END":       "always_true",
}

func (t *aclTest) formatCalls(spec *aclFetchSpec) string {
	var b strings.Builder
	writeCall(&b, t.formatArgs(spec.args))
	for i := range t.steps {
		step := &t.steps[i]
		s := aclConverterSpecs[slices.IndexFunc(aclConverterSpecs, func(s aclConverterSpec) bool { return s.do == step.do })]
		b.WriteString("," + s.name)
		writeCall(&b, step.formatArgs(s.args))
	}
	return b.String()
}

func writeCall(b *strings.Builder, args []string) {
	if len(args) == 0 {
		return
	}
	for i, arg := range args {
		args[i] = quoteACLArg(arg)
	}
	b.WriteString("(" + strings.Join(args, ",") + ")")
}

// formatArgs returns the arguments of a fetch, without those that are at
// their defaults.
func (t *aclTest) formatArgs(spec aclArgSpec) []string {
	number := strconv.FormatInt(t.number, 10)
	switch spec {
	case argsField, argsCookie, argsText, argsOccurrence, argsAttribute, argsParam:
		switch {
		case (spec == argsOccurrence || spec == argsAttribute) && t.number != 0:
			return []string{t.arg, number}
		case spec == argsParam && t.delimiter != '?':
			return []string{t.arg, string(rune(t.delimiter))}
		case t.arg == "":
			return nil
		}
		return []string{t.arg}
	case argsRange:
		if t.number == 1<<32 {
			return nil
		}
		return []string{number}
	case argsInt, argsBool:
		return []string{number}
	default:
		return nil
	}
}

// formatArgs returns the arguments of a converter, likewise.
func (p *aclStep) formatArgs(spec aclConverterArgs) []string {
	n, m := strconv.FormatInt(p.n, 10), strconv.FormatInt(p.m, 10)
	switch spec {
	case convertsForm:
		if p.n == 0 {
			return nil
		}
		return []string{"1"}
	case convertsBytes:
		if p.m == maxInt64 {
			return []string{n}
		}
		return []string{n, m}
	case convertsDelimited:
		if p.m == 1 {
			return []string{n, p.delims}
		}
		return []string{n, p.delims, m}
	case convertsNumber:
		return []string{n}
	default:
		return nil
	}
}

// formatTest returns the canonical form of a test.
func (t *aclTest) formatTest() string {
	spec := t.spec()
	standard, _ := t.yields(spec).method()
	var b strings.Builder
	flag := ""
	if t.method != standard {
		flag = " -m " + t.method.String()
	}
	name := spec.names[0]
	if flag != "" && len(t.steps) == 0 && slices.Contains(spec.derived, t.method.String()) {
		name, flag = name+"_"+t.method.String(), ""
	}
	b.WriteString(quoteACLWord(name + t.formatCalls(spec)))
	if t.fold {
		b.WriteString(" -i")
	}
	if t.yields(spec) == aclBytes && flag == "" {
		flag = " -m str"
	}
	b.WriteString(flag)
	for i := range t.values {
		if i == 0 && strings.HasPrefix(t.values[i].text, "-") {
			b.WriteString(" --")
		}
		b.WriteString(" " + t.values[i].written)
	}
	return b.String()
}

// spec finds the fetch of a test again. Constants share one.
func (t *aclTest) spec() *aclFetchSpec {
	if t.fetch == fetchBool {
		if t.number == 0 {
			return aclFetchNames["always_false"]
		}
		return aclFetchNames["always_true"]
	}
	i := slices.IndexFunc(aclFetchSpecs, func(s aclFetchSpec) bool { return s.fetch == t.fetch })
	return &aclFetchSpecs[i]
}

// yields returns the type of what is matched.
func (t *aclTest) yields(spec *aclFetchSpec) aclType {
	if len(t.steps) == 0 {
		return spec.yields
	}
	last := t.steps[len(t.steps)-1].do
	i := slices.IndexFunc(aclConverterSpecs, func(s aclConverterSpec) bool { return s.do == last })
	return aclConverterSpecs[i].yields
}
