#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Usage: run.sh CPP_PROGRAM GO_PROGRAM. Each serves while the other calls.
set -eu
dir=$(mktemp -d)
server=
trap 'if [ -n "$server" ]; then kill "$server" 2>/dev/null || :; fi; rm -rf "$dir"' EXIT

run() { # server client
  socket=$dir/socket
  rm -f "$socket"
  "$1" server "$socket" &
  server=$!
  tries=0
  while [ ! -S "$socket" ]; do
    tries=$((tries + 1))
    [ "$tries" -lt 200 ] || { echo "server did not start"; exit 1; }
    sleep 0.05
  done
  "$2" client "$socket"
  kill "$server"
  wait "$server" || :
  server=
}
run "$1" "$2"
run "$2" "$1"
