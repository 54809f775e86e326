# For checks in bash: `source "$ROOT/tests/interop/lib.sh"`.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd) # the check's directory

# lacking TEXT: this machine cannot run the check, for this reason.
lacking() { printf '%s\n' "$1"; exit 77; }

# fail TEXT: the check has failed.
fail() { printf '%s\n' "$1" >&2; exit 1; }

# need COMMAND HOW: a program, and how to get it.
need() { command -v "$1" >/dev/null || lacking "$1 is missing: $2"; }

# alone COMMAND…: runs it while no other check runs the same program so; some cannot share what they write.
alone() { flock "$ROOT/target/interop/$1.lock" "$@"; }

# debian COMMAND PACKAGE: a program of Debian's, installed where that is possible.
debian() {
    command -v "$1" >/dev/null && return
    [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null || lacking "$1 is missing: on Debian, apt-get install $2"
    export DEBIAN_FRONTEND=noninteractive
    { alone apt-get update -qq && alone apt-get install -qq -y --no-install-recommends "$2"; } >&2 ||
        lacking "$1 cannot be installed: on Debian, apt-get install $2"
}

# python_packages FILE: a virtual environment with exactly the packages of this file; sets PYTHON to its interpreter.
python_packages() {
    PYTHON=$SCRATCH/venv/bin/python3
    cmp -s "$1" "$SCRATCH/venv/installed.txt" && return
    need python3 "on Debian, apt-get install python3 python3-venv"
    rm -rf "$SCRATCH/venv"
    python3 -m venv "$SCRATCH/venv" >&2 || lacking "python3 cannot make a virtual environment: apt-get install python3-venv"
    "$PYTHON" -m pip install --quiet --no-deps --disable-pip-version-check --requirement "$1" >&2 ||
        lacking "the packages of ${1#"$ROOT/"} cannot be installed"
    cp "$1" "$SCRATCH/venv/installed.txt"
}

# npm_packages: node_modules in SCRATCH by the package-lock.json of the check.
npm_packages() {
    need node "on Debian, apt-get install nodejs"
    need npm "on Debian, apt-get install npm"
    cmp -s "$here/package-lock.json" "$SCRATCH/installed.json" && return
    cp "$here/package.json" "$here/package-lock.json" "$SCRATCH"
    npm ci --prefix "$SCRATCH" --ignore-scripts --no-audit --no-fund --silent >&2 ||
        lacking "the packages of ${here#"$ROOT/"}/package-lock.json cannot be installed"
    cp "$here/package-lock.json" "$SCRATCH/installed.json"
}
