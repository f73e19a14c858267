/* Ranks: alone, and three of them, for which the program starts itself again. */
#include <stdlib.h>
#include <string.h>

#include "base/ranks.h"
#include "support/clq_test.h"
#include "support/ranks_run.h"

enum { RANKS = 3 };

static clq_ranks *ranks;

/* ---- alone ---- */

static void alone(void **state) {
    (void)state;
    clq_ranks *none = NULL;
    double values[] = {1, 2};
    int data = 7, all = 0;
    assert_false(clq_ranks_launched());
    assert_ok(clq_ranks_open(&none));
    assert_null(none);
    assert_int_equal(clq_ranks_rank(none), 0);
    assert_int_equal(clq_ranks_size(none), 1);
    assert_int_equal(clq_ranks_local(none), 0);
    assert_ok(clq_ranks_sum(none, values, 2));
    assert_ok(clq_ranks_broadcast(none, &data, sizeof data));
    assert_ok(clq_ranks_gather(none, &data, sizeof data, &all));
    assert_true(values[0] == 1 && values[1] == 2);
    assert_int_equal(all, 7);
    clq_ranks_close(none, CLQ_OK);
}

/* ---- together ---- */

static void know_each_other(void **state) {
    (void)state;
    int all[RANKS];
    const int rank = clq_ranks_rank(ranks);
    assert_int_equal(clq_ranks_size(ranks), RANKS);
    assert_int_equal(clq_ranks_local(ranks), rank); /* all on this machine */
    assert_non_null(getenv("POCL_MAX_PTHREAD_COUNT"));
    assert_ok(clq_ranks_gather(ranks, &rank, sizeof rank, all));
    for (int r = 0; r < RANKS; r++) {
        assert_int_equal(all[r], r);
    }
}

static void broadcast_is_rank_0s(void **state) {
    (void)state;
    char text[8] = "";
    if (clq_ranks_rank(ranks) == 0) {
        strcpy(text, "zero");
    }
    assert_ok(clq_ranks_broadcast(ranks, text, sizeof text));
    assert_string_equal(text, "zero");
}

/* In another order these sums would be 0 or 1e17. */
static void sums_are_in_the_order_of_ranks(void **state) {
    (void)state;
    const double parts[RANKS][2] = {{1, 1e17}, {1e17, 1}, {-1e17, -1e17}};
    double values[2];
    memcpy(values, parts[clq_ranks_rank(ranks)], sizeof values);
    assert_ok(clq_ranks_sum(ranks, values, 2));
    assert_true(values[0] == (1.0 + 1e17) - 1e17);
    assert_true(values[1] == (1e17 + 1.0) - 1e17);
}

static float value_of(int rank, size_t i) {
    static const float scale[RANKS] = {1.0f, 3e7f, -3e7f};
    return scale[rank] * (float)(i % 17 + 1) + (float)rank / 3;
}

static void finish(int lane) {
    for (bool done = false; !done; clq_ranks_rest()) {
        assert_ok(clq_ranks_poll(ranks, lane, &done));
    }
}

/* Exchange, mean and gather with other operations on the blocking lane between them. */
static void means_are_the_same_bits_everywhere(void **state) {
    (void)state;
    const size_t chunks[] = {1, 5, 1000, 70001};
    const int rank = clq_ranks_rank(ranks);
    for (size_t k = 0; k < sizeof chunks / sizeof *chunks; k++) {
        const size_t chunk = chunks[k], count = RANKS * chunk;
        float *values = calloc(count, sizeof *values), *parts = calloc(count, sizeof *parts);
        double one = 1;
        for (size_t i = 0; i < count; i++) {
            values[i] = value_of(rank, i);
        }
        assert_ok(clq_ranks_begin_exchange(ranks, values, parts, chunk));
        assert_ok(clq_ranks_sum(ranks, &one, 1));
        assert_true(one == RANKS);
        finish(CLQ_LANE_EXCHANGE);
        clq_ranks_mean(ranks, parts, chunk, values + (size_t)rank * chunk);
        assert_ok(clq_ranks_begin_gather(ranks, values, chunk));
        finish(CLQ_LANE_GATHER);
        for (size_t i = 0; i < count; i++) {
            const float sum = (value_of(0, i) + value_of(1, i)) + value_of(2, i);
            const float expected = sum * (1.0f / RANKS);
            assert_memory_equal(&values[i], &expected, sizeof expected);
        }
        free(values);
        free(parts);
    }
}

int main(int argc, char **argv) {
    const struct CMUnitTest single[] = {cmocka_unit_test(alone)};
    const struct CMUnitTest together[] = {
        cmocka_unit_test(know_each_other),
        cmocka_unit_test(broadcast_is_rank_0s),
        cmocka_unit_test(sums_are_in_the_order_of_ranks),
        cmocka_unit_test(means_are_the_same_bits_everywhere),
    };
    (void)argc;
    if (clq_ranks_launched()) {
        assert_ok(clq_ranks_open(&ranks));
        const int failed = cmocka_run_group_tests_name("together", together, NULL, NULL);
        clq_ranks_close(ranks, failed ? CLQ_GATE_FAILED : CLQ_OK);
        return failed;
    }
    const int failed = cmocka_run_group_tests_name("alone", single, NULL, NULL);
    if (failed || !ranks_can_run()) {
        return failed ? failed : RANKS_SKIPPED;
    }
    return ranks_run(argv[0], RANKS);
}
