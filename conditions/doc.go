// SPDX-License-Identifier: Apache-2.0

// Package conditions is the language in which a gateway says when a route
// applies.
//
// A condition joins tests of a request:
//
//	host == shop.example and user-agent == Firefox
//	has cookie beta or header X-Stage has canary
//	path starts with /api/ and (method == GET or ip in 10.0.0.0/8)
//	< path_beg /api > and expr(hash(cookie("id")) % 100 < 5)
//	not (user-agent == Safari or misses header Accept-Language)
//
// "not" binds closer than "and", "and" closer than "or"; both join from left
// to right. The letter case of all these words is free.
//
// # Grammar
//
// Choices are ordered, and what was chosen is not given back. All of the text
// must be read.
//
//	Condition = Terms   { ( "or"  | "||" | "|" ) WS Terms }
//	Terms     = Factor  { ( "and" | "&&" | "&" ) WS Factor }
//	Factor    = OWS ( Negation | Test | Group | Addition ) OWS
//	Negation  = ( "!" OWS | "not" WS ) ( Test | Group | Addition )
//	Group     = "(" Condition ")"
//
//	Test      = "host" Compare Value
//	          | "user" [ "-" | "." ] "agent" Compare Value
//	          | Has ( "header" | "cookie" ) WS Value
//	          | ( "header" | "cookie" ) WS Value WS Has Value
//	          | "<" one or more characters except "<" and ">": a raw ACL ">"
//
//	Compare   = OWS ( "==" | "=" | "!=" | "!" ) OWS
//	          | WS ( "not" | "is" ) WS
//	          | OWS ( "has" | "contains" | "misses" ) WS
//	Has       = OWS ( "has" | "contains" | "misses" ) WS
//
//	Addition  = "method" Same Value
//	          | "path" Text
//	          | ( "sni" | "alpn" | "client" WS ( "subject" | "san" ) ) Text
//	          | "client" WS "certificate"
//	          | Has "query" WS Value
//	          | ( "query" | "header" | "cookie" ) WS Value Text
//	          | "ip" Same Address
//	          | "ip" WS [ "not" WS ] "in" WS ( Network | Networks )
//	          | "expr" OWS "(" Program ")"
//
//	Same      = OWS ( "==" | "=" | "!=" | "!" ) OWS
//	          | WS ( "is" | "not" ) WS
//	Text      = Same Value
//	          | WS ( "has" | "contains" | "misses" ) WS Value
//	          | WS ( "starts" | "ends" ) WS "with" WS Value
//	          | WS "matches" WS Value, a regular expression
//	Networks  = "(" OWS Network OWS { "," OWS Network OWS } ")"
//
//	Value     = Single | Double | Bare
//	Single    = "'" { printable ASCII but ' and " | "''" } "'"
//	Double    = '"' { printable ASCII but ' and " | '""' } '"'
//	Bare      = printable ASCII but white space, "(" and ")", once or more
//	WS        = blank, tab, CR, LF or FF, once or more
//	OWS       = [ WS ]
//
// Address and Network are a Value; in parentheses a bare one without comma. A
// Network is an address, or one with the length of its prefix. A Program is
// printable ASCII and white space up to the parenthesis that closes it: those
// in quotes, or paired within, do not. It is an expression of expr-lang, with
// what docs/conditions.md lists.
//
// A text that this grammar does not have, but that is a raw ACL as a whole, is
// one: a raw ACL that stands alone needs no "<" and ">".
//
// Three consequences surprise. White space is needed after an operator, not
// before it. A bare value goes on to the next white space or parenthesis, so
// that host==a&&host==b is one test for a strange host. And a text that
// starts with a quote without being a quoted value is a bare value.
//
// # Vamp's meaning stays
//
// Without Addition this is the grammar of Vamp, and a text that Vamp's grammar
// has means what it means there. Additions cannot change that. They are tried
// where no Test, Negation or Group is, and an ordered choice that has one more
// alternative at its end does the same wherever it succeeded before. So a
// difference would need a place where the choice of a Factor fails and the
// text is read all the same. There are two ways on after a failed choice. In
// a Negation the other choice, that of Factor itself, is tried at the same
// place; nothing in it starts with "!" or "not". And a repetition ends before
// its operator; but then "and", "or" and their like are left over, which
// nothing else reads, and the text is refused. FuzzParse holds this against a
// second reading of both grammars.
//
// A raw ACL that stands alone gives way to an addition where a text could be
// both, as "query a == b" could: a query that is "a", "==" or "b". Between
// "<" and ">" it is the ACL.
//
// # Meaning
//
// The forms ==, =, is, has and contains of host and user-agent ask the same;
// so do !=, !, not and misses, which ask the opposite. Elsewhere ==, = and is
// ask for all of a text, has and contains for a part of it.
//
//	host == V            The host, with the port as sent, is V. Without a port
//	                     in V letter case is ignored.
//	user-agent == V      The User-Agent header contains V. Chrome, Firefox,
//	                     Safari, Edge and IE name browsers, in any letter case.
//	has header N         Header N is there, if only empty.
//	has cookie N         Cookie N is there and not empty.
//	has query N          Parameter N is there, if only empty.
//	header N has V       Some line of header N contains V.
//	cookie N has V       Some cookie N contains V.
//	query N has V        Some parameter N, decoded, contains V.
//	method == V          The method is V.
//	path == V            The path, as sent and without the query, is V.
//	sni == V             The server name of the TLS connection is V, in any
//	                     letter case; *.V stands for all names below V.
//	alpn == V            The protocol of the TLS connection is V.
//	client certificate   The client has a certificate, and it was verified.
//	client subject == V  Its subject, as RFC 2253 writes it, is V.
//	client san == V      One of its names (DNS, email, URI) is V.
//	ip in P              The address of the client lies in network P.
//	expr(P)              Program P yields true. A fault at run time is false.
//
// Of a TLS connection that passes through, sni and alpn look at what the client
// offers: any of its protocols. What a certificate says is only looked at if
// it was verified.
//
// Names of headers ignore letter case; names of cookies and parameters and
// all values but hosts do not. The opposite of a test is true where the test
// is false, thus also where the header, cookie or parameter is missing.
//
// Cookies are read as RFC 6265 section 4.2 has them sent, on every line of the
// Cookie field: pairs stand between semicolons, white space around names and
// values does not count, quotes belong to the value, a part without "=" is no
// cookie. Parameters are read as browsers send forms: pairs stand between
// "&", "+" is a blank, "%" and two hexadecimal digits are a byte, and what is
// no such escape stands for itself.
package conditions
