/* Buffers: the pool, views, bounds, copies. */
#include "support/clq_test.h"

#include <string.h>

#include "clquant/device.h"
#include "device/internal.h"

static clq_device *device;

static int open_device(void **state) {
    (void)state;
    return clq_device_open(NULL, &device) == CLQ_OK ? 0 : -1;
}

static int close_device(void **state) {
    (void)state;
    uint64_t live, peak;
    clq_device_memory(device, &live, &peak);
    clq_device_close(device);
    return live == 0 ? 0 : -1;
}

static void test_round_trip(void **state) {
    (void)state;
    static const size_t sizes[] = {1, 3, 4, 255, 256, 257, 4096, 1000003};
    for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
        size_t size = sizes[i];
        clq_buffer *buffer = NULL;
        uint8_t *data = clq_test_guarded(size), *back = clq_test_guarded(size);
        clq_test_fill_u8(data, size, 0, 255, i);
        assert_ok(clq_buffer_create(device, size, &buffer));
        assert_int_equal(clq_buffer_size(buffer), size);
        assert_ok(clq_buffer_write(buffer, 0, size, data));
        assert_ok(clq_buffer_read(buffer, 0, size, back));
        assert_memory_equal(data, back, size);
        assert_ok(clq_buffer_write(buffer, size / 2, size - size / 2, data));
        assert_ok(clq_buffer_read(buffer, size / 2, size - size / 2, back));
        assert_memory_equal(data, back, size - size / 2);
        clq_test_fill_u8(data, size, 0, 255, i + 100);
        assert_ok(clq_buffer_queue_write(buffer, 0, size, data));
        assert_ok(clq_buffer_read(buffer, 0, size, back));
        assert_memory_equal(data, back, size);
        void *mapped = NULL;
        assert_ok(clq_buffer_map(buffer, &mapped));
        memcpy(mapped, data, size);
        assert_ok(clq_buffer_unmap(buffer, mapped));
        assert_ok(clq_buffer_read(buffer, 0, size, back));
        assert_memory_equal(data, back, size);
        clq_buffer_release(buffer);
        clq_test_guarded_free(data);
        clq_test_guarded_free(back);
    }
}

static void test_fill_and_copy(void **state) {
    (void)state;
    uint32_t words[16];
    clq_buffer *a = NULL, *b = NULL;
    assert_ok(clq_buffer_create(device, sizeof words, &a));
    assert_ok(clq_buffer_create(device, sizeof words, &b));
    assert_ok(clq_buffer_fill(a, 0, sizeof words, 0));
    assert_ok(clq_buffer_fill(a, 8, 12, 0xdeadbeef));
    assert_ok(clq_buffer_fill(b, 0, sizeof words, 1));
    assert_ok(clq_buffer_copy(b, 20, a, 4, 16));
    assert_ok(clq_buffer_fill(b, 0, 0, 5)); /* nothing */
    assert_ok(clq_buffer_copy(b, 0, a, 0, 0));
    assert_ok(clq_buffer_read(b, 0, sizeof words, words));
    for (int i = 0; i < 16; i++) {
        assert_int_equal(words[i], i == 5 ? 0 : i >= 6 && i <= 8 ? 0xdeadbeef : 1);
    }
    assert_status(clq_buffer_fill(a, 2, 4, 0), CLQ_INTERNAL);
    assert_status(clq_buffer_fill(a, 0, 6, 0), CLQ_INTERNAL);
    assert_error_has("multiples of 4");
    clq_buffer_release(a);
    clq_buffer_release(b);
}

static void test_bounds(void **state) {
    (void)state;
    char data[64] = {0};
    clq_buffer *buffer = NULL, *view = NULL;
    size_t align = clq_device_get_info(device)->base_alignment;
    assert_ok(clq_buffer_create(device, 64, &buffer));
    assert_status(clq_buffer_write(buffer, 60, 5, data), CLQ_INTERNAL);
    assert_error_has("5 bytes at 60");
    assert_status(clq_buffer_queue_write(buffer, 60, 5, data), CLQ_INTERNAL);
    assert_status(clq_buffer_read(buffer, 65, 0, data), CLQ_INTERNAL);
    assert_ok(clq_buffer_read(buffer, 64, 0, data));
    assert_status(clq_buffer_read(buffer, SIZE_MAX, 2, data), CLQ_INTERNAL); /* would wrap */
    assert_status(clq_buffer_fill(buffer, 64, 4, 0), CLQ_INTERNAL);
    assert_status(clq_buffer_copy(buffer, 0, buffer, 32, 36), CLQ_INTERNAL);
    assert_status(clq_buffer_view(buffer, 0, 65, &view), CLQ_INTERNAL);
    assert_null(view);
    assert_status(clq_buffer_view(buffer, 0, 0, &view), CLQ_INTERNAL);
    if (align > 1) {
        assert_status(clq_buffer_view(buffer, 1, 8, &view), CLQ_INTERNAL);
    }
    clq_buffer_release(buffer);
    clq_buffer_release(NULL);
    assert_status(clq_buffer_create(device, 0, &buffer), CLQ_INTERNAL);
    assert_null(buffer);
}

