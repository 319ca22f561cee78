#!/usr/bin/env bash
# Makes the virtual environment $2 with the interpreter $1, holding the package, its extras and the pinned versions.
set -euo pipefail
python=$1
venv=$2

fail() { echo "set-up: $*" >&2; exit 1; }

"$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
  || fail "$python is older than Python 3.11; run make PYTHON=python3.11 …"
if ! "$python" -m venv "$venv" 2>/dev/null; then
  # Debian and Ubuntu ship the interpreter without venv.
  rm -rf "$venv"
  command -v apt-get >/dev/null && [ "$(id -u)" = 0 ] || fail "python venv is missing; install python3-venv"
  apt-get update -qq && apt-get install -y -qq python3-venv
  "$python" -m venv "$venv"
fi
echo "set-up: installing into $venv (a few minutes the first time)"
pip() { "$venv/bin/python" -m pip --disable-pip-version-check --quiet "$@"; }
pip install -c constraints.txt pip setuptools wheel
pip install -c constraints.txt "torch==2.13.0"
pip install -c constraints.txt -e '.[train,dev,otel]'
# The tests of the Redis stores run against real servers; nothing else needs them.
if ! command -v redis-server >/dev/null || ! command -v openssl >/dev/null; then
  if command -v apt-get >/dev/null && [ "$(id -u)" = 0 ]; then
    apt-get update -qq && apt-get install -y -qq redis-server openssl
  else
    echo "set-up: redis-server or openssl is missing: the tests of the Redis stores will fail until they are installed"
  fi
fi
# The tests of the pages look at them with a real browser, and are skipped without one.
if ! command -v chromium >/dev/null; then
  if command -v apt-get >/dev/null && [ "$(id -u)" = 0 ]; then
    apt-get update -qq && apt-get install -y -qq --no-install-recommends chromium
  else
    echo "set-up: chromium is missing: the tests of the pages will be skipped until it is installed"
  fi
fi
echo "set-up: done"
