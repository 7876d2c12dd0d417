// SPDX-License-Identifier: Apache-2.0

package conditions

import (
	"slices"
	"strconv"
	"strings"
)

// This file words what is wrong with names in an ACL, and what is known
// instead.

const (
	notOfCertificates = "of client certificates the subject, and whether they are verified, are known to conditions; other names are asked by: client san"

	allowedACLs     = "a test is FETCH [FLAGS] VALUES, such as: hdr_sub(user-agent) Android"
	allowedACLTerms = "tests stand in braces, with white space around these: { TEST } or !{ TEST }"
)

// aclElsewhere are fetches and other names that HAProxy knows and we do not,
// with the reason.
var aclElsewhere = map[string]string{
	"req.ver":        "the version of HTTP is not known to conditions",
	"req_ver":        "the version of HTTP is not known to conditions",
	"req.hdr_names":  "conditions look fields up by name",
	"req.hdrs":       "conditions look fields up by name",
	"req.hdrs_bin":   "conditions look fields up by name",
	"req.body":       "conditions do not wait for bodies",
	"req.body_len":   "conditions do not wait for bodies",
	"req.body_size":  "conditions do not wait for bodies",
	"http_auth":      "there are no lists of users",
	"nbsrv":          "conditions see the request, not the servers",
	"var":            "there are no variables",
	"env":            "conditions do not see the environment",
	"http_first_req": "conditions see one request, not those before it",
	"src_conn_rate":  "there are no stick tables",
	"sc0_conn_rate":  "there are no stick tables",
	"url_ip":         "targets hardly ever hold an address",
	"url_port":       "targets hardly ever hold a port",
	"req.proto_http": "all requests are HTTP",
	"ssl_fc_has_crt": "use ssl_c_used",
	"ssl_c_i_dn":     notOfCertificates,
	"ssl_c_serial":   notOfCertificates,
	"ssl_c_sha1":     notOfCertificates,
	"ssl_c_der":      notOfCertificates,
	"ssl_c_err":      notOfCertificates,
	"ssl_c_ca_err":   notOfCertificates,
	"ssl_c_notafter": notOfCertificates,
	"ssl_c_version":  notOfCertificates,
	"ssl_fc_cipher":  "the cipher is not known to conditions",
	"ssl_fc_has_sni": "use ssl_fc_sni -m found",
	"ssl_bc":         "conditions see the client, not the server",
	"req.ssl_ver":    "use ssl_fc_protocol where TLS ends here",
	"req_ssl_ver":    "use ssl_fc_protocol where TLS ends here",
	"req.ssl_ec_ext": "the extensions of a ClientHello but server name and protocols are not known to conditions",
	"req.ssl_st_ext": "the extensions of a ClientHello but server name and protocols are not known to conditions",
	"status":         "conditions see the request, not the answer",
	"res.hdr":        "conditions see the request, not the answer",
	"shdr":           "conditions see the request, not the answer",
	"res.cook":       "conditions see the request, not the answer",
	"scook":          "conditions see the request, not the answer",
	"req.len":        "conditions see the request, not the buffer",
	"req.payload":    "conditions see the request, not the buffer",
	"date":           "conditions do not see the clock",
	"hostname":       "conditions see the request, not the process",
	"base32":         "hashes are not supported",
	"url32":          "hashes are not supported",
}

// looksLikeACL reports whether a text that is refused was meant to be an ACL:
// its first word is a fetch that we or HAProxy know, or nearly one, or what
// only ACLs start with.
func looksLikeACL(text string) bool {
	text = strings.TrimLeft(text, " \t\r\n\f!")
	if strings.HasPrefix(text, "{") {
		return true
	}
	end := strings.IndexAny(text, " \t\r\n\f")
	if end < 0 {
		end = len(text)
	}
	if _, ok := aclPredefined[text[:end]]; ok || isLikePredefined(text[:end]) {
		return true
	}
	name, called, _ := strings.Cut(text[:end], "(")
	name, _, _ = strings.Cut(name, ",")
	if _, _, ok := findACLFetch(name); ok {
		return true
	}
	if isElsewhere(name) {
		return true
	}
	return len(name) > 2 && (called != "" || strings.ContainsAny(name, "._")) && nearest(name, fetchNames()) != ""
}

// isElsewhere reports whether HAProxy knows a fetch called name, or one of
// which it is derived, that we do not.
func isElsewhere(name string) bool {
	if _, ok := aclElsewhere[name]; ok {
		return true
	}
	i := strings.LastIndexByte(name, '_')
	return i > 0 && aclElsewhere[name[:i]] != ""
}

// fetchNames returns the names of all fetches, derived ones included.
func fetchNames() []string {
	var names []string
	for i := range aclFetchSpecs {
		spec := &aclFetchSpecs[i]
		names = append(names, spec.names...)
		if spec.yields == aclText {
			for _, name := range spec.names {
				for _, suffix := range derivedAll {
					names = append(names, name+"_"+suffix)
				}
			}
		}
	}
	return names
}

