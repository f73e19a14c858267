/* Launches as one: the same values, however many groups really run, on whatever buffers. */
#include "support/clq_test.h"

#include <string.h>

#include "device/chain.h"
#include "device/internal.h"

/* What kernels/include/builtins.h ends with. */
#define ITEM_MACROS                                                                                \
    "#ifdef CLQ_ITEM\n"                                                                            \
    "#define get_global_id(d) CLQ_ITEM[d]\n"                                                       \
    "#define get_global_size(d) CLQ_ITEM[3 + (d)]\n"                                               \
    "#endif\n"

/* Every item reads its neighbours, which another item has written in the step before. */
static const char mix_source[] = ITEM_MACROS
    "#define AT(i, j, k) x[((k) * sizes[1] + (j)) * sizes[0] + (i)]\n"
    "static inline int neighbour(int at, int size) { return at == 0 ? size - 1 : at - 1; }\n"
    "__kernel void test_mix(__global const int *x, __global int *y, int factor, float offset,\n"
    "                       __global const int *none) {\n"
    "    const int sizes[3] = {get_global_size(0), get_global_size(1), get_global_size(2)};\n"
    "    const int i = get_global_id(0), j = get_global_id(1), k = get_global_id(2);\n"
    "    const int left = AT(neighbour(i, sizes[0]), j, k), up = AT(i, neighbour(j, sizes[1]), "
    "k);\n"
    "    y[(k * sizes[1] + j) * sizes[0] + i] = AT(i, j, k) * 3 + left * factor + up\n"
    "        + AT(i, j, neighbour(k, sizes[2])) + (int)(offset * 4) + (none ? 1 : 0);\n"
    "}\n";
static const char turn_source[] =
    ITEM_MACROS "__kernel void test_turn(__global const int *x, __global int *y) {\n"
                "    y[get_global_id(0)] = x[get_global_size(0) - 1 - get_global_id(0)] ^ 0x55;\n"
                "}\n";
static const clq_kernel_entry mix_entry = {"test_mix", "mix.cl", mix_source};
static const clq_kernel_entry turn_entry = {"test_turn", "turn.cl", turn_source};

enum { STEPS = 30, MOST = 7000, LONG = MOST, RUNS = 5 };

static clq_device *device;
static clq_kernel *mix, *turn;
static clq_buffer *data[2], *others[2];

static clq_kernel *get(const clq_kernel_entry *entry) {
    clq_kernel *kernel = NULL;
    assert_ok(clq_kernel_get_entry(device, entry, NULL, clq_device_get_info(device)->dot, &kernel));
    return kernel;
}

static int setup(void **state) {
    (void)state;
    unsetenv("CLQUANT_CHAIN");
    if (clq_device_open(NULL, &device) != CLQ_OK) {
        return -1;
    }
    mix = get(&mix_entry);
    turn = get(&turn_entry);
    for (int i = 0; i < 2; i++) {
        assert_ok(clq_buffer_create(device, MOST * sizeof(int32_t), &data[i]));
        assert_ok(clq_buffer_create(device, MOST * sizeof(int32_t), &others[i]));
    }
    return 0;
}

static int teardown(void **state) {
    (void)state;
    for (int i = 0; i < 2; i++) {
        clq_buffer_release(data[i]);
        clq_buffer_release(others[i]);
    }
    clq_device_close(device);
    return 0;
}

static void needs_chains(void) {
    if (!clq_chain_possible(device)) {
        clq_test_skip("PoCL's CPU device on the CPU schedule");
    }
}

/* Ranges of one, some and many items, of all dimensions, from each buffer to the other in turn. */
static clq_status launch_all(clq_buffer *const buffers[2]) {
    static const clq_range ranges[] = {
        {3, {5, 3, 7}, {0}}, {1, {1, 1, 1}, {0}}, {2, {40, 7, 1}, {0}}, {1, {LONG, 1, 1}, {0}}};
    for (int s = 0; s < STEPS; s++) {
        clq_buffer *x = buffers[s % 2], *y = buffers[1 - s % 2];
        if (s % 5 == 4) {
            CLQ_TRY(CLQ_LAUNCH(device, turn, CLQ_RANGE1(13 + s), CLQ_BUF(x), CLQ_BUF(y)));
        } else {
            CLQ_TRY(CLQ_LAUNCH(device, mix, ranges[s % 4], CLQ_BUF(x), CLQ_BUF(y), CLQ_I32(-s),
                               CLQ_F32(0.25f * (float)s), CLQ_BUF(s % 3 ? NULL : x)));
        }
    }
    return CLQ_OK;
}