static void test_views(void **state) {
    (void)state;
    size_t align = clq_device_get_info(device)->base_alignment;
    clq_buffer *root = NULL, *view = NULL, *inner = NULL;
    uint32_t word = 0;
    assert_ok(clq_buffer_create(device, 4 * align, &root));
    assert_ok(clq_buffer_view(root, align, 3 * align, &view));
    assert_ok(clq_buffer_view(view, align, 4, &inner)); /* of a view */
    assert_int_equal(clq_buffer_size(inner), 4);
    assert_ok(clq_buffer_fill(root, 0, 4 * align, 1));
    assert_ok(clq_buffer_fill(inner, 0, 4, 2));
    assert_ok(clq_buffer_read(root, 2 * align, 4, &word));
    assert_int_equal(word, 2);
    assert_ok(clq_buffer_read(root, 2 * align - 4, 4, &word));
    assert_int_equal(word, 1);
    assert_ok(clq_buffer_copy(view, 0, inner, 0, 4));
    assert_ok(clq_buffer_read(root, align, 4, &word));
    assert_int_equal(word, 2);
    assert_status(clq_buffer_write(inner, 0, 8, &word),
                  CLQ_INTERNAL); /* its bounds, not the root's */
    uint64_t live, peak;
    clq_device_memory(device, &live, &peak);
    assert_int_equal(live, 4 * align); /* views hold nothing of their own */
    clq_buffer_release(inner);
    clq_buffer_release(view);
    clq_buffer_release(root);
}

static void test_pool(void **state) {
    (void)state;
    clq_buffer *a = NULL, *b = NULL;
    uint64_t live, peak, before;
    clq_pool_trim(device);
    clq_device_memory(device, &before, &peak);
    assert_ok(clq_buffer_create(device, 100000, &a));
    cl_mem memory = a->memory;
    clq_buffer_release(a);
    assert_true(device->pool.cached_bytes >= 100000);
    assert_ok(clq_buffer_create(device, 99000, &b)); /* same class: the same memory again */
    assert_ptr_equal(b->memory, memory);
    assert_int_equal(device->pool.cached_bytes, 0);
    assert_ok(clq_buffer_create(device, 3000, &a));
    clq_device_memory(device, &live, &peak);
    assert_int_equal(live, before + 102000);
    assert_true(peak >= live);
    clq_buffer_release(a);
    clq_buffer_release(b);
    clq_device_memory(device, &live, &peak);
    assert_int_equal(live, before);
    clq_pool_trim(device);
    assert_int_equal(device->pool.cached_bytes, 0);
}

/* Every size gets a block at least as large, wasting at most an eighth (or the smallest block). */
static void test_pool_classes(void **state) {
    (void)state;
    for (size_t size = 1; size < 300000; size += 1 + size / 7) {
        clq_block *block = NULL;
        assert_ok(clq_pool_take(device, size, &block));
        assert_true(block->size >= size);
        assert_true(block->size <= size + size / 8 + 256);
        clq_pool_give(device, block);
    }
    clq_pool_trim(device);
}

/* Buffers of ever other sizes do not pile up. */
static void test_pool_is_bounded(void **state) {
    (void)state;
    uint64_t live, peak, held = 0;
    clq_pool_trim(device);
    for (size_t size = 1 << 20; size < 200 << 20; size += size / 8 + 1) {
        clq_buffer *buffer = NULL;
        assert_ok(clq_buffer_create(device, size, &buffer));
        clq_buffer_release(buffer);
        held = device->pool.cached_bytes > held ? device->pool.cached_bytes : held;
    }
    clq_device_memory(device, &live, &peak);
    assert_true(held <= 3 * peak / 2 + (64 << 20));
    clq_pool_trim(device);
}

