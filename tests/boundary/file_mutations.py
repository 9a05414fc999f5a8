"""Mutations of files, each drawn from a generator `rng` like `random.Random`.

There are mutations of JSON trees, arrays, archives and plain bytes. A mutation of a file returns
its new content.
"""

import copy
import io
import json
import struct
import zipfile

import numpy as np

NUMBERS = [0, 1, -1, 2, 7, 2**31, 2**53, 2**63, 2**64, 10**18, 10**400, 0.5, -0.0, 1e308, 5e-324]
NUMBERS += [float("nan"), float("inf"), float("-inf")]
TREES = [None, True, False, "", "x", "1", "inf", "-inf", "\0", "a" * 5000, [], {}, [[]], [None]]
TREES += [
    {"range": [0, 10**18, 1]},
    {"range": [0, 1, 0]},
    {"tuple": [1]},
    {"array": "x"},
    {"array": {"dtype": "U99999999", "values": ["x"]}},
    {"array": {"dtype": "float64", "values": [[1.0], [2.0, 3.0]]}},
    {"array": {"dtype": "1000000000f8", "values": [1.0]}},
    {"function": "os.system"},
    {"kind": "TrainConfig", "fields": {}},
    {"kind": "ANIL", "fields": {"alpha": 0.5}},
    {"kind": "LinearTasks", "fields": {"d": 2**53, "k": 2**53, "spectrum": 1.0}},
    {"kind": "x"},
    {"fields": {}},
    {"expression": "10**10**10"},
    {"expression": "ones(10**6)"},
    {"template": "TrainConfig", "parts": {}},
    {"template": "GaussianHeads", "parts": {"cov": {"expression": "eye(999)"}}},
    {"values": [[0] * 3] * 3},
    {"computed": [1]},
]
BOMB = 2**30  # bytes that compressed members and headers promise


def paths(tree, here=()):
    """Ways to every part of a tree."""
    yield here
    if len(here) > 99:
        return
    items = tree.items() if isinstance(tree, dict) else enumerate(tree)
    for name, part in items:
        if isinstance(part, dict | list):
            yield from paths(part, (*here, name))
        else:
            yield (*here, name)


def at(tree, path):
    for name in path:
        tree = tree[name]
    return tree


def mutated_tree(tree, rng):
    """A JSON tree with one part dropped, doubled, exchanged, or replaced by something extreme."""
    tree = copy.deepcopy(tree)
    places = [path for path in paths(tree) if path]
    path = rng.choice(places)
    parent, name = at(tree, path[:-1]), path[-1]
    kind = rng.choice(["drop", "number", "number", "near", "tree", "swap", "wrap", "double", "new"])
    if kind == "drop":
        del parent[name]
    elif kind == "number":
        parent[name] = rng.choice(NUMBERS)
    elif kind == "near" and isinstance(parent[name], int | float):
        parent[name] += rng.choice([1, -1, 0.5])
    elif kind == "swap":
        parent[name] = copy.deepcopy(at(tree, rng.choice(places)))
    elif kind == "wrap":
        for _ in range(rng.choice([1, 2, 2000])):
            parent[name] = [parent[name]]
    elif kind == "double" and isinstance(parent, list):
        parent.insert(name, copy.deepcopy(parent[name]))
    elif kind == "new" and isinstance(parent, dict):
        parent[rng.choice(["x", "", "kind", "array"])] = rng.choice(TREES)
    else:
        parent[name] = copy.deepcopy(rng.choice(TREES))
    return tree


def text_of(tree):
    """Return a tree as JSON text. If it is too deep for `json`, return 5000 nested lists."""
    try:
        return json.dumps(tree)
    except RecursionError:
        return "[" * 5000 + "]" * 5000


