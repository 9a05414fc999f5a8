"""Python does not repeat the block sizes by which the core divides its work."""

import ast

from metaspan._load import core

# Larger than what counts bytes of a number, registers or columns, which means other things too.
LEAST = 1000
# What has such a value by chance: the memory that the machine's rate of reading is measured on.
OTHERS = {"MEMORY_BYTES"}


def value(node):
    """Return the value of an expression that contains numbers only, otherwise None."""
    if isinstance(node, ast.Constant) and type(node.value) in (int, float):
        return node.value
    if not isinstance(node, ast.BinOp):
        return None
    sides = value(node.left), value(node.right)
    operators = {ast.Mult: "__mul__", ast.Pow: "__pow__", ast.LShift: "__lshift__"}
    name = operators.get(type(node.op))
    if name is None or None in sides or (name == "__pow__" and sides[1] > 64):
        return None
    found = getattr(sides[0], name)(sides[1])
    return None if found is NotImplemented else found


def repeats(text, sizes):
    """Numbers in a module that repeat one of the sizes, by line."""
    found, stack = [], [ast.parse(text)]
    while stack:
        node = stack.pop()
        if isinstance(node, ast.Assign) and getattr(node.targets[0], "id", None) in OTHERS:
            continue
        if value(node) is None:
            stack.extend(ast.iter_child_nodes(node))
        elif value(node) in sizes:
            found.append(node.lineno)
    return found


def sizes_of_core():
    """Values of the sizes that the core exports."""
    values = {getattr(core, name) for name in dir(core) if name.isupper()}
    return {v for v in values if type(v) in (int, float) and v >= LEAST}


def test_no_module_repeats_a_size_of_the_core(house):
    sizes = sizes_of_core()
    assert {2**14, 2**19, 13 * 2**19, 2**25, 2**26, 2**27} <= sizes
    assert {2**23, 2**24, 12 * 2**20} <= sizes  # where estimates expect data
    rooms = ("cost", "tasks", "engines", "config")
    paths = house.files(*(f"python/metaspan/{room}/**/*.py" for room in rooms))
    assert not [f"{path}:{line}" for path in paths for line in repeats(house.text(path), sizes)]


def test_repeats_are_found_however_they_are_written():
    sizes = {13 * 2**19, 2**26, 1e6}
    for text in ("A = 13 * 2**19", "A = 1 << 26", "def f(x):\n    return x < 67108864", "A = 1e6"):
        assert repeats(text, sizes), text
    for text in ("A = 2**20", "MEMORY_BYTES = 2**26", "A = 10**7"):
        assert not repeats(text, sizes), text
