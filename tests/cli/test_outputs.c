/* Files that commands write replace none that they read, and can be written. */
#include "cli/runs_case.h"
#include "formats/onnx_make.h"

static void outputs_replace_no_input(void **state) {
    (void)state;
    char link_path[512], copy[512];
    snprintf(link_path, sizeof link_path, "%s", clq_test_temp_path("link.onnx"));
    snprintf(copy, sizeof copy, "%s", clq_test_temp_path("original.onnx"));
    char line[4096];
    snprintf(line, sizeof line, "cp %s %s && ln -s %s %s", fp32, copy, fp32, link_path);
    assert_int_equal(system(line), 0);
    assert_exit(CLQ_USAGE, "ptq %s --data " DATA " -o %s", fp32, link_path);
    assert_printed("is the same file as");
    assert_exit(CLQ_USAGE, "qat %s --data " DATA " -o %s", fp32, fp32);
    assert_exit(CLQ_USAGE, "convert %s --fold -o %s", link_path, fp32);
    assert_exit(CLQ_USAGE, "convert %s --weights-out %s -o %s", fp32, clq_test_temp_path("new"),
                clq_test_temp_path("./new"));
    assert_exit(CLQ_USAGE, "eval %s --data " DATA " --logits %s", fp32, fp32);
    assert_exit(CLQ_USAGE, "eval %s --data " DATA " --logits %s --save-inputs %s", fp32,
                clq_test_temp_path("x.npy"), clq_test_temp_path("x.npy"));
    assert_exit(CLQ_USAGE, "train %s --data " DATA " --out %s --log-file %s", recipe,
                clq_test_temp_path("logged"), recipe);
    assert_exit(CLQ_USAGE, "qat %s --data " DATA " --set qat.distill.teacher=%s -o %s", copy, fp32,
                link_path);
    assert_printed("is the same file as");
    assert_exit(CLQ_USAGE,
                "train %s --data " DATA " --set network.weights=%s --out %s --log-file %s", recipe,
                fp32, clq_test_temp_path("logged"), fp32);
    assert_exit(CLQ_USAGE,
                "run %s --data " DATA " --set train.distill.teacher=%s --out %s --log-file %s",
                recipe, fp32, clq_test_temp_path("logged"), fp32);
    assert_exit(CLQ_BAD_DATA, "tune %s -o %s", fp32, fp32);
    assert_printed("is not replaced");
    assert_true(same_files(fp32, copy));
}

/* Nor the files that a model's external data are in, under whatever name. */
static void nor_external_data(void **state) {
    (void)state;
    float weights[10 * 192];
    char model[512], data[512], other[512];
    size_t size;
    make_model *m = make_start();
    Onnx__TensorProto *w =
        make_tensor(m, "w", ONNX__TENSOR_PROTO__DATA_TYPE__FLOAT, DIMS(10, 192), "", 0);
    w->has_raw_data = false;
    make_external(m, w, "location", "own.npz");
    make_node(m, "Flatten", "x", "flat");
    make_node(m, "Gemm", "flat,w", "y");
    make_int(m, "transB", 1);
    snprintf(model, sizeof model, "%s", clq_test_temp_path("own.onnx"));
    snprintf(data, sizeof data, "%s", clq_test_temp_path("own.npz"));
    snprintf(other, sizeof other, "%s", clq_test_temp_path("link.npz"));
    clq_test_fill_f32(weights, 10 * 192, -1, 1, 3);
    assert_ok(clq_file_write_atomic(data, weights, sizeof weights));
    assert_int_equal(symlink("own.npz", other), 0);
    const uint8_t *file = make_bytes(m, &size);
    assert_ok(clq_file_write_atomic(model, file, size));
    make_free(m);

    const char *const lines[] = {"ptq %s --data " DATA " -o %s",
                                 "qat %s --data " DATA " -o %s",
                                 "qat %s --data " DATA " -o unused.onnx --log-file %s",
                                 "convert %s -o %s",
                                 "convert %s --weights-out %s",
                                 "eval %s --data " DATA " --logits %s",
                                 "eval %s --data " DATA " --codes %s",
                                 "predict %s --inputs " DATA " -o %s"};
    for (size_t i = 0; i < sizeof lines / sizeof *lines; i++) {
        assert_exit(CLQ_USAGE, lines[i], model, i % 2 ? other : data);
        assert_printed("own.npz, which would be lost; give another name");
    }
    void *now;
    assert_ok(clq_file_read(data, sizeof weights, &now, &size));
    assert_int_equal(size, sizeof weights);
    assert_memory_equal(now, weights, size);
    clq_free(now);
    assert_exit(0, "eval %s --data " DATA " -n 8", model);
    assert_exit(0, "info %s", model);
    assert_printed("\ndata          7.68 kB in ");
    assert_exit(0, "info %s --json", model);
    assert_printed("own.npz\",\n      \"bytes\": 7680");
}

