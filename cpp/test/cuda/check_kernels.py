"""Check that the tests launch every kernel with at least three blocks and three warps.

Usage: check_kernels.py FOLDER-OF-SOURCES FILE ..., where the files are those that the emulator
wrote. A kernel without barriers and without shared memory may have blocks of one warp, because its
warps do not interact.
"""

import re
import sys
from pathlib import Path

KERNEL = re.compile(
    r"__global__\s+void\s+(?:__launch_bounds__\s*\((?:[^()]|\([^()]*\))*\)\s*)?(\w+)\s*\("
)


def kernels(folder):
    """Return {name: body} of the kernels in the sources of a folder."""
    bodies = {}
    for path in sorted(folder.glob("*.cu*")):
        text = re.sub(r"//[^\n]*", "", path.read_text(encoding="utf-8"))
        for match in KERNEL.finditer(text):
            assert match[1] not in bodies, f"two kernels are named {match[1]}"
            start = text.index("{", match.end())
            depth, end = 1, start + 1
            while depth:
                depth += {"{": 1, "}": -1}.get(text[end], 0)
                end += 1
            bodies[match[1]] = text[start:end]
    return bodies


def launches(paths):
    """Return {name: shapes} of the recorded launches; a shape is (blocks, warps of a block)."""
    shapes = {}
    for path in filter(Path.exists, paths):
        for line in path.read_text(encoding="utf-8").splitlines():
            name, blocks, warps = line.split()
            shapes.setdefault(name, []).append((int(blocks), int(warps)))
    return shapes


def is_covered(body, shapes):
    """Return whether a launch has three blocks and, if its warps interact, three warps."""
    meets = "__syncthreads" in body or "METASPAN_SHARED" in body
    return any(blocks >= 3 and (warps >= 3 or not meets) for blocks, warps in shapes)


def main():
    made = launches([Path(path) for path in sys.argv[2:]])
    bodies = kernels(Path(sys.argv[1]))
    missing = [name for name, body in bodies.items() if not is_covered(body, made.get(name, []))]
    for name in missing:
        print(f"{name}: no test launches three blocks of three warps; {made.get(name, 'none')}")
    print(f"{len(bodies)} kernels, {len(missing)} without a test")
    return bool(missing)


if __name__ == "__main__":
    sys.exit(main())
