#!/bin/sh
# Reports the tests that were skipped. usage: scripts/skips.sh REPORT
# With SIDEMAN_CI=1 it fails on every skip whose test .ci/expected-skips doesn't list. REPORT has lines "test TAB reason".
set -eu
report=$1
[ -s "$report" ] || exit 0
echo "skipped tests:"
sort -u "$report" | sed 's/\t/: /; s/^/  /'
[ "${SIDEMAN_CI:-}" = 1 ] || exit 0
unexpected=$(cut -f 1 "$report" | sort -u | grep -vxF -f "$(dirname "$0")/../.ci/expected-skips" || true)
[ -n "$unexpected" ] || exit 0
echo "skips that .ci/expected-skips doesn't list:" >&2
echo "$unexpected" | sed 's/^/  /' >&2
exit 1
