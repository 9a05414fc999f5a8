#!/usr/bin/env bash
# Builds the device module for a card, tests it, checks it with compute-sanitizer, and times it.
# Takes less than eight minutes on a machine with eight cores. Unverified on a card.
#
#   bench/cuda.sh [FOLDER]            # leaves cuda.jsonl, cuda.txt and the logs in FOLDER
#   bench/cuda.sh --dry-run [FOLDER]  # prints the steps, and runs the benches on the emulated module
#
# CUDA_ARCHITECTURE is the compute capability of the card: 90 by default (H100, H200), 80 for an
# A100. PYTHON is the interpreter that makes the environment. PyTorch and JAX are measured if that
# interpreter has builds of them that find the card.
set -euo pipefail
cd "$(dirname "$0")/.."

dry=no
if [ "${1:-}" = --dry-run ]; then
  dry=yes
  shift
fi
out=$(realpath -m "${1:-build/cuda}")
architecture=${CUDA_ARCHITECTURE:-90}
python=${PYTHON:-python3}
sanitizer=$(command -v compute-sanitizer || echo /usr/local/cuda/bin/compute-sanitizer)
mkdir -p "$out"

# step NAME LIMIT COMMAND...: runs a command for at most LIMIT seconds, and keeps its output.
step() {
  local name=$1 limit=$2 began=$SECONDS
  shift 2
  if [ $dry = yes ]; then
    echo "$name: $*"
    return
  fi
  local left=$((total - SECONDS))
  ((limit < left)) || limit=$((left > 1 ? left : 1))
  if timeout "$limit" bash -c '"$@"' step "$@" > "$out/$name.log" 2>&1; then
    echo "$name: $((SECONDS - began)) s"
  else
    echo "$name: FAILED after $((SECONDS - began)) s, see $out/$name.log"
    tail -n 20 "$out/$name.log"
    failed=yes
  fi
}
failed=no
total=470  # seconds of all steps

# each PREFIX...: runs every program of the kernel tests as the last argument of the command PREFIX.
each() {
  local program
  for program in "$out"/tests/cpp/test/cuda/test_cuda_*; do
    "$@" "$program" || [ $? = 77 ] || return 1  # 77: there is no card
  done
}
export -f each
export out

export CMAKE_BUILD_PARALLEL_LEVEL=${CMAKE_BUILD_PARALLEL_LEVEL:-$(nproc)}
cuda=(METASPAN_CUDA=ON "METASPAN_CUDA_ARCHITECTURES=$architecture-real")
step environment 60 "$python" -m venv --system-site-packages --clear "$out/venv"
venv="$out/venv/bin"
[ $dry = yes ] && venv=$(dirname "$(command -v "$python")")
step install 240 "$venv/pip" install '.[test]' ninja pybind11 cmeel-eigen \
  "${cuda[@]/#/-Ccmake.define.}"
step configure 60 cmake -S . -B "$out/tests" -G Ninja -DCMAKE_BUILD_TYPE=Release \
  -DPython_EXECUTABLE="$venv/python" -DMETASPAN_BUILD_TESTS=ON "${cuda[@]/#/-D}"
step build 200 cmake --build "$out/tests" --target cpp/test/cuda/all
step kernels 60 each env
# The tests provoke failures of calls and launches, which memcheck would report as errors.
step memcheck 60 each "$sanitizer" --tool memcheck --report-api-errors no --error-exitcode 1
for tool in racecheck synccheck; do
  step "$tool" 60 each "$sanitizer" --tool "$tool" --error-exitcode 1
done
step pytest 90 "$venv/python" -m pytest -q -m cuda tests
if [ $dry = yes ]; then
  "$venv/python" -m bench.bench_cuda --dry-run --json "$out/cuda.jsonl" --table "$out/cuda.txt"
  exit
fi
step benches 150 "$venv/python" -m bench.bench_cuda --json "$out/cuda.jsonl" --table "$out/cuda.txt"
[ -f "$out/cuda.txt" ] && cat "$out/cuda.txt"
[ $failed = no ]
