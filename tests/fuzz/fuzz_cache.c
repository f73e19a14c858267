/* Cache files: any file is taken or ignored; what was stored is found again. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "device/cache_file.h"
#include "fuzz.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    clq_cache_key key = clq_cache_key_start();
    char name[64];
    void *payload = NULL;
    size_t got = 0;
    setenv("CLQUANT_CACHE_DIR", fuzz_folder(), 1);
    unsetenv("CLQUANT_CACHE");
    clq_cache_key_add_text(&key, "fuzz");
    snprintf(name, sizeof name, "raw-%016" PRIx64 "%016" PRIx64 ".bin", key.high, key.low);
    fuzz_put(name, data, size);
    if (clq_cache_load("raw", key, &payload, &got)) {
        fuzz_check(got + 48 == size && memcmp(payload, data + 48, got) == 0, "is the payload");
        clq_free(payload);
        payload = NULL;
    }
    clq_cache_store("whole", key, data, size);
    fuzz_check(clq_cache_load("whole", key, &payload, &got), "is found");
    fuzz_check(got == size && memcmp(payload, data, size) == 0, "is what was stored");
    clq_free(payload);
    return 0;
}

void fuzz_seeds(void) {
    fuzz_add_text("clqcache\1\0\0\0");
    fuzz_add("clqcache\1\0\0\0\0\0\0\0abcdefghijklmnop\4\0\0\0\0\0\0\0abcdefghdata", 52);
}
