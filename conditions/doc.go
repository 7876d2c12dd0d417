// SPDX-License-Identifier: Apache-2.0

// Package conditions is the language in which a gateway says when a route
// applies.
//
// A condition joins tests of a request:
//
//	host == shop.example and user-agent == Firefox
//	has cookie beta or header X-Stage has canary
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
//	Factor    = OWS ( Negation | Test | Group ) OWS
//	Negation  = ( "!" OWS | "not" WS ) ( Test | Group )
//	Group     = "(" Condition ")"
//
//	Test      = "host" Compare Value
//	          | "user" [ "-" | "." ] "agent" Compare Value
//	          | Has ( "header" | "cookie" ) WS Value
//	          | ( "header" | "cookie" ) WS Value WS Has Value
//
//	Compare   = OWS ( "==" | "=" | "!=" | "!" ) OWS
//	          | WS ( "not" | "is" ) WS
//	          | OWS ( "has" | "contains" | "misses" ) WS
//	Has       = OWS ( "has" | "contains" | "misses" ) WS
//
//	Value     = Single | Double | Bare
//	Single    = "'" { printable ASCII but ' and " | "''" } "'"
//	Double    = '"' { printable ASCII but ' and " | '""' } '"'
//	Bare      = printable ASCII but white space, "(" and ")", once or more
//	WS        = blank, tab, CR, LF or FF, once or more
//	OWS       = [ WS ]
//
// Three consequences surprise. White space is needed after an operator, not
// before it. A bare value goes on to the next white space or parenthesis, so
// that host==a&&host==b is one test for a strange host. And a text that
// starts with a quote without being a quoted value is a bare value.
//
// # Meaning
//
// The forms ==, =, is, has and contains ask the same; so do !=, !, not and
// misses, which ask the opposite.
//
//	host == V            The host, with the port as sent, is V. Without a port
//	                     in V letter case is ignored.
//	user-agent == V      The User-Agent header contains V. Chrome, Firefox,
//	                     Safari, Edge and IE name browsers, in any letter case.
//	has header N         Header N is there, if only empty.
//	has cookie N         Cookie N is there and not empty.
//	header N has V       Some line of header N contains V.
//	cookie N has V       Some cookie N contains V.
//
// Names of headers ignore letter case; names of cookies and all values but
// hosts do not. The opposite of a test is true where the test is false, thus
// also where the header or cookie is missing.
//
// Cookies are read as RFC 6265 section 4.2 has them sent, on every line of the
// Cookie field: pairs stand between semicolons, white space around names and
// values does not count, quotes belong to the value, a part without "=" is no
// cookie.
package conditions
