#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# Writes the Go files of control.proto. The generators are those in bin/, at
# the versions that the Makefile pins. Which protoc reads the file makes no
# difference to what they write but for a comment, which goes.
set -euo pipefail
cd "$(dirname "$0")/../.." # so that the file registers under its whole path

command -v protoc >/dev/null || { echo "protoc is missing: install protobuf-compiler, as .ci/install does" >&2; exit 1; }
dir=control/controlpb
protoc --plugin=bin/protoc-gen-go --plugin=bin/protoc-gen-go-grpc \
	--go_out=. --go_opt=paths=source_relative \
	--go-grpc_out=. --go-grpc_opt=paths=source_relative "$dir/control.proto"
sed -i '/^\/\/ .*protoc  *v[0-9]/d' "$dir"/*.pb.go
