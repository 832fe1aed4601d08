# shellcheck shell=bash
# SPDX-License-Identifier: Apache-2.0
# Sourced by scripts that run a containerd of their own, apart from one that may be on the host already.
# private_containerd_start DIR PREFIX starts it with everything below DIR; private_containerd_stop DIR ends it.
# After the start `private_ctr ...` talks to it. DIR/containerd.log holds its and the shims' log lines.

readonly containerd_wait_seconds=30

private_ctr() { ctr --address "$private_containerd_dir/containerd.sock" "$@"; }

private_containerd_start() {
  private_containerd_dir=$1
  local install_prefix=$2
  install -d -m 0711 "$private_containerd_dir"
  cat >"$private_containerd_dir/config.toml" <<EOF
version = 2
root = "$private_containerd_dir/root"
state = "$private_containerd_dir/state"
disabled_plugins = ["io.containerd.grpc.v1.cri", "io.containerd.internal.v1.opt",
  "io.containerd.snapshotter.v1.btrfs", "io.containerd.snapshotter.v1.devmapper",
  "io.containerd.snapshotter.v1.zfs", "io.containerd.snapshotter.v1.aufs"]
[grpc]
  address = "$private_containerd_dir/containerd.sock"
[debug]
  level = "info"
EOF
  PATH=$install_prefix/bin:$PATH setsid containerd --config "$private_containerd_dir/config.toml" \
    >>"$private_containerd_dir/containerd.log" 2>&1 </dev/null &
  echo $! >"$private_containerd_dir/containerd.pid"
  local deadline=$((SECONDS + containerd_wait_seconds))
  until private_ctr version >/dev/null 2>&1; do
    if ((SECONDS >= deadline)) || ! kill -0 "$(<"$private_containerd_dir/containerd.pid")" 2>/dev/null; then
      tail -n 20 "$private_containerd_dir/containerd.log" >&2
      echo "starting containerd in $private_containerd_dir: it does not answer" >&2
      return 1
    fi
    sleep 0.1
  done
}

# Kills and deletes all that runs in it, then containerd, then removes DIR.
private_containerd_stop() {
  private_containerd_dir=$1
  local pid container
  [[ -r $private_containerd_dir/containerd.pid ]] || return 0
  pid=$(<"$private_containerd_dir/containerd.pid")
  # The number may have been used again after a crash.
  if [[ -d /proc/$pid ]] && tr '\0' ' ' <"/proc/$pid/cmdline" | grep -qF "$private_containerd_dir/config.toml"; then
    for container in $(private_ctr container ls -q 2>/dev/null); do
      private_ctr task rm --force "$container" >/dev/null 2>&1 || true
      private_ctr container rm "$container" >/dev/null 2>&1 || true
    done
    kill "$pid" 2>/dev/null || true
    local deadline=$((SECONDS + containerd_wait_seconds))
    while [[ -d /proc/$pid ]] && ((SECONDS < deadline)); do sleep 0.1; done
  fi
  if grep -qF " $private_containerd_dir/" /proc/self/mountinfo; then
    echo "stopping containerd: something is still mounted below $private_containerd_dir, left as it is" >&2
    return 1
  fi
  rm -rf "$private_containerd_dir"
}