/* A read sees all that was queued before it; what is queued after a joined write sees that. */
static void test_transfers(void **state) {
    (void)state;
    enum { COUNT = 100000 };
    const size_t size = COUNT * sizeof(uint32_t);
    uint32_t *data = malloc(size);
    clq_buffer *buffer = NULL, *copy = NULL;
    clq_transfer read = {0}, write = {0};
    bool done = false;
    assert_non_null(data);
    assert_ok(clq_buffer_create(device, size, &buffer));
    assert_ok(clq_buffer_create(device, size, &copy));
    assert_ok(clq_transfer_done(&read, &done));
    assert_true(done);
    for (uint32_t round = 1; round <= 20; round++) {
        assert_ok(clq_buffer_fill(buffer, 0, size, round));
        assert_ok(clq_transfer_read(buffer, size, data, &read));
        do {
            assert_ok(clq_transfer_done(&read, &done));
        } while (!done);
        assert_ok(clq_transfer_join(&read));
        for (uint32_t i = 0; i < COUNT; i++) {
            assert_int_equal(data[i], round);
            data[i] = round + i;
        }
        assert_ok(clq_transfer_write(buffer, size, data, &write));
        assert_ok(clq_transfer_join(&write));
        assert_ok(clq_buffer_copy(copy, 0, buffer, 0, size));
        assert_ok(clq_buffer_read(copy, 0, size, data));
        for (uint32_t i = 0; i < COUNT; i++) {
            assert_int_equal(data[i], round + i);
        }
    }
    assert_status(clq_transfer_read(buffer, size + 1, data, &read), CLQ_INTERNAL);
    assert_status(clq_transfer_write(buffer, size + 1, data, &write), CLQ_INTERNAL);
    clq_buffer_release(copy);
    clq_buffer_release(buffer);
    free(data);
}

/* Pieces lie in one allocation, which is free again when all are released and is not live. */
static void test_scratch(void **state) {
    (void)state;
    const size_t align = clq_device_get_info(device)->base_alignment;
    clq_buffer *a = NULL, *b = NULL, *c = NULL;
    uint64_t before, live, peak;
    clq_device_memory(device, &before, &peak);
    assert_ok(clq_scratch_reserve(device, 10 * align));
    assert_ok(clq_scratch_take(device, 3 * align + 4, &a));
    assert_ok(clq_scratch_take(device, 6 * align, &b));
    assert_ptr_equal(a->block, b->block);
    assert_true(b->offset >= a->offset + a->size);
    clq_device_memory(device, &live, &peak);
    assert_int_equal(live, before);
    assert_ok(clq_scratch_take(device, 64 * align, &c)); /* more than anybody reserved */
    assert_ptr_not_equal(c->block, a->block);
    clq_buffer_release(a);
    clq_buffer_release(c);
    assert_ok(clq_scratch_take(device, 4, &a)); /* while b is taken: behind it */
    assert_true(a->block != b->block || a->offset >= b->offset + b->size);
    clq_buffer_release(a);
    clq_buffer_release(b);
    assert_ok(clq_scratch_take(device, 20 * align, &a)); /* grows */
    assert_int_equal(a->offset, 0);
    assert_true(clq_scratch_size(device) >= 20 * align);
    clq_buffer_release(a);
    clq_scratch_trim(device);
    assert_int_equal(clq_scratch_size(device), 0);
}

static void test_too_large(void **state) {
    (void)state;
    clq_buffer *buffer = NULL;
    const clq_device_info *info = clq_device_get_info(device);
    assert_status(clq_buffer_create(device, (size_t)info->max_allocation + 1, &buffer),
                  CLQ_NO_MEMORY);
    assert_null(buffer);
    assert_error_has("bytes");
    assert_status(clq_buffer_create(device, SIZE_MAX, &buffer), CLQ_NO_MEMORY);
}

static void test_host_memory_runs_out(void **state) {
    (void)state;
    clq_buffer *buffer = NULL, *view = NULL;
    for (long n = 1; n <= 2; n++) {
        clq_test_fail_allocation(n);
        assert_status(clq_buffer_create(device, 12345, &buffer), CLQ_NO_MEMORY);
        assert_int_equal(clq_test_live_allocations(), 0);
        clq_test_restore_allocator();
    }
    assert_ok(clq_buffer_create(device, 12345, &buffer));
    clq_test_fail_allocation(1);
    assert_status(clq_buffer_view(buffer, 0, 16, &view), CLQ_NO_MEMORY);
    clq_test_restore_allocator();
    clq_buffer_release(buffer);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_round_trip),
        cmocka_unit_test(test_fill_and_copy),
        cmocka_unit_test(test_bounds),
        cmocka_unit_test(test_views),
        cmocka_unit_test(test_pool),
        cmocka_unit_test(test_pool_classes),
        cmocka_unit_test(test_pool_is_bounded),
        cmocka_unit_test(test_transfers),
        cmocka_unit_test(test_scratch),
        cmocka_unit_test(test_too_large),
        cmocka_unit_test(test_host_memory_runs_out),
    };
    return cmocka_run_group_tests_name("buffer", tests, open_device, close_device);
}
