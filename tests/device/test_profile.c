/* Recording the times of commands. */
#include "support/clq_test.h"

#include <stdio.h>
#include <string.h>

#include "clquant/device.h"
#include "device/internal.h"

static const clq_kernel_entry entry = {"test_work", "work.cl",
                                       "__kernel void test_work(__global int *out, int n) {\n"
                                       "    int sum = 0;\n"
                                       "    for (int i = 0; i < n; i++) sum += i ^ out[1];\n"
                                       "    out[0] = sum;\n"
                                       "}\n"};

static clq_device *device;
static clq_buffer *buffer;
static clq_kernel *kernel;

static int setup(void **state) {
    (void)state;
    return clq_device_open(NULL, &device) != CLQ_OK ||
           clq_buffer_create(device, 64, &buffer) != CLQ_OK ||
           clq_buffer_fill(buffer, 0, 64, 1) != CLQ_OK ||
           clq_kernel_get_entry(device, &entry, NULL, CLQ_DOT_PORTABLE, &kernel) != CLQ_OK;
}

static int teardown(void **state) {
    (void)state;
    clq_buffer_release(buffer);
    clq_device_close(device);
    return 0;
}

static void launch(int n) {
    assert_ok(CLQ_LAUNCH(device, kernel, CLQ_RANGE1(1), CLQ_BUF(buffer), CLQ_I32(n)));
}

static void test_entries(void **state) {
    (void)state;
    char data[64];
    char label[32] = "first";
    const clq_profile_entry *entries = NULL;
    size_t count = 99;
    assert_ok(clq_device_profile_entries(device, &entries, &count));
    assert_int_equal(count, 0); /* off by default */
    assert_ok(clq_device_profile(device, true));
    launch(10);
    clq_device_set_label(device, label);
    strcpy(label, "gone"); /* it was copied */
    clq_device_set_work(device, 123.0);
    launch(3000000);
    launch(10);
    clq_device_set_label(device, "second");
    assert_ok(clq_buffer_write(buffer, 0, 64, data));
    assert_ok(clq_buffer_read(buffer, 0, 64, data));
    assert_ok(clq_buffer_fill(buffer, 0, 64, 1));
    clq_device_set_label(device, NULL);
    assert_ok(clq_buffer_copy(buffer, 0, buffer, 32, 16));
    assert_ok(clq_device_profile(device, false));
    launch(10); /* not recorded */
    assert_ok(clq_device_profile_entries(device, &entries, &count));
    static const struct {
        const char *label, *kernel;
        double work;
    } expected[] = {{"", "test_work", 0},   {"first", "test_work", 123}, {"first", "test_work", 0},
                    {"second", "write", 0}, {"second", "read", 0},       {"second", "fill", 0},
                    {"", "copy", 0}};
    assert_int_equal(count, sizeof expected / sizeof expected[0]);
    for (size_t i = 0; i < count; i++) {
        assert_string_equal(entries[i].label, expected[i].label);
        assert_string_equal(entries[i].kernel, expected[i].kernel);
        assert_true(entries[i].flops == expected[i].work);
        assert_int_equal(entries[i].work_items, strcmp(expected[i].kernel, "test_work") == 0);
        assert_int_equal(entries[i].work_groups, entries[i].work_items);
        assert_true(entries[i].ms >= 0 && entries[i].ms < 10000);
    }
    assert_true(entries[1].ms > entries[2].ms); /* the long one */
    assert_true(entries[1].ms > 0.1);
    assert_ok(clq_device_profile(device, true)); /* starts anew */
    assert_ok(clq_device_profile_entries(device, &entries, &count));
    assert_int_equal(count, 0);
    assert_ok(clq_device_profile(device, false));
}

/* Many launches and labels: the table grows, events do not pile up. */
static void test_many(void **state) {
    (void)state;
    enum { LAUNCHES = 3000, LABELS = 700 };
    char label[32];
    const clq_profile_entry *entries = NULL;
    size_t count = 0;
    assert_ok(clq_device_profile(device, true));
    for (int i = 0; i < LAUNCHES; i++) {
        snprintf(label, sizeof label, "layer%d", i % LABELS);
        clq_device_set_label(device, label);
        launch(1);
        if (i % 100 == 99) {
            assert_ok(clq_device_finish(device));
        }
        assert_true(device->profile.pending_count < 1000);
    }
    assert_ok(clq_device_profile_entries(device, &entries, &count));
    assert_int_equal(count, LAUNCHES);
    for (int i = 0; i < LAUNCHES; i++) {
        snprintf(label, sizeof label, "layer%d", i % LABELS);
        assert_string_equal(entries[i].label, label);
    }
    assert_int_equal(device->profile.label_count, LABELS);
    assert_ok(clq_device_profile(device, false));
}

static void test_host_memory_runs_out(void **state) {
    (void)state;
    const clq_profile_entry *entries = NULL;
    size_t count = 0;
    assert_ok(clq_device_profile(device, true));
    clq_device_set_label(device, "some label");
    clq_test_fail_allocation(1); /* the label table */
    launch(1);                   /* runs all the same */
    clq_test_restore_allocator();
    assert_status(clq_device_profile_entries(device, &entries, &count), CLQ_NO_MEMORY);
    assert_ok(clq_device_profile(device, true));
    assert_ok(clq_device_profile_entries(device, &entries, &count));
    assert_ok(clq_device_profile(device, false));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_entries),
        cmocka_unit_test(test_many),
        cmocka_unit_test(test_host_memory_runs_out),
    };
    return cmocka_run_group_tests_name("profile", tests, setup, teardown);
}
