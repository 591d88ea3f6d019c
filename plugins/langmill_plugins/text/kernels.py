"""Compiled loops over the bytes of texts: code points, words, shingles, and the band keys of MinHash."""

# Types are inferred by the compiler, for what it is called with.
# mypy: allow-untyped-defs, disable-error-code="var-annotated,assignment"

from __future__ import annotations

import numpy as np
from numba import njit

P = np.uint64(0x9E3779B97F4A7C15)
_1, _8, _29, _33 = np.uint64(1), np.uint64(8), np.uint64(29), np.uint64(33)
_FIRST, _SECOND = np.uint64(0xFF51AFD7ED558CCD), np.uint64(0xC4CEB9FE1A85EC53)
_NOTHING, _TOGETHER, _GAP, _DOT = 0x110000, 0x110001, 0x110002, 0x110003  # see folding.py
_POINT = np.uint64(0x2E + 1)  # a decimal one
ASCII, RAW, FOLDED = 0, 1, 2
"""What is known of a text: it is ASCII; each point is folded by itself; it was folded before."""


@njit(cache=True, nogil=True, inline="always")
def mixed(value):
    """The finalizer of MurmurHash3, 64 bits: a bijection that spreads every bit."""
    value ^= value >> _33
    value *= _FIRST
    value ^= value >> _33
    value *= _SECOND
    return value ^ (value >> _33)


@njit(cache=True, nogil=True, inline="always")
def _point(data, place):
    """The code point that starts at a byte and where the next one starts; surrogates are three bytes like others."""
    lead = np.int64(data[place])
    if lead < 0x80:
        return lead, place + 1
    low = np.int64(data[place + 1]) & 0x3F
    if lead < 0xE0:
        return (lead & 0x1F) << 6 | low, place + 2
    low = low << 6 | np.int64(data[place + 2]) & 0x3F
    if lead < 0xF0:
        return (lead & 0x0F) << 12 | low, place + 3
    return (lead & 0x07) << 18 | low << 6 | np.int64(data[place + 3]) & 0x3F, place + 4


@njit(cache=True, nogil=True, inline="always")
def _is_digit(entry):
    return (entry >= 48) & (entry < 58)


@njit(cache=True, nogil=True)
def _digit_next(data, place, left, table):
    """Whether the next of so many points that is not taken out is a digit."""
    for _ in range(left):
        point, place = _point(data, place)
        if table[point] != _NOTHING:
            return _is_digit(np.int64(table[point]))
    return False


@njit(cache=True, nogil=True)
def _characters(data, place, points, raw, table, out):
    """Writes each letter's code point plus one, of a text of so many points; a point between two digits is one. How many letters
    there are, and where the text ends. -1 letters for a text with a point that can not be folded by itself."""
    count, together = 0, False
    before = 0  # the entry before this one
    for left in range(points - 1, -1, -1):
        point, place = _point(data, place)
        entry = np.int64(table[point])
        together |= raw and entry == _TOGETHER
        out[count] = np.uint64((entry if raw else point) + 1)
        count += entry < _NOTHING or (not raw and entry < _GAP)
        if (entry == _DOT) & _is_digit(before) and _digit_next(data, place, left, table):
            out[count] = _POINT
            count += 1
        before = before if entry == _NOTHING else entry
    return (-1 if together else count), place


@njit(cache=True, nogil=True)
def _ascii_words(text, table, out):
    """_words() for ASCII: there is nothing to decode, and every byte is a letter or a gap. Without a branch, since where a word
    ends can not be foretold: each step writes the word so far, and at a gap moves on."""
    count, word = 0, np.uint64(0)
    for byte in text:
        entry = np.uint64(table[byte])
        gap = entry >= np.uint64(_GAP)
        out[count] = word
        count += gap and word != 0
        word = ((word << _8) + word + entry + _1) & (np.uint64(gap) - _1)
    out[count] = word
    return count + (word != 0)


@njit(cache=True, nogil=True)
def _words(data, place, points, raw, table, out):
    """Writes a number for each word: a polynomial of its code points plus one at 257, which takes a shift and two additions.
    Words of up to seven letters out of one block of Unicode can not meet. Returns as _characters() does."""
    count, word, together = 0, np.uint64(0), False
    for _ in range(points):
        point, place = _point(data, place)
        entry = np.int64(table[point])
        together |= raw and entry == _TOGETHER
        if entry < _NOTHING or (not raw and entry < _GAP):
            word = (word << _8) + word + np.uint64(entry if raw else point) + _1
        elif entry >= _GAP:
            out[count] = word
            count += word != 0
            word = np.uint64(0)
    out[count] = word
    return (-1 if together else count + (word != 0)), place


