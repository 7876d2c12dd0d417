// SPDX-License-Identifier: Apache-2.0

// Package test shows what Sluice promises, by scenarios: the real binary as a
// process of its own, real sockets, and files that change under it.
//
// A scenario is a script in testdata/script. Each has a loopback network of
// its own, so that it may use the ports that an operator would: $HOST is the
// address that its gateways listen on, $ADMIN the host:port of the admin
// server. What a script needs beside the binary runs in the test process.
// Clients send each request once; what goes wrong is not tried again. These
// commands are added to those of testscript:
//
//	origin [-tcp] [-tls FILE [-clients AUTHORITY]] [-proxy] NAME [PORT]
//	                                 a server that answers its name; sets $NAME (host:port) and $NAME_IP
//	release ORIGIN                   lets its answers on /slow end
//	served ORIGIN N                  waits until it served N exchanges, or bytes over TCP
//	dns NAME ADDRESS...              what a name server on $DNS answers; also -fail, -truncate, -answer
//	freeport VAR [PREFERRED]         a free port of $HOST
//	take PORT, free PORT             listens there, and no longer
//	sparse FILE MEGABYTES            a large file that takes no room
//	sluice-up [-unready] VERB ARG... runs the binary and waits until it is ready
//	sluice-down [-signal S] [-within T] [CODE]  ends it, and checks how it ends
//	sluice-ended CODE                waits until it ended by itself
//	put SRC DST                      writes a file in one step, with each ${VAR} replaced
//	apply SRC DST                    does so and waits until the new table serves
//	reload N FILE FORM... [-blink F] applies forms in turn, N times
//	[!] status REGEXP                waits until /status, in one line, matches
//	ready, ! ready REGEXP            waits until /readyz says so
//	metric SERIES VALUE              waits until a series has a value, or at least '>VALUE'
//	confirm                          believes what is held back
//	[!] log REGEXP                   waits until the log matches
//	certificate [-by AUTHORITY] [-expired] FILE NAME...  writes FILE.crt, FILE.key, AUTHORITY.crt (ca.crt)
//	secret FILE...                   checks that nothing of a key is told anywhere
//	fingerprint VAR FILE             sets a variable to the SHA-256 of a certificate
//	requests [-c CLIENTS] [-new] [-X METHOD] [-H FIELD]... N URL LABEL=COUNT...
//	[!] get [-i] [-X METHOD] [-H FIELD]... URL  prints the answer, -i with its head
//	connections [-c CLIENTS] N HOST:PORT LABEL=COUNT...
//	                                 these three also: -sni NAME, -cert FILE, -tls VERSION, -proxy v1|v2=ADDRESS
//	half-close client|origin BYTES HOST:PORT
//	load start CLIENTS URL, load stop N
//	live [-within T] URL LABEL       waits until a request is answered so
//	refuses HOST:PORT                waits until nothing listens there
//	exit-code CODE PROGRAM ARG...
//	printed REGEXP                   waits until the binary printed it
//	try [-until REGEXP] N            runs the Nth thing that the binary printed to try
//	visitors NAME N URL LABEL=COUNT...          new browsers with cookie jars
//	revisit [-moved LABEL] NAME TIMES URL       they come again, and stay
//	bulk MIB MORE URL                moves content up and down in no MORE MiB of memory
//	begin NAME URL PART, finish NAME REST       a request that lasts
package test
