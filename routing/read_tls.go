// SPDX-License-Identifier: Apache-2.0

package routing

import (
	"crypto/tls"
	"fmt"
	"path/filepath"
	"strconv"
	"strings"
	"time"
	"unicode"
)

const (
	maxCertificates = 100     // of one gateway
	maxFileName     = 4 << 10 // bytes
	maxHSTS         = 10 * 365 * day
	preloadAge      = 365 * day // the least that lists of browsers take
	day             = 24 * time.Hour

	listenTLSAllowed  = "a map with certificates is allowed, such as {certificates: {certificate: shop.crt, key: shop.key}}"
	dialTLSAllowed    = "a map, or on for the map with its defaults, is allowed"
	pairsAllowed      = "a map of certificate and key is allowed, or a list of up to 100"
	fileAllowed       = "the name of a PEM file is allowed, absolute or below the directory of certificates"
	minVersionAllowed = `"1.2" or "1.3" is allowed`
	serverNameAllowed = "a host name or an IP address is allowed, such as shop.internal"
	hstsAllowed       = "a time from 0s to 3650d is allowed, such as 365d, or a map of max_age, subdomains and preload, or none"
	maxAgeAllowed     = "a time in whole seconds from 0s to 3650d is allowed, such as 365d or 1h30m"
)

// listenTLS reads how a gateway speaks TLS. Settings that need http are noted
// in only.
func (r *reader) listenTLS(v *value, path string, only *httpOnly) *ListenTLS {
	if v.kind != mapValue {
		if !r.pem(v, path) {
			r.wrongType(codeUnexpectedType, v, path, listenTLSAllowed)
		}
		return nil
	}
	t := &ListenTLS{MinVersion: tls.VersionTLS12}
	r.fields(SectionTLS, v, path, func(e entry, path string) {
		switch e.key {
		case "certificates":
			t.Certificates = r.keyPairs(e.value, path)
		case "min_version":
			t.MinVersion = r.minVersion(e.value, path)
		case "client_auth":
			t.ClientAuth = r.clientAuth(e.value, path)
		case "client_ca":
			t.ClientCA = r.file(e.value, path)
		case "plain":
			only.note(e.place, path)
			t.Plain = r.plainHTTP(e.value, path)
		case "hsts":
			only.note(e.place, path)
			t.HSTS = r.hsts(e.value, path)
		}
	})
	if v.get("certificates") == nil {
		r.refuse(codeMissing, v.place, under(path, "certificates"), "the certificates are missing", pairsAllowed)
	}
	r.checkClientCA(t, v, path)
	return t
}

// checkClientCA sees that who vouches for clients is named where they are
// asked for certificates, and only there.
func (r *reader) checkClientCA(t *ListenTLS, v *value, path string) {
	ca := v.get("client_ca")
	switch {
	case t.ClientAuth != ClientAuthNone && ca == nil:
		r.refuse(codeMissing, v.get("client_auth").place, under(path, "client_ca"),
			"client_auth is "+t.ClientAuth.String()+", and nothing says who vouches for clients", fileAllowed)
	case t.ClientAuth == ClientAuthNone && ca != nil:
		r.warn(codeIgnoredKey, ca.place, under(path, "client_ca"),
			"the key has no effect while client_auth is none: clients are not asked for certificates", "write client_auth: optional or required")
		t.ClientCA = ""
	}
}

// keyPairs reads a pair of files, or a list of them.
func (r *reader) keyPairs(v *value, path string) []KeyPair {
	var pairs []KeyPair
	r.each(v, path, func(v *value, path string) {
		switch {
		case v.kind == mapValue:
			pairs = append(pairs, r.keyPair(v, path))
		case v.kind == textValue && strings.HasPrefix(v.text, secretScheme):
			// A Secret has both.
			secret := r.file(v, path)
			pairs = append(pairs, KeyPair{Certificate: secret, Key: secret})
		case !r.pem(v, path):
			r.wrongType(codeUnexpectedType, v, path, pairsAllowed)
		}
	})
	switch {
	case v.kind == listValue && len(v.items) == 0:
		r.refuse(codeMissing, v.place, path, "the list is empty", pairsAllowed)
	case len(pairs) > maxCertificates:
		r.refuse(codeBound, v.place, path, fmt.Sprintf("there are %d certificates", len(pairs)), pairsAllowed)
	}
	return pairs
}

func (r *reader) keyPair(v *value, path string) KeyPair {
	var pair KeyPair
	r.fields(SectionKeyPair, v, path, func(e entry, path string) {
		switch e.key {
		case "certificate":
			pair.Certificate = r.file(e.value, path)
		case "key":
			pair.Key = r.file(e.value, path)
		}
	})
	for _, key := range []string{"certificate", "key"} {
		if v.get(key) == nil {
			r.refuse(codeMissing, v.place, under(path, key), "the "+key+" is missing", fileAllowed)
		}
	}
	return pair
}