func (p *aclParser) unknownFetch(w *aclWord, name string) *SyntaxError {
	known := make([]string, len(aclFetchSpecs))
	for i := range aclFetchSpecs {
		known[i] = aclFetchSpecs[i].names[0]
	}
	problem := "unknown fetch " + quoteShort(name)
	if name == "" {
		problem = "a fetch is missing"
	}
	reason := aclElsewhere[name]
	if i := strings.LastIndexByte(name, '_'); reason == "" && i > 0 {
		reason = aclElsewhere[name[:i]]
	}
	if reason != "" {
		return p.fail(w, 0, "the fetch "+quoteShort(name)+" is not supported: "+reason, "known are "+strings.Join(known, ", "))
	}
	return p.fail(w, 0, problem+didYouMean(name, fetchNames()),
		"known are "+strings.Join(known, ", ")+", those of texts also with "+endings())
}

func endings() string { return "_" + strings.Join(derivedAll, ", _") }

func (p *aclParser) unknownConverter(w *aclWord, i int, name string) *SyntaxError {
	return p.fail(w, i, "unknown converter "+quoteShort(name)+didYouMean(name, converterNames()), allowedConverters())
}

func converterNames() []string {
	names := make([]string, len(aclConverterSpecs))
	for i := range aclConverterSpecs {
		names[i] = aclConverterSpecs[i].name
	}
	return names
}

func allowedConverters() string { return "known are " + strings.Join(converterNames(), ", ") }

func (p *aclParser) unknownMethod(w *aclWord) *SyntaxError {
	return p.fail(w, 0, "unknown method "+quoteShort(w.text)+didYouMean(w.text, aclMethodNames[:]), allowedMethods())
}

func allowedMethods() string { return "known are " + strings.Join(aclMethodNames[:], ", ") }

func (p *aclParser) unknownFlag(w *aclWord) *SyntaxError {
	const allowed = "known are -i, -n, -m METHOD, and -- before values that start with a minus"
	switch w.text {
	case "-f":
		return p.fail(w, 0, "-f is not supported: conditions read no files", "write the values down")
	case "-M":
		return p.fail(w, 0, "-M is not supported: conditions read no files", "write the values down")
	case "-u":
		return p.fail(w, 0, "-u is not supported: tests have no numbers", "leave it out")
	}
	return p.fail(w, 0, "unknown flag "+quoteShort(w.text), allowed)
}

// noTerm explains why byte i of a word starts no term of a condition.
func (p *aclParser) noTerm(w *aclWord, i int) *SyntaxError {
	name := w.text[i:]
	if _, ok := aclPredefined[name]; ok {
		return p.fail(w, i, strconv.Quote(name)+" is not supported: it asks what conditions do not know", allowedPredefined())
	}
	switch {
	case name[0] == '{':
		return p.fail(w, i, `white space is missing after "{"`, allowedACLTerms)
	case name[0] == '}':
		return p.fail(w, i, `"}" closes nothing`, allowedACLTerms)
	case name == "&&" || strings.EqualFold(name, "and"):
		return p.fail(w, i, "there is no "+strconv.Quote(name)+": tests side by side all have to hold", "remove it")
	}
	call, _, _ := strings.Cut(name, "(")
	if _, _, ok := findACLFetch(call); ok {
		return p.fail(w, i, "a test that is negated or joined stands in braces", "write: { "+name+" ... }")
	}
	return p.fail(w, i, "unknown predefined test "+quoteShort(name)+didYouMean(name, predefinedNames()), allowedPredefined())
}

// predefinedNames returns the names of the predefined tests that we have.
func predefinedNames() []string {
	var names []string
	for name, text := range aclPredefined {
		if text != "" {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return names
}

// isLikePredefined reports whether a word is nearly the name of a predefined
// test. These alone are in upper case.
func isLikePredefined(word string) bool {
	return strings.ToUpper(word) == word && nearest(word, predefinedNames()) != ""
}

func allowedPredefined() string {
	return "known are " + strings.Join(predefinedNames(), ", ") + "; other tests stand in braces: { TEST }"
}

// quoteShort quotes a word, the end of a long one left out.
func quoteShort(s string) string {
	const longest = 40
	if len(s) > longest {
		s = s[:longest] + "..."
	}
	return strconv.Quote(s)
}

// didYouMean suggests the known name that is most like a wrong one; empty if
// none is.
func didYouMean(name string, known []string) string {
	if like := nearest(name, known); like != "" {
		return "; did you mean " + strconv.Quote(like) + "?"
	}
	return ""
}

// nearest returns the known name to which the fewest changes of a character
// lead, up to a third of the characters and up to two; empty if there is none.
func nearest(name string, known []string) string {
	best, bestDistance := "", min(2, len(name)/3)+1
	if len(name) > 64 {
		return ""
	}
	for _, k := range known {
		if d := editDistance(strings.ToLower(name), strings.ToLower(k)); d < bestDistance {
			best, bestDistance = k, d
		}
	}
	return best
}

// editDistance counts the characters to insert, remove, replace or swap with
// their neighbour to come from a to b.
func editDistance(a, b string) int {
	before, last, row := []int(nil), make([]int, len(b)+1), make([]int, len(b)+1)
	for j := range last {
		last[j] = j
	}
	for i := 1; i <= len(a); i++ {
		row[0] = i
		for j := 1; j <= len(b); j++ {
			cost := 1
			if a[i-1] == b[j-1] {
				cost = 0
			}
			row[j] = min(row[j-1]+1, last[j]+1, last[j-1]+cost)
			if i > 1 && j > 1 && a[i-1] == b[j-2] && a[i-2] == b[j-1] {
				row[j] = min(row[j], before[j-2]+1)
			}
		}
		before, last, row = last, row, make([]int, len(b)+1)
	}
	return last[len(b)]
}
