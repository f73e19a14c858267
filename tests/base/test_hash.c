/* Hashes against their published test vectors. */
#include <string.h>

#include "base/hash.h"
#include "support/clq_test.h"

static void assert_sha256(const char *text, const char *expected) {
    char hex[CLQ_SHA256_HEX_SIZE];
    size_t length = strlen(text);
    for (size_t split = 0; split <= length; split++) {
        clq_sha256 hash;
        clq_sha256_init(&hash);
        clq_sha256_update(&hash, text, split);
        clq_sha256_update(&hash, text + split, length - split);
        clq_sha256_hex(&hash, hex);
        assert_string_equal(hex, expected);
    }
}

/* FIPS 180-4 examples. */
static void sha256_known_answers(void **state) {
    (void)state;
    assert_sha256("", "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
    assert_sha256("abc", "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
    assert_sha256("abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq",
                  "248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1");
}

static void sha256_starts_anew_after_hex(void **state) {
    (void)state;
    char first[CLQ_SHA256_HEX_SIZE], second[CLQ_SHA256_HEX_SIZE];
    clq_sha256 hash;
    clq_sha256_init(&hash);
    clq_sha256_update(&hash, "abc", 3);
    clq_sha256_hex(&hash, first);
    clq_sha256_update(&hash, "abc", 3);
    clq_sha256_hex(&hash, second);
    assert_string_equal(first, second);
    clq_sha256_update(&hash, NULL, 0);
    clq_sha256_hex(&hash, first);
    assert_memory_equal(first, "e3b0c442", 8);
}

static void hash64_known_answers(void **state) {
    (void)state;
    assert_true(clq_hash64("", 0) == UINT64_C(0x2D06800538D394C2));
    assert_true(clq_hash64("abc", 3) == clq_hash64_seeded("abc", 3, 0));
    assert_true(clq_hash64("abc", 3) != clq_hash64("abd", 3));
    assert_true(clq_hash64_seeded("abc", 3, 1) != clq_hash64_seeded("abc", 3, 2));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(sha256_known_answers),
        cmocka_unit_test(sha256_starts_anew_after_hex),
        cmocka_unit_test(hash64_known_answers),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
