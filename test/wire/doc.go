// SPDX-License-Identifier: Apache-2.0

// Package wire plays cases of HTTP/1 against a gateway, byte by byte: what a
// client sends, what the origin behind the gateway must see and answers, and
// what the client must see. Each case is a text file that states one
// requirement.
//
// # Cases
//
// A case begins with its header, lines of "# KEY: VALUE":
//
//	# requirement: RFC 9112 6.1: what the section asks for, in short
//	# level: MUST, SHOULD or OURS
//	# why: why we do what others do not
//	# departs: the section whose words are not followed; it needs a why
//	# flags: flags of sluice run
//
// MUST and SHOULD are the words of the section; OURS marks a choice that the
// sections leave open, and what they do not speak of. Requirement and level
// are required. Several cases may share a requirement.
//
// Then come blocks, each under a line "--- NAME ---", in the order in which
// they happen:
//
//	gateway                 YAML below the gateway's key sluice
//	client                  bytes that the client sends
//	client sees             claims over the next answer
//	client reads            bytes that come next, exactly
//	origin sees             claims over the next request that gets there
//	origin may see          the same, of a request that need not come
//	origin sees nothing     no request gets there
//	origin                  what the origin sends once it read the request
//	origin at once          what it sends as soon as it read the head
//	origin reads            bytes that come next, exactly
//
// A client block "client 2", "client 2 sees" and so on uses a further
// connection. The client goes through its blocks one after the other; the
// origin takes its requests in the order in which they come, over whichever
// connections.
//
// # Bytes
//
// Each line of a block of bytes ends in CRLF on the wire, and an empty line is
// one. A backslash at the end of a line means that nothing ends it there. Also
// \r, \n, \t, \0, \\ and \xNN stand for bytes; {{repeat N TEXT}} for N times
// TEXT; {{port}} for the gateway's port. A line may be a directive instead:
//
//	{{piece}}        what follows is written on its own
//	{{close}}        ends the connection
//	{{close-write}}  ends the direction of the writer
//	{{reset}}        ends the connection with a reset
//	{{signal NAME}}  lets those go on who await the name
//	{{await NAME}}   waits for the signal
//	{{body}}         at once only: the origin reads the request to its end
//	{{continue}}     at once only: it answers 100 if the request expects that
//
// # Claims
//
// One claim a line; the texts in them know the same escapes:
//
//	status 400          also lists and ranges: status 400 500-599
//	line TEXT           the start line
//	starts TEXT         how it begins
//	has NAME: VALUE     such a field is there; names in any letter case
//	only NAME: VALUE    it is the only one of its name
//	lines NAME: A | B   the values of all of its name, in their order
//	no NAME             there is none
//	order NAME OTHER    these stand in this order, and are spelled so
//	raw TEXT, no-raw TEXT  the head has, or has not, these bytes
//	body TEXT           the content, without framing
//	size N              its length
//	framing F           length, chunked, close or none
//	trailer NAME: VALUE, no-trailer NAME
//	cut                 the message is not complete, and this can be told
//	connection new      origin only: not one that was used before; also same
//	interim 100 103     client only: the answers 1xx before it; also none
//	answers HEAD        client only: the answer has no body, whatever it says
//	nothing             client only: the connection ends without an answer
//	closed              client only: the gateway ends the connection after it
//	kept                client only: the connection carries a further request
//
// Cut may be followed by statuses: "cut or 502" accepts a whole answer with
// that status, too.
//
// # Judging
//
// Nothing is judged by waiting for nothing. After its blocks each client
// connection that is still open carries a probe, which must be answered by
// its own answer, or find the connection closed. Then a fresh connection
// carries one. What reached the origin up to then and is in no block fails the
// case, as do bytes after an answer, and requests that do not follow RFC 9112
// to the letter.
package wire