static void fill(clq_buffer *const buffers[2], uint64_t stream) {
    static int32_t start[MOST];
    for (uint64_t i = 0; i < 2; i++) {
        clq_test_fill_s32(start, MOST, -1000, 1000, stream + i);
        assert_ok(clq_buffer_write(buffers[i], 0, sizeof start, start));
    }
}

static void read(clq_buffer *const buffers[2], int32_t out[2 * MOST]) {
    for (int i = 0; i < 2; i++) {
        assert_ok(clq_buffer_read(buffers[i], 0, MOST * sizeof(int32_t), out + i * MOST));
    }
}

static void assert_same(clq_chain *chain, clq_buffer *const buffers[2]) {
    static int32_t queued[2 * MOST], chained[2 * MOST];
    for (uint64_t run = 0; run < RUNS; run++) {
        fill(buffers, 10 * run);
        assert_ok(launch_all(buffers));
        read(buffers, queued);
        fill(buffers, 10 * run);
        assert_ok(clq_chain_run(chain));
        read(buffers, chained);
        assert_memory_equal(queued, chained, sizeof queued);
    }
}

static clq_chain *make(const char *options, clq_buffer *const buffers[2]) {
    clq_chain *chain = NULL;
    int kernels = 0;
    assert_ok(clq_chain_record(device));
    assert_ok(launch_all(buffers));
    assert_int_equal(clq_chain_noted(device, &kernels), STEPS);
    assert_int_equal(kernels, 2);
    assert_ok(clq_chain_make(device, options, &chain));
    return chain;
}

static void test_same_values(void **state) {
    (void)state;
    needs_chains();
    clq_chain *chain = make(NULL, data);
    assert_true(clq_chain_ready(chain));
    assert_same(chain, data);
    clq_chain_destroy(chain);
}

/* Groups that leave whenever they would have to wait: the last one that works does the rest. */
static void test_groups_leave(void **state) {
    (void)state;
    needs_chains();
    clq_chain *chain = make("-DPATIENCE=0", data);
    assert_same(chain, data);
    clq_chain_destroy(chain);
}

static void test_other_buffers(void **state) {
    (void)state;
    needs_chains();
    clq_chain *chain = make(NULL, data);
    assert_ok(clq_chain_record(device));
    assert_ok(launch_all(others));
    assert_ok(clq_chain_make(device, NULL, &chain));
    assert_same(chain, others);
    /* Fewer launches are another chain. */
    assert_ok(clq_chain_record(device));
    assert_ok(CLQ_LAUNCH(device, turn, CLQ_RANGE1(4), CLQ_BUF(data[0]), CLQ_BUF(data[1])));
    assert_status(clq_chain_make(device, NULL, &chain), CLQ_DEVICE);
    assert_error_has("other launches");
    assert_same(chain, others);
    clq_chain_destroy(chain);
}

