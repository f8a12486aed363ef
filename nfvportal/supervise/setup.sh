#!/bin/sh
# Find a Python (3.11 or newer), then hand over to setup.py, which needs nothing but its standard library.
set -eu
unset PYTHONHOME PYTHONPATH 2>/dev/null || true
here=$(cd "$(dirname "$0")" && pwd)
fits='import sys; sys.exit(not ((3, 11) <= sys.version_info < (4,)))'

find_python() {
    for name in python3.13 python3.12 python3.11 python3 python3.14 /usr/bin/python3; do
        if "$name" -c "$fits" >/dev/null 2>&1; then
            command -v "$name"
            return 0
        fi
    done
    return 1
}

if ! python=$(find_python); then
    if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null 2>&1; then
        echo "No Python 3.11 or newer found: installing the package python3"
        apt-get update -q && DEBIAN_FRONTEND=noninteractive apt-get install -y -q python3 python3-venv
        python=$(find_python) || python=""
    fi
    if [ -z "${python:-}" ]; then
        echo "Python 3.11 or newer is needed and was not found on the PATH. Nothing runs without it." >&2
        echo "Debian or Ubuntu: apt-get install python3 python3-venv" >&2
        exit 1
    fi
fi
exec "$python" -I "$here/setup.py" "$@"
