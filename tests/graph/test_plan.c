/* Sharing memory by lifetime: correctness against a brute-force check, and quality. */
#include "graph/plan.h"

#include "base/rng.h"
#include "support/clq_test.h"

/* What every plan must satisfy, by comparing all pairs. `alias` chains have at most one link here.
 */
static void check_plan(const clq_lifetime *lives, int count, const clq_plan *plan) {
    uint64_t total = 0;
    assert_int_equal(plan->count, count);
    for (int b = 0; b < plan->buffer_count; b++) {
        total += plan->size[b];
    }
    assert_int_equal(total, plan->total);
    assert_true(plan->lower_bound <= plan->total && plan->total <= plan->unshared);
    for (int i = 0; i < count; i++) {
        if (lives[i].bytes == 0) {
            assert_int_equal(plan->buffer[i], -1);
            continue;
        }
        assert_in_range(plan->buffer[i], 0, plan->buffer_count - 1);
        assert_true(plan->size[plan->buffer[i]] >= plan->offset[i] + lives[i].bytes);
        int root_i = lives[i].alias >= 0 ? lives[i].alias : i;
        for (int j = 0; j < i; j++) {
            bool apart = plan->buffer[i] != plan->buffer[j] ||
                         plan->offset[i] >= plan->offset[j] + lives[j].bytes ||
                         plan->offset[j] >= plan->offset[i] + lives[i].bytes;
            int root_j = lives[j].alias >= 0 ? lives[j].alias : j;
            bool meet = lives[i].first <= lives[j].last && lives[j].first <= lives[i].last;
            if (root_i == root_j) {
                assert_int_equal(plan->buffer[i], plan->buffer[j]);
                assert_int_equal(plan->offset[i], plan->offset[j]);
                assert_int_equal(plan->group[i], plan->group[j]);
            } else if (meet && lives[j].bytes > 0) {
                assert_true(apart);
            }
        }
    }
}

static clq_plan *make_plan(const clq_lifetime *lives, int count) {
    clq_plan *plan = NULL;
    assert_ok(clq_plan_create(lives, count, 1, UINT64_MAX, &plan));
    check_plan(lives, count, plan);
    return plan;
}

static void chain_takes_twice_its_link(void **state) {
    (void)state;
    clq_lifetime lives[10];
    for (int i = 0; i < 10; i++) {
        lives[i] = (clq_lifetime){.bytes = 100, .first = i, .last = i + 1, .alias = -1};
    }
    clq_plan *plan = make_plan(lives, 10);
    assert_int_equal(plan->buffer_count, 1);
    assert_int_equal(plan->total, 200);
    assert_int_equal(plan->unshared, 1000);
    clq_plan_destroy(plan);
}

static void residual_keeps_its_place(void **state) {
    (void)state;
    /* value 0 is added back at step 4 */
    clq_lifetime lives[] = {
        {8, 0, 4, -1}, {8, 1, 2, -1}, {8, 2, 3, -1}, {8, 3, 4, -1}, {8, 4, 5, -1}};
    clq_plan *plan = make_plan(lives, 5);
    assert_int_equal(plan->total, 24);
    assert_int_equal(plan->total, plan->lower_bound);
    clq_plan_destroy(plan);
}

/* Two small values lie where a large one was, which whole buffers could not do. */
static void small_values_share_a_large_ones_place(void **state) {
    (void)state;
    clq_lifetime lives[] = {{100, 0, 1, -1}, {60, 2, 3, -1}, {40, 2, 3, -1}};
    clq_plan *plan = make_plan(lives, 3);
    assert_int_equal(plan->total, 100);
    clq_plan_destroy(plan);
}

/* Under 50 lie 100 and then 40: the second 30 goes between them. */
static void the_smallest_gap_is_taken(void **state) {
    (void)state;
    clq_lifetime lives[] = {
        {100, 0, 1, -1}, {50, 0, 3, -1}, {40, 2, 3, -1}, {30, 1, 1, -1}, {30, 2, 2, -1}};
    clq_plan *plan = make_plan(lives, 5);
    assert_int_equal(plan->offset[1], 100);
    assert_int_equal(plan->offset[4], 40);
    assert_int_equal(plan->total, 180);
    clq_plan_destroy(plan);
}

static void buffers_are_limited(void **state) {
    (void)state;
    clq_lifetime lives[] = {{100, 0, 1, -1}, {50, 0, 1, -1}, {40, 0, 1, -1}, {300, 0, 1, -1}};
    clq_plan *plan = NULL;
    assert_ok(clq_plan_create(lives, 4, 1, 150, &plan));
    check_plan(lives, 4, plan);
    assert_int_equal(plan->buffer_count, 3); /* 300 alone; 100 and 50; 40 */
    assert_int_equal(plan->total, 490);
    clq_plan_destroy(plan);
}

static void offsets_are_aligned(void **state) {
    (void)state;
    clq_lifetime lives[] = {{100, 0, 1, -1}, {50, 0, 1, -1}, {1, 0, 1, -1}};
    clq_plan *plan = NULL;
    assert_ok(clq_plan_create(lives, 3, 64, UINT64_MAX, &plan));
    check_plan(lives, 3, plan);
    for (int i = 0; i < 3; i++) {
        assert_int_equal(plan->offset[i] % 64, 0);
    }
    assert_int_equal(plan->total, 128 + 64 + 64);
    clq_plan_destroy(plan);
}

