"""Philox4x32-10 (Salmon, Moraes, Dror, Shaw 2011) in integers, and normals from its words."""

import numpy as np

_MASK = 0xFFFFFFFF
_MULTIPLIERS = (0xD2511F53, 0xCD9E8D57)
_WEYL = (0x9E3779B9, 0xBB67AE85)


def philox4x32(key, counter, rounds=10):
    """Four 32-bit words from a key of two and a counter of four."""
    k_0, k_1 = key
    c_0, c_1, c_2, c_3 = counter
    for _ in range(rounds):
        product_0, product_1 = _MULTIPLIERS[0] * c_0, _MULTIPLIERS[1] * c_2
        c_0, c_1, c_2, c_3 = (
            (product_1 >> 32) ^ c_1 ^ k_0,
            product_1 & _MASK,
            (product_0 >> 32) ^ c_3 ^ k_1,
            product_0 & _MASK,
        )
        k_0, k_1 = (k_0 + _WEYL[0]) & _MASK, (k_1 + _WEYL[1]) & _MASK
    return c_0, c_1, c_2, c_3


def uniforms(words):
    """Return u in (0, 1) and an angle in quarter turns for each block of four words (N, 4).

    u is the midpoint of one of 2^52 cells, which the top 52 bits of (x0, x1) select. The top two
    bits of x2 select the quarter, 0 to 3, to which the next 52 bits of (x2, x3) add an offset in
    (-1/2, 1/2), again the midpoint of a cell.
    """
    x_0, x_1, x_2, x_3 = np.asarray(words, dtype=np.uint64).T
    to_unit = np.ldexp(np.longdouble(1), -52)
    half = np.longdouble(0.5)
    u = (((x_0 << np.uint64(20)) | (x_1 >> np.uint64(12))).astype(np.longdouble) + half) * to_unit
    low = ((x_2 & np.uint64(0x3FFFFFFF)) << np.uint64(22)) | (x_3 >> np.uint64(10))
    g = (low.astype(np.longdouble) + half) * to_unit - half
    return u, (x_2 >> np.uint64(30)).astype(np.longdouble) + g


def box_muller(words):
    """Two normals of each block (N, 4): sqrt(-2 log u) times cosine and sine of the turn."""
    u, quarters = uniforms(words)
    # Turns by whole quarters are exact, so that small values stay accurate.
    nearest = np.round(quarters)
    angle = 2 * np.arctan(np.longdouble(1)) * (quarters - nearest)
    cosine, sine = np.cos(angle), np.sin(angle)
    turns = nearest.astype(int) % 4
    radius = np.sqrt(-2 * np.log(u))
    a = np.choose(turns, [cosine, -sine, -cosine, sine])
    b = np.choose(turns, [sine, cosine, -sine, -cosine])
    return radius * a, radius * b
