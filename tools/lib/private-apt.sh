# SPDX-License-Identifier: Apache-2.0
# Sourced: private_apt SUITE TYPE prepares lists of packages of another Debian release beside the host's, and makes the
# apt programs that are called afterwards use them. TYPE: deb, or deb-src for sources. They come from the mirror that the host's
# own apt uses, checked with Debian's archive keys, and are asked for anew once a day. The descriptor 9 holds the lock.
# The caller has set `peers`, where all this is kept.
readonly private_apt_keyring=/usr/share/keyrings/debian-archive-keyring.gpg
readonly private_apt_minutes=1440

private_apt() {
  local suite=$1 type=$2 mirror apt
  # Lists of each suite apart, so that one can be looked at without the other.
  apt=$peers/apt-$suite
  [[ $type == deb ]] || apt=$apt-$type
  mkdir -p "$apt"/{lists/partial,cache/archives/partial,none}
  exec 9>"$apt/lock"
  flock 9

  mirror=$("$(dirname "${BASH_SOURCE[0]}")/debian-mirror")
  : >"$apt/status"
  echo "$type [signed-by=$private_apt_keyring] $mirror $suite main" >"$apt/sources.list"
  cat >"$apt/apt.conf" <<CONF
Dir::State "$apt";
Dir::State::status "$apt/status";
Dir::Cache "$apt/cache";
Dir::Etc::sourcelist "$apt/sources.list";
Dir::Etc::sourceparts "$apt/none";
Dir::Etc::preferences "$apt/no-preferences";
Dir::Etc::preferencesparts "$apt/none";
Acquire::Languages "none";
Acquire::Retries "3";
CONF
  export APT_CONFIG=$apt/apt.conf

  if [[ -z $(find "$apt/updated" -mmin "-$private_apt_minutes" 2>/dev/null) ]]; then
    if apt-get update -qq >&2; then
      touch "$apt/updated"
    elif [[ -e $apt/updated ]]; then
      echo "fetching packages of \"$suite\": no new lists, the old ones are used" >&2
    else
      echo "fetching packages of \"$suite\": no lists" >&2
      return 1
    fi
  fi
}
