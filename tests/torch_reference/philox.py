"""clquant's random numbers (host/base/rng.h) in numpy: Philox4x32-10, Salmon et al., SC 2011."""
import numpy

_M0, _M1 = numpy.uint64(0xD2511F53), numpy.uint64(0xCD9E8D57)
_W0, _W1 = 0x9E3779B9, 0xBB67AE85
_LOW, _HALF = numpy.uint64(0xFFFFFFFF), numpy.uint64(32)


def blocks(seed, stream, first, count):
    """(count, 4) words: those of the counters first .. first + count - 1."""
    counter = numpy.arange(first, first + count, dtype=numpy.uint64)
    c0, c1 = counter & _LOW, counter >> _HALF
    c2 = numpy.full_like(counter, stream & 0xFFFFFFFF)
    c3 = numpy.full_like(counter, stream >> 32)
    k0, k1 = seed & 0xFFFFFFFF, seed >> 32
    for _ in range(10):
        p0, p1 = _M0 * c0, _M1 * c2
        c0, c1, c2, c3 = ((p1 >> _HALF) ^ c1 ^ numpy.uint64(k0), p1 & _LOW,
                          (p0 >> _HALF) ^ c3 ^ numpy.uint64(k1), p0 & _LOW)
        k0, k1 = (k0 + _W0) & 0xFFFFFFFF, (k1 + _W1) & 0xFFFFFFFF
    return numpy.stack([c0, c1, c2, c3], axis=1).astype(numpy.uint32)


def words(seed, stream, count):
    """The first words of (seed, stream), as clq_rng_next gives them."""
    return blocks(seed, stream, 0, (count + 3) // 4).reshape(-1)[:count]


def uniform(bits):
    """[0, 1) in steps of 2^-24, float32."""
    return (bits >> numpy.uint32(8)).astype(numpy.float32) * numpy.float32(2.0**-24)


def permutation(seed, stream, count):
    """clq_permutation: a random order of 0 .. count - 1."""
    pairs = blocks(seed, stream, 0, (count + 1) // 2).reshape(-1, 2).astype(object)
    order = numpy.empty(count, dtype=numpy.int64)
    for i in range(count):
        j = ((int(pairs[i, 0]) << 32 | int(pairs[i, 1])) * (i + 1)) >> 64
        order[i] = order[j]
        order[j] = i
    return order
