#!/bin/sh
# Lists the tests that were skipped, with the reasons. usage: scripts/skips.sh REPORT
#
# REPORT is the file that tests write through tests/skip: one line "test TAB reason" for each skip.
# With SIDEMAN_CI=1 a skip that .ci/expected-skips doesn't list is a failure.
set -eu
report=$1
[ -s "$report" ] || exit 0
echo "skipped tests:"
sort -u "$report" | sed 's/\t/: /; s/^/  /'
[ "${SIDEMAN_CI:-}" = 1 ] || exit 0
unexpected=$(cut -f 1 "$report" | sort -u | grep -vxF -f "$(dirname "$0")/../.ci/expected-skips" || true)
[ -n "$unexpected" ] || exit 0
echo "not listed in .ci/expected-skips:" >&2
echo "$unexpected" | sed 's/^/  /' >&2
exit 1
