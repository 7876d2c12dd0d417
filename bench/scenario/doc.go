// SPDX-License-Identifier: Apache-2.0

// Package scenario reads what load to offer: which requests in which shares,
// over how many connections, how fast and for how long. A scenario stands in
// a YAML file or is put together in Go, and becomes a [load.Plan].
//
//	host: shop.example
//	rate: 2000
//	duration: 30s
//	headers: {User-Agent: Firefox}
//	header_sets:
//	  beta: {Cookie: beta=yes}
//	mix:
//	  - {name: browse, weight: 90, path: /}
//	  - {name: beta, weight: 9, path: /, use: [beta]}
//	  - {name: order, weight: 1, path: /order, body_size: 1KiB}
//
// The keys of the file:
//
//	name                     text, for reports
//	host                     Host header (default: the address that is dialled)
//	connections              1 to 100000 (default 64)
//	rate                     requests a second, 0 for as fast as answers come (default)
//	duration                 up to 24h (default 10s)
//	warmup                   up to 1h before that, not counted (default none)
//	requests                 end after so many (default no bound)
//	requests_per_connection  then a new one takes its place (default no bound)
//	timeout                  of one request, up to 60s (default 10s)
//	headers                  NAME: VALUE or NAME: [VALUE, ...], sent with each request
//	header_sets              NAME: headers, which requests take by use
//	mix                      the kinds of requests (default: GET /)
//
// and of each kind in the mix:
//
//	name        text, for reports
//	weight      its share, relative to the others (default 1)
//	method      (default GET, and POST with a body)
//	path        with its query (default /)
//	host        Host header (default: that of the file)
//	use         names of header sets, in order
//	headers     as above, after all others
//	body        text
//	body_size   of a body that is made up, such as 512, 10KB or 1MiB
//
// A key that is none of these, and one that is written twice, is an error.
package scenario
