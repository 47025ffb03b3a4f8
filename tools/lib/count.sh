# Counts test cases for tools/test. Source it; then count_start DIRECTORY, one call per
# program, and count_finish, which prints the one line and returns 1 if anything failed.

count_start() {
  count_logs=$1
  count_passed=0 count_failed=0 count_skipped=0
}

# A Boost.Test program; RUNNER, if given, is what runs it elsewhere. One that ends without
# its report (a crash, a time-out) counts as one failure more than it reported.
count_boost_test() { # PROGRAM TIMEOUT [RUNNER…]
  local name log junit status=0 total bad skipped
  name=$(basename "$1")${count_suffix:-}
  [[ $1 == *build-tsan* ]] && name=tsan_$name
  [[ $1 == *build-debug* ]] && name=asan_$name
  log=$count_logs/$name.log
  timeout --kill-after=10 "$2" "${@:3}" "$1" --logger=HRF,test_suite,stdout --catch_system_errors=no --color_output=no \
    >"$log" 2>&1 </dev/null || status=$?
  # Not by Boost 1.74's JUnit logger, which crashes on messages that hold binary data.
  total=$(grep -ac 'Entering test case' "$log" || true)
  # Those that a filter of the caller's leaves out are "disabled".
  skipped=$({ grep -a 'Test case .* is skipped' "$log" || true; } | grep -avc 'because disabled' || true)
  total=$((total + skipped))
  bad=$({ grep -aoE 'error: in "[^"]*"' "$log" || true; } | sort -u | wc -l)
  ((bad > total)) && bad=$total
  ((status != 0 && bad == 0)) && bad=1 && ((total == 0)) && total=1
  ((bad == 0 && total == 0)) && bad=1 total=1
  count_passed=$((count_passed + total - bad - skipped))
  count_failed=$((count_failed + bad))
  count_skipped=$((count_skipped + skipped))
  if ((bad)); then
    echo "FAILED  $name ($bad of $total; exit $status)"
    grep -aE 'error:|fatal|Assertion' "$log" | head -n 12 | sed 's/^/        /' || true
    # Where only this output is kept, a sanitizer's first report says where to look.
    grep -aE -m 1 -A 30 'ERROR: |runtime error|WARNING: ThreadSanitizer' "$log" | cut -c 1-240 | sed 's/^/        /' || true
    echo "        log: $log"
  else
    echo "ok      $name ($total)"
  fi
}

# A command that counts for itself ends with the line of count_finish: its lines are shown
# and its sums added. Any other is one test.
count_command() { # NAME TIMEOUT COMMAND…
  local name=$1 limit=$2 log=$count_logs/$1.log status=0
  shift 2
  timeout --kill-after=30 "$limit" "$@" >"$log" 2>&1 </dev/null || status=$?
  if [[ $(tail -n 1 "$log") =~ ^([0-9]+)\ passed,\ ([0-9]+)\ failed,\ ([0-9]+)\ skipped$ ]]; then
    sed '$d' "$log"
    count_passed=$((count_passed + BASH_REMATCH[1]))
    count_failed=$((count_failed + BASH_REMATCH[2]))
    count_skipped=$((count_skipped + BASH_REMATCH[3]))
  elif ((status == 77)); then
    count_skipped=$((count_skipped + 1))
    echo "skipped $name: $(tail -n 1 "$log")"
  elif ((status)); then
    count_failed=$((count_failed + 1))
    echo "FAILED  $name (exit $status)"
    tail -n 15 "$log" | sed 's/^/        /'
    echo "        log: $log"
  else
    count_passed=$((count_passed + 1))
    echo "ok      $name"
  fi
}

count_finish() {
  echo "$count_passed passed, $count_failed failed, $count_skipped skipped"
  ((count_failed == 0 && count_passed > 0))
}
