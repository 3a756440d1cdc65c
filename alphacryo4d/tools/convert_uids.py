"""Identifiers of particles for cryoSPARC, made from their images."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

import numpy as np

from alphacryo4d.core.arrays import Array
from alphacryo4d.core.errors import InputError


def new_uids(names: Sequence[str], codes: Array, slices: Array) -> Array:
    """Identifiers that depend only on stack, image and copy, so that a second run gives the same.

    Raises
    ------
    InputError
        Two of them are equal, which is one case in 10^13 for a million particles.
    """
    digests = np.array(
        [
            int.from_bytes(
                hashlib.blake2b(name.encode("utf-8", "surrogateescape"), digest_size=8).digest(),
                "little",
            )
            for name in names
        ],
        np.uint64,
    )
    # splitmix64 (Steele, Lea, Flood 2014) of the stack's digest and the image's number
    with np.errstate(over="ignore"):
        count = slices.astype(np.uint64) + (copy_numbers(codes, slices) << np.uint64(40))
        mixed = digests[codes] + (count + np.uint64(1)) * np.uint64(0x9E3779B97F4A7C15)
        mixed = (mixed ^ (mixed >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        mixed = (mixed ^ (mixed >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        uids: Array = mixed ^ (mixed >> np.uint64(31))
    if len(np.unique(uids)) < len(uids):
        raise InputError(
            "two particles got the same uid by chance; convert the table in two parts with "
            "other stack names"
        )
    return uids


def copy_numbers(codes: Array, slices: Array) -> Array:
    """How many rows before a row are of the same image: 0, and more for symmetry-expanded ones.

    Parameters
    ----------
    codes, slices : (P,) int arrays
        Stack, and image in it.

    Returns
    -------
    (P,) uint64 array
    """
    order = np.lexsort((np.arange(len(codes)), slices, codes))
    fresh = np.ones(len(codes), bool)
    fresh[1:] = (np.diff(codes[order]) != 0) | (np.diff(slices[order]) != 0)
    starts = np.maximum.accumulate(np.where(fresh, np.arange(len(codes)), 0))
    result = np.empty(len(codes), np.uint64)
    result[order] = np.arange(len(codes)) - starts
    return result