// file reads the name of a PEM file.
func (r *reader) file(v *value, path string) string {
	if r.pem(v, path) {
		return ""
	}
	text, ok := r.text(v, path, fileAllowed)
	switch {
	case !ok:
	case strings.HasPrefix(text, secretScheme):
		if r.secretFile(v, text, path) {
			return text
		}
	case r.within != "":
		// Files of the proxy are not of the namespace: keys of others are among them.
		r.refuse(codeForeignSecret, v.place, path, quote(text)+" is a file of the proxy",
			"what stands in an object of a cluster may name Secrets of its namespace, secret:"+r.within+"/NAME")
	case text == "" || strings.ContainsFunc(text, unicode.IsControl):
		r.refuse(codeUnexpectedType, v.place, path, quote(text)+" is no name of a file", fileAllowed)
	case len(text) > maxFileName:
		r.refuse(codeBound, v.place, path, fmt.Sprintf("the name has %d bytes", len(text)), "at most "+formatSize(maxFileName)+" are allowed")
	case !filepath.IsAbs(text) && !filepath.IsLocal(text):
		r.refuse(codeUnexpectedType, v.place, path, quote(text)+" leads out of the directory of certificates", fileAllowed)
	default:
		return text
	}
	return ""
}

// pem refuses the content of a PEM file where its name belongs, without
// repeating it: it may be a key.
func (r *reader) pem(v *value, path string) bool {
	if v.kind != textValue || !strings.Contains(v.text, "-----BEGIN") {
		return false
	}
	r.refuse(codeUnexpectedType, v.place, path, "the content of a PEM file stands here", "only the name of the file is allowed; keys do not belong into gateways")
	return true
}

func (r *reader) minVersion(v *value, path string) uint16 {
	switch {
	case v.scalar() && v.text == "1.2":
		return tls.VersionTLS12
	case v.scalar() && v.text == "1.3":
		return tls.VersionTLS13
	case v.scalar() && (v.text == "1.0" || v.text == "1.1" || v.text == "1"):
		r.refuse(codeBound, v.place, path, "TLS "+v.raw+" is not safe any more (RFC 8996)", minVersionAllowed)
	default:
		r.wrongType(codeUnexpectedType, v, path, minVersionAllowed)
	}
	return tls.VersionTLS12
}

func (r *reader) clientAuth(v *value, path string) ClientAuth {
	switch r.choice(v, path, "none", "optional", "required") {
	case "optional":
		return ClientAuthOptional
	case "required":
		return ClientAuthRequired
	default:
		return ClientAuthNone
	}
}

func (r *reader) plainHTTP(v *value, path string) PlainHTTP {
	switch r.choice(v, path, "redirect", "serve", "refuse") {
	case "serve":
		return PlainServe
	case "refuse":
		return PlainRefuse
	default:
		return PlainRedirect
	}
}

// hsts reads what Strict-Transport-Security says: a time, a map, or none.
func (r *reader) hsts(v *value, path string) string {
	switch {
	case v.kind == textValue && v.text == "none":
		return ""
	case v.kind != mapValue:
		age, ok := r.maxAge(v, path, hstsAllowed)
		return hstsValue(age, ok, false, false)
	}
	var age time.Duration
	var read, subdomains, preload bool
	r.fields(SectionHSTS, v, path, func(e entry, path string) {
		switch e.key {
		case "max_age":
			age, read = r.maxAge(e.value, path, maxAgeAllowed)
		case "subdomains":
			subdomains = r.flag(e.value, path)
		case "preload":
			preload = r.flag(e.value, path)
		}
	})
	if v.get("max_age") == nil {
		r.refuse(codeMissing, v.place, under(path, "max_age"), "the time is missing", maxAgeAllowed)
	}
	if preload && read && (!subdomains || age < preloadAge) {
		r.warn(codeHSTSPreload, v.get("preload").place, under(path, "preload"), "no browser takes the name up into its list",
			"with preload, subdomains: true and a max_age of at least 365d are needed")
	}
	return hstsValue(age, read, subdomains, preload)
}

func hstsValue(age time.Duration, read, subdomains, preload bool) string {
	if !read {
		return ""
	}
	text := "max-age=" + strconv.FormatInt(int64(age/time.Second), 10)
	if subdomains {
		text += "; includeSubDomains"
	}
	if preload {
		text += "; preload"
	}
	return text
}

// maxAge reads a time in whole seconds, which may be written in days.
func (r *reader) maxAge(v *value, path, allowed string) (time.Duration, bool) {
	if v.kind != textValue {
		if v.kind == integerValue && isDigits(v.raw, 9) {
			allowed = "did you mean " + v.raw + "s? " + allowed
		}
		r.wrongType(codeUnexpectedType, v, path, allowed)
		return 0, false
	}
	d, err := time.ParseDuration(v.text)
	if days, ok := strings.CutSuffix(v.text, "d"); ok && isDigits(days, 5) {
		n, _ := strconv.Atoi(days)
		d, err = time.Duration(n)*day, nil
	}
	switch {
	case err != nil:
		r.refuse(codeUnexpectedType, v.place, path, quote(v.text)+" is no time", allowed)
	case d < 0 || d > maxHSTS || d%time.Second != 0:
		r.refuse(codeBound, v.place, path, shorten(v.text)+" is out of bounds", allowed)
	default:
		return d, true
	}
	return 0, false
}

