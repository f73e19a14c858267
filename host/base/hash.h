/* Hashes: a fast one for checksums and cache keys, SHA-256 for results that people compare. */
#ifndef CLQ_BASE_HASH_H
#define CLQ_BASE_HASH_H

#include <nettle/sha2.h>
#include <stddef.h>
#include <stdint.h>

/* XXH3, 64 bits. Not against forgery. */
uint64_t clq_hash64(const void *data, size_t size);

/* The same, continuing from an earlier hash: a chain over several blocks. */
uint64_t clq_hash64_seeded(const void *data, size_t size, uint64_t seed);

typedef struct clq_sha256 {
    struct sha256_ctx context;
} clq_sha256;

enum { CLQ_SHA256_HEX_SIZE = 65 };

void clq_sha256_init(clq_sha256 *hash);
void clq_sha256_update(clq_sha256 *hash, const void *data, size_t size);
/* The digest as 64 lower-case hex digits and a NUL; `hash` starts anew. */
void clq_sha256_hex(clq_sha256 *hash, char hex[CLQ_SHA256_HEX_SIZE]);

#endif
