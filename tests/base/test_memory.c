/* The allocator: overflow, failure, replacement, threads. */
#include <jansson.h>
#include <pthread.h>
#include <string.h>

#include "support/clq_test.h"

static int restore(void **state) {
    (void)state;
    clq_test_restore_allocator();
    return 0;
}

static void blocks_are_zeroed(void **state) {
    (void)state;
    for (int custom = 0; custom < 2; custom++) {
        if (custom) {
            clq_test_fail_allocation(0);
        }
        unsigned char *block = clq_calloc(1000, 3);
        assert_non_null(block);
        for (size_t i = 0; i < 3000; i++) {
            assert_int_equal(block[i], 0);
        }
        clq_free(block);
    }
    assert_int_equal(clq_test_live_allocations(), 0);
}

static void overflow_is_refused(void **state) {
    (void)state;
    assert_null(clq_calloc(SIZE_MAX, 2));
    assert_error_has("address space");
    assert_null(clq_calloc(SIZE_MAX / 2 + 1, 2));
    assert_null(clq_calloc(SIZE_MAX, 1)); /* beyond PTRDIFF_MAX */
    assert_null(clq_realloc(NULL, SIZE_MAX / 4, 8));
}

static void zero_sizes_yield_distinct_pointers(void **state) {
    (void)state;
    void *a = clq_calloc(0, 8);
    void *b = clq_calloc(8, 0);
    assert_non_null(a);
    assert_non_null(b);
    assert_ptr_not_equal(a, b);
    a = clq_realloc(a, 0, 1);
    assert_non_null(a);
    clq_free(a);
    clq_free(b);
    clq_free(NULL);
}

static void failed_growth_keeps_the_block(void **state) {
    (void)state;
    clq_test_fail_allocation(2);
    char *block = clq_calloc(4, 1);
    assert_non_null(block);
    memcpy(block, "abc", 4);
    assert_null(clq_realloc(block, 1000, 1));
    assert_error_has("1000 bytes");
    assert_string_equal(block, "abc");
    char *grown = clq_realloc(block, 1000, 1);
    assert_non_null(grown);
    assert_string_equal(grown, "abc");
    clq_free(grown);
    assert_int_equal(clq_test_allocations(), 3);
    assert_int_equal(clq_test_live_allocations(), 0);
}

static void json_trees_come_from_the_allocator(void **state) {
    (void)state;
    clq_test_fail_allocation(0);
    json_t *tree = json_pack("{s:i}", "key", 1);
    assert_non_null(tree);
    assert_true(clq_test_live_allocations() > 0);
    json_decref(tree);
    assert_int_equal(clq_test_live_allocations(), 0);
}

static void *churn(void *result) {
    for (size_t i = 1; i < 2000; i++) {
        unsigned char *block = clq_calloc(i, 3);
        if (!block || block[3 * i - 1] != 0) {
            return NULL;
        }
        memset(block, 0xff, 3 * i);
        clq_free(block);
    }
    return result;
}

static void threads_may_allocate_together(void **state) {
    (void)state;
    clq_test_fail_allocation(0);
    pthread_t threads[4];
    for (int i = 0; i < 4; i++) {
        assert_int_equal(pthread_create(&threads[i], NULL, churn, threads), 0);
    }
    for (int i = 0; i < 4; i++) {
        void *result = NULL;
        pthread_join(threads[i], &result);
        assert_non_null(result);
    }
    assert_int_equal(clq_test_live_allocations(), 0);
}

/* malloc may promise more than there is, and the process is ended when it uses it. */
static void more_than_the_machine_has_is_refused(void **state) {
    (void)state;
    assert_null(clq_calloc(1, (size_t)1 << 50));
    assert_error_has("1125899.9 GB asked for, this machine has");
    assert_null(clq_realloc(NULL, (size_t)1 << 30, 1 << 20));
    assert_error_has("this machine has");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_teardown(blocks_are_zeroed, restore),
        cmocka_unit_test(overflow_is_refused),
        cmocka_unit_test(zero_sizes_yield_distinct_pointers),
        cmocka_unit_test_teardown(failed_growth_keeps_the_block, restore),
        cmocka_unit_test_teardown(json_trees_come_from_the_allocator, restore),
        cmocka_unit_test_teardown(threads_may_allocate_together, restore),
        cmocka_unit_test(more_than_the_machine_has_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