// dialTLS reads how a route speaks TLS to its instances; nil if it does not.
func (r *reader) dialTLS(v *value, path string) *DialTLS {
	t := &DialTLS{MinVersion: tls.VersionTLS12}
	switch {
	case v.kind == booleanValue && v.text == "true":
		return t
	case v.kind == booleanValue:
		return nil
	case v.kind != mapValue:
		if !r.pem(v, path) {
			r.wrongType(codeUnexpectedType, v, path, dialTLSAllowed)
		}
		return nil
	}
	r.fields(SectionRouteTLS, v, path, func(e entry, path string) {
		switch e.key {
		case "ca":
			t.CA = r.file(e.value, path)
		case "name":
			t.Name = r.serverName(e.value, path)
		case "certificate":
			t.KeyPair.Certificate = r.file(e.value, path)
		case "key":
			t.KeyPair.Key = r.file(e.value, path)
		case "verify":
			t.SkipVerify = !r.flag(e.value, path)
		case "min_version":
			t.MinVersion = r.minVersion(e.value, path)
		}
	})
	certificate, key := v.get("certificate"), v.get("key")
	switch {
	case certificate != nil && key == nil:
		r.refuse(codeMissing, certificate.place, under(path, "key"), "the certificate has no key", fileAllowed)
	case certificate == nil && key != nil:
		r.refuse(codeMissing, key.place, under(path, "certificate"), "the key has no certificate", fileAllowed)
	}
	if ca := v.get("ca"); t.SkipVerify && ca != nil {
		r.warn(codeIgnoredKey, ca.place, under(path, "ca"), "the key has no effect while verify is false: any certificate is taken", "leave verify out, or ca")
		t.CA = ""
	}
	return t
}

// serverName reads the name that a certificate must be for. One that is
// refused is not missing.
func (r *reader) serverName(v *value, path string) string {
	text, ok := r.text(v, path, serverNameAllowed)
	if ok && !isServerName(text) {
		r.refuse(codeUnexpectedType, v.place, path, quote(text)+" is no name of a server", serverNameAllowed)
	}
	return strings.TrimSuffix(text, ".")
}

func isServerName(text string) bool { return isHostName(text) || isIPv6(text) }

const (
	tlsPortProblem = "the setting is for requests, and the port of the gateway is tcp"
	tlsPortAllowed = "on tcp ports certificates, min_version, client_auth and client_ca are allowed"
	tcpPortProblem = "the setting is for connections, and the port of the gateway is http"
	tcpPortAllowed = "on http ports routes follow their weights; leave it out"
	nameProblem    = "nothing says for whom the certificates of the instances must be: they are found by address"
	nameAllowed    = "write name: the host name in their certificates, or verify: false to take any certificate"
)

// checkTLSPorts sees that what a gateway says of its own connections fits its
// port.
func (r *reader) checkTLSPorts(f *gatewayForm) {
	if o := f.tlsOnly; f.gateway.Port.Type == TCP && o.path != "" {
		r.refuse(codeBoundPort, o.place, o.path, tlsPortProblem, tlsPortAllowed)
	}
	if o := f.tcpOnly; f.gateway.Port.Type != TCP && o.path != "" {
		r.refuse(codeBoundPort, o.place, o.path, tcpPortProblem, tcpPortAllowed)
	}
}

// checkDials looks at how routes speak to their instances: those of stored
// routes if stored is set, the others if not.
func (r *reader) checkDials(f *gatewayForm, stored bool) {
	for _, route := range f.routes {
		if (route.ref != nil) != stored {
			continue
		}
		path := under("routes", route.route.Path)
		for _, d := range route.dials {
			at, where := d.place, path+".sluice."+d.path
			if stored {
				at = route.ref.place
			}
			switch {
			case !f.gateway.dials(&route.route):
				r.warn(codeIgnoredKey, at, where, "the setting "+d.path+" has no effect: the route leads to no instances of its own",
					"write it at the gateway that it leads to, whose routes lead to instances")
			case d.path == keyTLS && f.gateway.lacksName(&route.route):
				r.refuse(codeMissing, at, under(where, "name"), nameProblem, nameAllowed)
			}
		}
	}
}

// dials reports whether a route makes connections itself.
func (g *Gateway) dials(r *Route) bool {
	return r.Redirect == nil && (r.external() || g.led(r))
}

// lacksName reports whether certificates of a route's instances are verified
// and nothing says for which name.
func (g *Gateway) lacksName(r *Route) bool {
	if r.TLS == nil || r.TLS.SkipVerify || r.TLS.Name != "" || !g.dials(r) {
		return false
	}
	if !r.external() {
		return true
	}
	host, _, _ := parseAddress(strings.Trim(r.Path, "[]"))
	return isAddress(host)
}

// isAddress reports whether a host is an IP address.
func isAddress(host string) bool {
	_, ok := parseNetwork(host)
	return ok
}