def mutated_text(text, rng):
    """JSON of a tree with one mutation of the tree or of the text itself."""
    kind = rng.choice(["tree", "tree", "tree", "tree", "twice", "number", "bytes"])
    if kind == "tree":
        return text_of(mutated_tree(json.loads(text), rng)).encode()
    if kind == "twice" and '"' in text:
        names = [part for part in text.split('"')[1::2] if f'"{part}":' in text]
        name = rng.choice(names)
        return text.replace(f'"{name}":', f'"{name}": 1, "{name}":', 1).encode()
    if kind == "number":
        digits = rng.choice(["9" * 5000, "1e999", "-1e999", "NaN", "Infinity", "1.0e5", "00"])
        return text.replace("1", digits, 1).encode()
    return mutated_bytes(text.encode(), rng)


def mutated_bytes(content, rng):
    """Return bytes with one stretch removed, doubled, reversed, replaced or moved."""
    a, b = sorted(rng.randrange(len(content) + 1) for _ in range(2))
    b = min(b, a + rng.choice([1, 4, 64, 4096]))
    part = content[a:b]
    noise = bytes(rng.randrange(256) for _ in range(rng.choice([1, 2, 8])))
    middle = rng.choice([b"", part * 2, noise, bytes(len(part)), part[::-1], b"\xff" * len(part)])
    return content[:a] + middle + content[b:]


def mutated_array(array, rng):
    """An array of another shape, dtype or content."""
    kinds = ["flat", "axis", "empty", "less", "more", "turned", "single", "swapped", "columns"]
    kinds += ["integers", "text", "objects", "fields", "half", "complex", "truth", "value", "order"]
    kind = rng.choice(kinds)
    values = [np.nan, np.inf, -np.inf, -1, 0, 1e308, 5e-324]
    if kind == "value" and array.size and array.dtype.kind in "if":
        array = array.copy()
        value = rng.choice(values)
        array.flat[rng.randrange(array.size)] = value if array.dtype.kind == "f" else 2**62
        return array
    made = {
        "flat": lambda: array.reshape(-1),
        "axis": lambda: array[..., None],
        "empty": lambda: array[:0],
        "less": lambda: array[:-1],
        "more": lambda: np.concatenate([array, array]) if array.ndim else array,
        "turned": lambda: array.T,
        "single": lambda: array.astype(np.float32),
        "swapped": lambda: array.astype(array.dtype.newbyteorder()),
        "columns": lambda: np.asfortranarray(array),
        "integers": lambda: np.zeros(array.shape, np.int64),
        "text": lambda: np.zeros(array.shape, "U8"),
        "objects": lambda: np.array([None, {}], dtype=object),
        "fields": lambda: np.zeros(array.shape, [("a", "f8"), ("b", "f8")]),
        "half": lambda: np.zeros(array.shape, np.float16),
        "complex": lambda: array.astype(complex),
        "truth": lambda: np.zeros(array.shape, bool),
        "value": lambda: np.full(array.shape, np.nan),
        "order": array[::-1].copy,
    }
    return made[kind]()


def npy_of(array):
    content = io.BytesIO()
    np.lib.format.write_array(content, array, allow_pickle=True)
    return content.getvalue()


def mutated_npy(content, rng):
    """An npy file whose header promises something else."""
    shapes = ["(1073741824,)", "(4611686018427387904, 4)", "(-1,)", "(0, 9223372036854775808)"]
    shapes += ["(1,) * 3", "(True, 2)", "()", "(1" + ", 1" * 40 + ")", "(2.0,)", "[3]"]
    kinds = [
        "'<f8'",
        "'|O'",
        "'|V8'",
        "'<U1000000'",
        "[('a', '<f8')]",
        "'>f8'",
        "'|S0'",
        "'<M8[s]'",
    ]
    order, descr = rng.choice(["False", "True", "3"]), rng.choice(["'<f8'", *kinds])
    header = f"{{'descr': {descr}, 'fortran_order': {order}, 'shape': {rng.choice(shapes)}}}"
    header += rng.choice(["\n", " " * 20_000 + "\n", ""])
    length = rng.choice([len(header), len(header), 65535, 3])
    version = rng.choice([b"\x01\x00", b"\x01\x00", b"\x02\x00", b"\x03\x00", b"\x09\x09"])
    size = struct.pack("<H" if version == b"\x01\x00" else "<I", length)
    return b"\x93NUMPY" + version + size + header.encode() + content[128:]


