#!/usr/bin/env bash
# Makes a virtual environment with the first Python that is new enough.
# Usage: make_venv.sh FOLDER [PYTHON]
set -euo pipefail

folder=$1
wanted=${2:-}

is_new_enough() {
    "$1" -c 'import sys; sys.exit(sys.version_info < (3, 11))' >/dev/null 2>&1
}

find_python() {
    local candidate
    for candidate in ${wanted:-python3 python3.13 python3.12 python3.11 python}; do
        if is_new_enough "$candidate"; then
            echo "$candidate"
            return
        fi
    done
    {
        local tried=${wanted:-python3}
        echo "armt needs Python 3.11 or newer; $tried is: $("$tried" --version 2>&1 || true)"
        echo "Install one, or name it: make PYTHON=/path/to/python3.11 ..."
    } >&2
    return 1
}

python=$(find_python)
if ! "$python" -c 'import venv, ensurepip' >/dev/null 2>&1; then
    version=$("$python" -c 'import sys; print("%d.%d" % sys.version_info[:2])')
    echo "$python has no venv module. On Debian or Ubuntu: apt-get install python$version-venv" >&2
    exit 1
fi
"$python" -m venv --clear "$folder"
