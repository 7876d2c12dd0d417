#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# Makes the profile that guides the build, cmd/sluice/default.pgo, from what a
# proxy does most: small and larger answers, bodies, conditions, weights, new
# connections. Needs bin/sluice; takes a minute.
set -euo pipefail
cd "$(dirname "$0")/.."

origin_a=127.0.0.1:19801 origin_b=127.0.0.1:19802 port=19803 admin=127.0.0.1:19804
dir=$(mktemp -d)
trap 'kill $(jobs -p) 2>/dev/null || true; wait; rm -rf "$dir"' EXIT

cat >"$dir/gateway.yaml" <<YAML
name: profile
port: $port
routes:
  canary: {condition: header X-Canary == yes, condition_strength: 100%, weight: 0%, selector: label(side)(b)}
  beta: {condition: user-agent == Chrome and has cookie beta, condition_strength: 50%, weight: 0%, selector: label(app)(shop)}
  one: {weight: 60%, selector: label(app)(shop)}
  two: {weight: 30%, selector: label(app)(shop)}
  three: {weight: 10%, selector: label(app)(shop)}
YAML
cat >"$dir/instances.yaml" <<YAML
- {address: 127.0.0.1, port: ${origin_a#*:}, labels: {app: shop, side: a}}
- {address: 127.0.0.1, port: ${origin_b#*:}, labels: {app: shop, side: b}}
YAML

bin/sluice bench origin --listen "$origin_a" --listen "$origin_b" >/dev/null &
GOMAXPROCS=1 bin/sluice run -f "$dir/gateway.yaml" --instances "$dir/instances.yaml" \
	--admin "$admin" --gateway-address 127.0.0.1 --pprof >/dev/null 2>"$dir/log" &
curl -fsS --retry 50 --retry-delay 1 --retry-all-errors -o /dev/null "http://127.0.0.1:$port/"

load() { bin/sluice bench "http://127.0.0.1:$port$1" --duration "$2" "${@:3}" -o json >/dev/null; }
curl -fsS -o "$dir/profile" "http://$admin/debug/pprof/profile?seconds=40" &
profile=$!
load / 12s
load / 8s -H 'User-Agent: Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/140.0 Safari/537.36' \
	-H 'Accept: text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8' -H 'Accept-Language: en-US,en;q=0.5' \
	-H 'Cookie: session=0123456789abcdef0123456789abcdef; beta=1; theme=dark'
load /bytes/10240 6s
load / 5s --method POST --body-size 1024
load / 5s --requests-per-connection 1
wait "$profile"
mv "$dir/profile" cmd/sluice/default.pgo