static void small_values_leave_large_places_alone(void **state) {
    (void)state;
    clq_lifetime lives[] = {{1000, 0, 1, -1}, {10, 0, 1, -1}, {10, 2, 4, -1}, {1000, 3, 4, -1}};
    clq_plan *plan = make_plan(lives, 4);
    assert_int_equal(plan->total, 1010);
    clq_plan_destroy(plan);
}

static void aliases_share_and_live_for_both(void **state) {
    (void)state;
    clq_lifetime lives[] = {{64, 0, 1, -1}, {60, 1, 3, 0}, {64, 2, 3, -1}, {64, 4, 5, -1}};
    clq_plan *plan = make_plan(lives, 4);
    assert_int_equal(plan->buffer[0], plan->buffer[1]);
    assert_int_equal(plan->total, 128);
    clq_plan_destroy(plan);
}

static void alias_of_nothing_has_its_own_memory(void **state) {
    (void)state;
    clq_lifetime lives[] = {{0, 0, 1, -1}, {60, 1, 3, 0}};
    clq_plan *plan = NULL;
    assert_ok(clq_plan_create(lives, 2, 1, UINT64_MAX, &plan));
    assert_int_equal(plan->buffer[0], -1);
    assert_int_equal(plan->buffer[1], 0);
    clq_plan_destroy(plan);
}

static void alias_chains_are_one_group(void **state) {
    (void)state;
    clq_lifetime lives[] = {{8, 4, 5, 1}, {8, 2, 3, 2}, {8, 0, 1, -1}, {4, 0, 5, -1}};
    clq_plan *plan = NULL;
    assert_ok(clq_plan_create(lives, 4, 1, UINT64_MAX, &plan));
    assert_int_equal(plan->offset[0], plan->offset[2]);
    assert_int_equal(plan->offset[1], plan->offset[2]);
    assert_int_equal(plan->total, 12);
    clq_plan_destroy(plan);
}

static void nothing_to_plan(void **state) {
    (void)state;
    clq_plan *plan = NULL;
    assert_ok(clq_plan_create(NULL, 0, 1, UINT64_MAX, &plan));
    assert_int_equal(plan->buffer_count, 0);
    clq_plan_destroy(plan);
    clq_plan_destroy(NULL);
}

static void bad_lifetimes_are_refused(void **state) {
    (void)state;
    clq_plan *plan = NULL;
    clq_lifetime backwards = {8, 3, 2, -1}, outside = {8, 0, 1, 1};
    assert_status(clq_plan_create(&backwards, 1, 1, UINT64_MAX, &plan), CLQ_INTERNAL);
    assert_status(clq_plan_create(&outside, 1, 1, UINT64_MAX, &plan), CLQ_INTERNAL);
}

static void random_lifetimes(void **state) {
    (void)state;
    enum { MOST = 60 };
    clq_lifetime lives[MOST];
    clq_rng rng = clq_rng_start(clq_test_seed(), 1);
    for (int round = 0; round < 300; round++) {
        int count = 1 + (int)clq_bounded(clq_rng_next(&rng), MOST);
        for (int i = 0; i < count; i++) {
            int first = (int)clq_bounded(clq_rng_next(&rng), 40);
            lives[i] = (clq_lifetime){.bytes = clq_bounded(clq_rng_next(&rng), 5) * 16,
                                      .first = first,
                                      .last = first + (int)clq_bounded(clq_rng_next(&rng), 8),
                                      .alias = -1};
        }
        for (int i = 1; i < count; i += 7) {
            lives[i].alias = lives[i - 1].bytes > 0 ? i - 1 : -1;
        }
        clq_plan_destroy(make_plan(lives, count));
    }
}

static void every_failed_allocation_is_reported(void **state) {
    (void)state;
    clq_lifetime lives[] = {{8, 0, 4, -1}, {8, 1, 2, -1}, {16, 5, 6, -1}};
    for (long nth = 1;; nth++) {
        clq_plan *plan = NULL;
        clq_test_fail_allocation(nth);
        clq_status status = clq_plan_create(lives, 3, 1, UINT64_MAX, &plan);
        if (status == CLQ_OK) {
            clq_plan_destroy(plan);
            assert_int_equal(clq_test_live_allocations(), 0);
            break;
        }
        assert_int_equal(status, CLQ_NO_MEMORY);
        assert_int_equal(clq_test_live_allocations(), 0);
    }
    clq_test_restore_allocator();
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(chain_takes_twice_its_link),
        cmocka_unit_test(residual_keeps_its_place),
        cmocka_unit_test(small_values_share_a_large_ones_place),
        cmocka_unit_test(the_smallest_gap_is_taken),
        cmocka_unit_test(buffers_are_limited),
        cmocka_unit_test(offsets_are_aligned),
        cmocka_unit_test(small_values_leave_large_places_alone),
        cmocka_unit_test(aliases_share_and_live_for_both),
        cmocka_unit_test(alias_of_nothing_has_its_own_memory),
        cmocka_unit_test(alias_chains_are_one_group),
        cmocka_unit_test(nothing_to_plan),
        cmocka_unit_test(bad_lifetimes_are_refused),
        cmocka_unit_test(random_lifetimes),
        cmocka_unit_test(every_failed_allocation_is_reported),
    };
    return cmocka_run_group_tests_name("plan", tests, NULL, NULL);
}