/* Nor what the command itself writes, nor a folder that nobody made. */
static void logs_replace_no_result(void **state) {
    (void)state;
    static const char *const names[] = {"model.onnx", "history.csv", ".clquant.lock"};
    char out[512];
    snprintf(out, sizeof out, "%s", clq_test_temp_path("with-log"));
    for (int there = 0; there < 2; there++) {
        for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
            assert_exit(CLQ_USAGE, "train %s --data " DATA " --out %s/ --log-file %s/%s", recipe,
                        out, out, names[i]);
            assert_printed("is the same file as");
        }
        assert_int_equal(clq_is_folder(out), there);
        assert_int_equal(there ? 0 : mkdir(out, 0777), 0);
    }
    assert_exit(CLQ_USAGE, "run %s --data " DATA " --out %s --log-file %s/bench.json", recipe, out,
                out);
    assert_exit(CLQ_USAGE, "qat %s --data " DATA " -o %s/z.onnx --log-file %s/z.onnx", fp32, out,
                out);
    assert_int_equal(rmdir(out), 0);
    assert_exit(CLQ_CANNOT_CREATE, "train %s --data " DATA " --out %s --log-file %s/below/l.jsonl",
                recipe, out, out);
    assert_printed("there is no folder");
    assert_false(clq_file_exists(out));
    assert_exit(0, "train %s --data " DATA " --out %s --log-file %s/l.jsonl" QUICK, recipe, out,
                out);
    assert_true(clq_file_exists(in(out, "l.jsonl")));
}

static void outputs_replace_no_data(void **state) {
    (void)state;
    char folder[512], file[600], line[4096];
    snprintf(folder, sizeof folder, "%s", clq_test_temp_path("images"));
    snprintf(file, sizeof file, "%s/train/cat/000.png", folder);
    snprintf(line, sizeof line, "mkdir -p %s/train/cat && cp %s %s && ln -s %s %s.link", folder,
             fp32, file, file, folder);
    assert_int_equal(system(line), 0);
    assert_exit(CLQ_USAGE, "ptq %s --data %s/ -o %s", fp32, folder, file);
    assert_printed("which the command reads");
    assert_exit(CLQ_USAGE, "eval %s --data %s --logits %s.link", fp32, folder, folder);
    assert_exit(CLQ_USAGE, "train %s --data %s --out %s --log-file %s", recipe, folder,
                in(folder, "new"), file);
    assert_true(same_files(fp32, file));
    assert_exit(CLQ_NO_INPUT, "eval %s --data %s --logits %s/new.npy", fp32, folder, folder);
}

/* And say so before the work. */
static void outputs_must_be_writable(void **state) {
    (void)state;
    assert_exit(CLQ_CANNOT_CREATE, "train %s --data " DATA " --out %s/below", recipe, fp32);
    assert_null(strstr(command_output, "epoch 1"));
    assert_exit(CLQ_CANNOT_CREATE, "ptq %s --data /nowhere -o /nowhere/q.onnx", fp32);
    assert_exit(CLQ_CANNOT_CREATE, "qat %s --data /nowhere -o /nowhere/q.onnx", fp32);
    assert_exit(CLQ_CANNOT_CREATE, "eval %s --data /nowhere --logits /nowhere/l.npy", fp32);
    assert_exit(CLQ_CANNOT_CREATE, "convert /nowhere.onnx -o /nowhere/m.onnx");
    char out[512];
    snprintf(out, sizeof out, "%s", clq_test_temp_path("locked"));
    assert_int_equal(mkdir(out, 0555), 0);
    if (access(out, W_OK) != 0) { /* not as root */
        assert_exit(CLQ_CANNOT_CREATE, "train %s --data " DATA " --out %s", recipe, out);
        assert_null(strstr(command_output, "epoch 1"));
    }
}
int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(outputs_replace_no_input), cmocka_unit_test(nor_external_data),
        cmocka_unit_test(logs_replace_no_result),   cmocka_unit_test(outputs_replace_no_data),
        cmocka_unit_test(outputs_must_be_writable),
    };
    return cmocka_run_group_tests(tests, make_files, clq_test_teardown_temp_dir);
}
