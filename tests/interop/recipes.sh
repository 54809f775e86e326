# For the checks of examples: `source recipes.sh LANGUAGE` copies examples/LANGUAGE to SCRATCH, beside the protos, and goes there.
source "$ROOT/tests/interop/lib.sh"
mkdir -p "$SCRATCH/examples/$1"
ln -sfn "$ROOT/proto" "$SCRATCH/proto"
cp -rp "$ROOT/examples/$1/." "$SCRATCH/examples/$1"
cd "$SCRATCH/examples/$1"
export EXAMPLE=$1

# killed_under CLIENT WORKER: the scenes of recipes.py, which need Python but no packages.
killed_under() {
    need python3 "on Debian, apt-get install python3"
    CLIENT=$1 WORKER=$2 exec python3 "$ROOT/tests/interop/recipes.py"
}