/* What is noted does not run, and what is no launch ends the noting. */
static void test_refused(void **state) {
    (void)state;
    needs_chains();
    static int32_t before[2 * MOST], after[2 * MOST];
    clq_chain *chain = NULL;
    clq_buffer *own = NULL;
    fill(data, 3);
    read(data, before);
    assert_ok(clq_chain_record(device));
    assert_ok(launch_all(data));
    assert_status(clq_buffer_fill(data[0], 0, 16, 0), CLQ_DEVICE);
    assert_error_has("a fill cannot be a part of a chain");
    assert_status(clq_chain_make(device, NULL, &chain), CLQ_DEVICE);
    assert_error_has("no chain: a fill");
    assert_null(chain);
    read(data, after);
    assert_memory_equal(before, after, sizeof before);

    assert_ok(clq_chain_record(device));
    const clq_range grouped = {1, {8, 1, 1}, {4, 1, 1}};
    assert_status(CLQ_LAUNCH(device, turn, grouped, CLQ_BUF(data[0]), CLQ_BUF(data[1])),
                  CLQ_DEVICE);
    clq_chain_drop(device);

    assert_ok(clq_buffer_create(device, 64, &own));
    assert_ok(clq_chain_record(device));
    assert_ok(CLQ_LAUNCH(device, turn, CLQ_RANGE1(4), CLQ_BUF(data[0]), CLQ_BUF(own)));
    clq_buffer_release(own); /* others may get it */
    assert_status(clq_chain_make(device, NULL, &chain), CLQ_DEVICE);
    assert_error_has("memory that is taken for a launch");

    assert_ok(clq_chain_record(device));
    assert_status(clq_chain_make(device, NULL, &chain), CLQ_DEVICE);
    assert_error_has("nothing was launched");
}

static void test_scratch(void **state) {
    (void)state;
    needs_chains();
    clq_chain *chain = NULL;
    clq_buffer *scratch = NULL;
    assert_ok(clq_scratch_reserve(device, 4096));
    assert_ok(clq_chain_record(device));
    assert_ok(clq_scratch_take(device, 4096, &scratch));
    assert_ok(CLQ_LAUNCH(device, turn, CLQ_RANGE1(16), CLQ_BUF(data[0]), CLQ_BUF(scratch)));
    assert_ok(CLQ_LAUNCH(device, turn, CLQ_RANGE1(16), CLQ_BUF(scratch), CLQ_BUF(data[1])));
    clq_buffer_release(scratch);
    assert_ok(clq_chain_make(device, NULL, &chain));
    assert_false(clq_chain_moved(chain));
    fill(data, 5);
    assert_ok(clq_chain_run(chain));
    int32_t x[16], y[16];
    assert_ok(clq_buffer_read(data[0], 0, sizeof x, x));
    assert_ok(clq_buffer_read(data[1], 0, sizeof y, y));
    assert_memory_equal(x, y, sizeof x); /* turned twice */
    assert_ok(clq_scratch_reserve(device, 1 << 20));
    assert_true(clq_chain_moved(chain));
    clq_chain_destroy(chain);
}

static void test_profiling(void **state) {
    (void)state;
    needs_chains();
    clq_chain *chain = make(NULL, data);
    assert_ok(clq_device_profile(device, true));
    assert_false(clq_chain_ready(chain));
    assert_ok(clq_device_profile(device, false));
    assert_true(clq_chain_ready(chain));
    clq_chain_destroy(chain);
}

static void test_switched_off(void **state) {
    (void)state;
    setenv("CLQUANT_CHAIN", "off", 1);
    assert_false(clq_chain_possible(device));
    unsetenv("CLQUANT_CHAIN");
}

static void test_out_of_memory(void **state) {
    (void)state;
    needs_chains();
    bool made = false;
    for (long n = 1; !made; n++) {
        clq_chain *chain = NULL;
        clq_pool_trim(device);
        clq_test_fail_allocation(n);
        clq_status status = clq_chain_record(device);
        if (status == CLQ_OK) {
            status = launch_all(data);
            if (status != CLQ_OK) {
                clq_chain_drop(device);
            } else {
                status = clq_chain_make(device, NULL, &chain);
            }
        }
        made = status == CLQ_OK;
        assert_true(made || status == CLQ_NO_MEMORY || status == CLQ_DEVICE);
        assert_true(made == (chain != NULL));
        clq_chain_destroy(chain);
        clq_pool_trim(device);
        assert_int_equal(clq_test_live_allocations(), 0);
        clq_test_restore_allocator();
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_same_values),   cmocka_unit_test(test_groups_leave),
        cmocka_unit_test(test_other_buffers), cmocka_unit_test(test_refused),
        cmocka_unit_test(test_scratch),       cmocka_unit_test(test_profiling),
        cmocka_unit_test(test_switched_off),  cmocka_unit_test(test_out_of_memory),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
