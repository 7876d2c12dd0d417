#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# Makes what the examples tls.yaml and client-certificates.yaml need, for
# trials: authorities for everybody, for instances and for clients, and
# certificates by them. Usage: tls-certificates.sh DIRECTORY, which is then the
# one for --tls-dir.
set -euo pipefail

[ $# = 1 ] || { echo "usage: $0 DIRECTORY" >&2; exit 2; }
umask 077 # keys are for their owner
mkdir -p "$1/tls"
cd "$1/tls"

key() { openssl ecparam -name prime256v1 -genkey -noout -out "$1.key"; }

# authority FILE COMMON-NAME
authority() {
	key "$1"
	openssl req -x509 -new -key "$1.key" -days 365 -subj "/CN=$2" -out "$1.crt"
}

# issue AUTHORITY FILE COMMON-NAME ALTERNATIVE-NAMES
issue() {
	key "$2"
	openssl req -new -key "$2.key" -subj "/CN=$3" |
		openssl x509 -req -CA "$1.crt" -CAkey "$1.key" -CAcreateserial -days 30 -extfile <(echo "subjectAltName=$4") -out "$2.crt" 2>/dev/null
	openssl verify -CAfile "$1.crt" "$2.crt"
}

authority ca "Trial authority"
authority internal "Trial authority of instances"
authority clients "Trial authority of clients"
issue ca shop shop.example "DNS:shop.example,DNS:*.shop.example"
issue internal instance shop.internal DNS:shop.internal
issue ca orders orders.example DNS:orders.example
issue clients warehouse warehouse.internal DNS:warehouse.internal
