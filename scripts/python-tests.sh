#!/bin/sh
# The Python tests of train/ that need no torch. What can't be run here is said, never passed over in silence.
set -eu
cd "$(dirname "$0")/.."

python=${PYTHON:-python3}
if ! command -v "$python" >/dev/null 2>&1; then
    echo "python: no $python here; the tests of train/ are left out (they test the training, not the engine)"
    exit 0
fi
for module in pytest numpy scipy mido soundfile; do
    if ! "$python" -c "import $module" >/dev/null 2>&1; then
        echo "python: $python has no $module; the tests of train/ are left out (pip install -r train/requirements.txt brings it)"
        exit 0
    fi
done
with=""
without=""
for test in train/tests/test_*.py; do
    [ -e "$test" ] || continue
    if grep -qE '^\s*(import|from) torch|torch = pytest.importorskip' "$test"; then
        without="$without $test"
    else
        with="$with $test"
    fi
done
[ -z "$without" ] || echo "python: left out, for they need torch:$without"
if [ -z "$with" ]; then
    echo "python: no test that needs no torch"
    exit 0
fi
# shellcheck disable=SC2086
"$python" -m pytest -q $with
