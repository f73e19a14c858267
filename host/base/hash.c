#include "base/hash.h"

#include <xxhash.h>

uint64_t clq_hash64(const void *data, size_t size) {
    return XXH3_64bits(data, size);
}

uint64_t clq_hash64_seeded(const void *data, size_t size, uint64_t seed) {
    return XXH3_64bits_withSeed(data, size, seed);
}

void clq_sha256_init(clq_sha256 *hash) {
    sha256_init(&hash->context);
}

void clq_sha256_update(clq_sha256 *hash, const void *data, size_t size) {
    if (size) {
        sha256_update(&hash->context, size, data);
    }
}

void clq_sha256_hex(clq_sha256 *hash, char hex[CLQ_SHA256_HEX_SIZE]) {
    static const char digits[] = "0123456789abcdef";
    uint8_t digest[SHA256_DIGEST_SIZE];
    sha256_digest(&hash->context, sizeof digest, digest);
    for (size_t i = 0; i < sizeof digest; i++) {
        hex[2 * i] = digits[digest[i] >> 4];
        hex[2 * i + 1] = digits[digest[i] & 15];
    }
    hex[2 * sizeof digest] = '\0';
}
