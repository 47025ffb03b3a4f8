#!/usr/bin/env bash
# The integration programs on Debian's kernel 6.12 with a pure cgroup v2.
exec "$(dirname "$0")/integration" 6.12 "$@"
