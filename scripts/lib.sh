# shellcheck shell=bash
# What several of the scripts share. Sourced, never run.

ROOT=$(cd -- "$(dirname -- "${BASH_SOURCE[0]}")/.." && pwd -P)
# The Python that scripts/bootstrap prepares.
# shellcheck disable=SC2034  # for those that source this file
VENV=$ROOT/.deps/venv

# What the broker consists of, as targets of the build.
# shellcheck disable=SC2034
PROGRAMS=(nexus-broker nexus-signer nexus)

# Messages go to stderr: stdout is for results.
say() { printf '%s\n' "$*" >&2; }

die() {
  printf '%s: %s\n' "${0##*/}" "$*" >&2
  exit 1
}

# A wrong call: says so, and where help is.
usage_error() {
  printf '%s: %s (see %s --help)\n' "${0##*/}" "$*" "${0##*/}" >&2
  exit 2
}

# Prints the text of usage: the comment block at the top of the calling script.
print_help() {
  sed -n '2,/^[^#]/{s/^# \{0,1\}//p}' "$0"
}

# need_value OPTION COUNT: an option that wants a value has one.
need_value() {
  [ "$2" -ge 2 ] || usage_error "$1 needs a value"
}
