# For the checks of examples: `source recipes.sh LANGUAGE` copies examples/LANGUAGE to SCRATCH, beside the protos, and goes there.
source "$ROOT/tests/interop/lib.sh"
mkdir -p "$SCRATCH/examples/$1"
ln -sfn "$ROOT/proto" "$SCRATCH/proto"
cp -rp "$ROOT/examples/$1/." "$SCRATCH/examples/$1"
cd "$SCRATCH/examples/$1"
export EXAMPLE=$1

# no_example_does FILE BEGIN LONG LARGE: makes the work of the copy, which begins so, fail with an error that is longer than a
# report may be for the input "long", and return a result that is larger than one may be for the input "large".
no_example_does() { sed -i "/^ *$2/a\\$3\n$4" "$1"; }
case $1 in
python) no_example_does worker.py 'async def count_words' \
    '    if input.data == b"long": raise OSError("long " * 50_000)' \
    '    if input.data == b"large": return op.Payload(content_type="a/b", data=bytes(5 << 20))' ;;
node) no_example_does worker.mjs 'async function countWords' \
    '  if (`${input?.data}` === "long") throw new Error("long ".repeat(50_000));' \
    '  if (`${input?.data}` === "large") return " ".repeat(5 << 20);' ;;
go) no_example_does worker/main.go 'func countWords' \
    '    if string(in.GetData()) == "long" { return nil, errors.New(string(bytes.Repeat([]byte("long "), 50_000))) }' \
    '    if string(in.GetData()) == "large" { return \&pb.Payload{Content: \&pb.Payload_Data{Data: make([]byte, 5<<20)}}, nil }' ;;
java) no_example_does src/main/java/example/Worker.java 'private static Payload countWords' \
    '    if (input.getData().toStringUtf8().equals("long")) throw new Exception("long ".repeat(50_000));' \
    '    if (input.getData().toStringUtf8().equals("large")) return Payload.newBuilder().setText(" ".repeat(5 << 20)).build();' ;;
esac

# killed_under CLIENT WORKER: the scenes of recipes.py, which need Python but no packages.
killed_under() {
    need python3 "on Debian, apt-get install python3"
    CLIENT=$1 WORKER=$2 exec python3 "$ROOT/tests/interop/recipes.py"
}
