#!/bin/sh
# Runs the Python tests of train/ in a virtual environment, which it creates on the first run.
#
#   scripts/python-tests.sh           the tests that need no torch, in .venv-test/ (make test)
#   scripts/python-tests.sh --torch   all of them, in .venv-train/ (make test-train)
#
# The environment is rebuilt when the requirements or the Python version change. PYTHON names another interpreter.
# Options after `--` go to pytest: scripts/python-tests.sh -- -k grid
#
# A skip is a failure (train/tests/conftest.py), except for tests that need sample libraries, SoundFonts or mma, which are not part
# of the repository. With SIDEMAN_CI=1 only what .ci/expected-skips lists as train::NAME may be missing.
set -eu
cd "$(dirname "$0")/.."

fail() {
    echo "python-tests: $*" >&2
    exit 1
}

venv=.venv-test requirements=train/requirements-test.txt tests="--ignore=train/tests/needs_torch"
while [ $# -gt 0 ]; do
    case $1 in
    --torch) venv=.venv-train requirements=train/requirements.txt tests="" ;;
    --) shift && break ;;
    *) fail "unknown option $1 (known: --torch, and -- before pytest's own options)" ;;
    esac
    shift
done

python=${PYTHON:-python3}
command -v "$python" >/dev/null 2>&1 || fail "$python not found: install Python 3.11 or later (Debian, Ubuntu: apt-get install python3 python3-venv)"
"$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' || fail "$("$python" --version) is too old: Python 3.11 or later is needed; PYTHON=/path/to/python3 names another one"

# The stamp records the Python version and the requirements. It is written last, so an incomplete environment is rebuilt.
stamp=$({ "$python" -c 'import sys; print(sys.version, sys.base_prefix)'; cat train/requirements*.txt; } | cksum)
if [ "$(cat "$venv/stamp" 2>/dev/null)" != "$stamp" ]; then
    "$python" -c 'import venv, ensurepip' 2>/dev/null || fail "$python has no venv module: install it (Debian, Ubuntu: apt-get install python3-venv)"
    [ "$venv" = .venv-test ] || echo "python-tests: installing PyTorch into $venv; with the CUDA libraries of the Linux package this takes about 6 GB of disk"
    rm -rf "$venv"
    "$python" -m venv "$venv"
    "$venv/bin/python" -m pip install --quiet --disable-pip-version-check -r "$requirements" || fail "pip could not install $requirements (see above); is a package index reachable?"
    echo "$stamp" >"$venv/stamp"
fi

may_miss=samples,soundfonts,mma
[ "${SIDEMAN_CI:-}" != 1 ] || may_miss=$(sed -n 's/^train:://p' .ci/expected-skips | paste -sd, -)
# shellcheck disable=SC2086
exec "$venv/bin/python" -m pytest -q -rs --may-miss "$may_miss" train/tests $tests "$@"