def archive_of(members, rng, kind=""):
    """A zip archive of (name, content), with one thing that ours have not."""
    target = io.BytesIO()
    with zipfile.ZipFile(target, "w") as archive:
        for name, content in members:
            archive.writestr(f"{name}.npy", content, _compression(kind, rng))
        if kind == "bomb":
            archive.writestr("bomb.npy", npy_of(np.zeros(BOMB // 512)), zipfile.ZIP_DEFLATED)
        if kind == "names":
            archive.writestr(rng.choice(["../x.npy", "x", "/x.npy", "a/b/", "ü.npy"]), b"x")
        if kind == "comment":
            archive.comment = b"PK\x05\x06" * 9
    content = target.getvalue()
    if kind == "overlap":  # every member of the directory begins where the first does
        start = content.index(b"PK\x01\x02")
        head, tail = content[:start], bytearray(content[start:])
        for place in _places(bytes(tail), b"PK\x01\x02"):
            tail[place + 42 : place + 46] = bytes(4)
        return head + bytes(tail)
    if kind == "sizes":  # the directory promises what is not there
        start = rng.choice(_places(content, b"PK\x01\x02"))
        size = struct.pack("<I", rng.choice([BOMB, 2**32 - 1, 0, 1]))
        return content[: start + 20] + size * 2 + content[start + 28 :]
    if kind == "end":
        start = content.rindex(b"PK\x05\x06") + rng.choice([8, 10, 12, 16, 20])
        return content[:start] + rng.choice([b"\xff\xff", b"\0\0", b"\1\0"]) + content[start + 2 :]
    return content


def _compression(kind, rng):
    squeezed = kind == "squeezed" and rng.random() < 0.5
    return rng.choice([zipfile.ZIP_DEFLATED, zipfile.ZIP_LZMA]) if squeezed else zipfile.ZIP_STORED


def _places(content, mark):
    found, place = [], content.find(mark)
    while place >= 0:
        found.append(place)
        place = content.find(mark, place + 1)
    return found


ZIPS = ["squeezed", "names", "comment", "overlap", "sizes", "end", "twice", "less", "bomb"]


def mutated_archive(content, rng):
    """An archive of ours with one mutation; what it changed is told as a word, too."""
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        members = [(info.filename[:-4], archive.read(info)) for info in archive.infolist()]
    kind = rng.choice(["text", "text", "text", "array", "array", "npy", "zip", "bytes", "pair"])
    if kind == "bytes":
        return kind, mutated_bytes(content, rng)
    if kind == "zip":
        how = rng.choice(ZIPS)
        if how == "bomb" and rng.random() < 0.98:  # they take long to make
            how = "overlap"
        if how == "twice":
            members.append(rng.choice(members))
        if how == "less":
            members.remove(rng.choice(members))
        return how, archive_of(members, rng, how)
    for _ in range(2 if kind == "pair" else 1):
        one = kind if kind != "pair" else rng.choice(["text", "array"])
        place = 0 if one == "text" else rng.randrange(1, len(members))
        name, inner = members[place]
        if one == "npy":
            inner = mutated_npy(inner, rng)
        elif one == "array":
            array = np.load(io.BytesIO(inner), allow_pickle=True)
            plain = array.dtype.kind in "iuf"  # not yet changed to what is none of ours
            inner = npy_of(mutated_array(array, rng)) if plain else inner
        else:
            text = np.load(io.BytesIO(inner)).tobytes().decode(errors="replace")
            inner = npy_of(np.frombuffer(_any_text(text, rng), np.uint8))
        members[place] = name, inner
    return kind, archive_of(members, rng)


def _any_text(text, rng):
    try:
        return mutated_text(text, rng)
    except (ValueError, RecursionError):  # the first of two mutations left no JSON
        return mutated_bytes(text.encode(), rng)