@njit(cache=True, nogil=True)
def shingled(data, points, forms, table, counts, by_word, sizes, tags, distinct):
    """See shingling.cut. Text i is the next points[i] code points of the data, of forms[i]; item j is the next counts[j] texts.
    The last array tells which texts must be folded before: of them nothing was cut."""
    offsets = np.zeros(len(counts) + 1, np.int64)
    together = np.zeros(len(points), np.bool_)
    units = np.empty(np.max(points) + 1 if len(points) else 1, np.uint64)
    values = np.empty(_room(points, counts, by_word), np.uint64)
    text, place, total = 0, 0, 0
    for item in range(len(counts)):
        first = total
        for _ in range(counts[item]):
            raw = forms[text] != FOLDED
            if not by_word[item]:
                count, place = _characters(data, place, points[text], raw, table, units)
            elif forms[text] == ASCII:
                count = _ascii_words(data[place : place + points[text]], table, units)
                place += points[text]
            else:
                count, place = _words(data, place, points[text], raw, table, units)
            together[text] = count < 0
            total += _runs(units[: max(0, count)], sizes[item], tags[item], values[total:])
            text += 1
        if distinct:
            total = first + _distinct(values[first:total])
        offsets[item + 1] = total
    return values[:total].copy(), offsets, together


@njit(cache=True, nogil=True)
def _room(points, counts, by_word):
    """The most shingles that there can be: words have a gap between them."""
    text, room = 0, 0
    for item in range(len(counts)):
        for _ in range(counts[item]):
            room += (points[text] + 1) // 2 if by_word[item] else points[text]
            text += 1
    return room


@njit(cache=True, nogil=True)
def _runs(units, size, tag, out):
    """Writes a hash for each run of ``size`` units, or for all units if they are fewer; how many there are."""
    if not len(units):
        return 0
    width = min(size, len(units))
    begin = np.uint64(tag << 8 | width)
    count = len(units) - width + 1
    for place in range(count):  # step by step for all runs, so that each loop works on several at once
        out[place] = units[place] + begin
    for later in range(1, width):
        for place in range(count):
            run = out[place] * P
            out[place] = (run ^ (run >> _29)) + units[place + later]
    for place in range(count):
        out[place] = mixed(out[place])
    return count


@njit(cache=True, nogil=True)
def _distinct(values):
    """Sorts in place and moves each value once to the front; how many there are."""
    values.sort()
    count = 0
    for index in range(len(values)):
        if not index or values[index] != values[count - 1]:
            values[count] = values[index]
            count += 1
    return count


@njit(cache=True, nogil=True, inline="always")
def _spread(value):
    """The finalizer of MurmurHash3, 32 bits, of the low half: datasketch applies it before it permutes."""
    value = np.uint32(value)
    value = np.uint32((value ^ (value >> np.uint32(16))) * np.uint32(0x85EBCA6B))
    value = np.uint32((value ^ (value >> np.uint32(13))) * np.uint32(0xC2B2AE35))
    return np.uint32(value ^ (value >> np.uint32(16)))


@njit(cache=True, nogil=True)
def minima(values, a, b, out):
    """Lowers out[j] to the least of a[j] * spread(value) + b[j] (32 bits): datasketch's signature, scheme affine32."""
    whole = len(values) // 4 * 4
    for index in range(0, whole, 4):  # four at a time: out is read and written a quarter as often
        one, two = _spread(values[index]), _spread(values[index + 1])
        three, four = _spread(values[index + 2]), _spread(values[index + 3])
        for place in range(len(out)):
            factor, more = a[place], b[place]
            low = min(np.uint32(np.uint32(factor * one) + more), np.uint32(np.uint32(factor * two) + more))
            high = min(np.uint32(np.uint32(factor * three) + more), np.uint32(np.uint32(factor * four) + more))
            out[place] = min(out[place], min(low, high))
    for index in range(whole, len(values)):
        one = _spread(values[index])
        for place in range(len(out)):
            out[place] = min(out[place], np.uint32(np.uint32(a[place] * one) + b[place]))


@njit(cache=True, nogil=True)
def band_keys(values, offsets, kinds, rights, a, b, bands, width):
    """Keys of rows, shape (rows, bands). Items 3 * i to 3 * i + 2 of the shingles are question, options and answer of row i,
    ``kinds`` are minhash.KINDS, ``rights`` the digests of choice items' right answers: with others it is another item. Of a
    band's minima the first width // 2 are of the question."""
    rows = len(kinds)
    keys = np.empty((rows, bands), np.uint64)
    least = np.empty(bands * width, np.uint32)
    for row in range(rows):
        question = values[offsets[3 * row] : offsets[3 * row + 1]]
        options = values[offsets[3 * row + 1] : offsets[3 * row + 2]]
        answer = values[offsets[3 * row + 2] : offsets[3 * row + 3]]
        kind = kinds[row]
        asked = width // 2 if kind else 0
        middle = bands * asked
        least[:] = np.uint32(0xFFFFFFFF)
        minima(question, a[:middle], b[:middle], least[:middle])
        start = np.uint64(kind) + rights[row]
        if kind == 2:
            minima(question, a[middle:], b[middle:], least[middle:])
            minima(options, a[middle:], b[middle:], least[middle:])
        else:
            minima(answer, a[middle:], b[middle:], least[middle:])
        for band in range(bands):
            key = (start + np.uint64(band)) * P
            for place in range(asked):
                key = _stirred(key, least[band * asked + place])
            for place in range(width - asked):
                key = _stirred(key, least[middle + band * (width - asked) + place])
            keys[row, band] = mixed(key)
    return keys


@njit(cache=True, nogil=True, inline="always")
def _stirred(key, value):
    key = (key ^ np.uint64(value)) * P
    return key ^ (key >> _29)
