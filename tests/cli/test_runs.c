/* Nothing that a command finds is lost: earlier runs, what another process writes. And signals: a
 * training stops behind a checkpoint and goes on to the same bits. */
#include <signal.h>
#include <time.h>

#include "base/clock.h"
#include "cli/runs_case.h"

enum { HANG = 600 }; /* seconds after which a test gives up: machines may be busy */

static char whole[512];

static int setup(void **state) {
    make_files(state);
    snprintf(whole, sizeof whole, "%s", clq_test_temp_path("whole"));
    assert_exit(0, "train %s --data " DATA " --out %s -q", recipe, whole);
    return 0;
}

/* ---- earlier runs ---- */

static void an_earlier_training_is_not_lost(void **state) {
    (void)state;
    char out[512], copy[512];
    snprintf(out, sizeof out, "%s", clq_test_temp_path("used"));
    snprintf(copy, sizeof copy, "%s", clq_test_temp_path("copy.onnx"));
    assert_int_equal(mkdir(out, 0777), 0);
    assert_ok(clq_file_write_atomic(in(out, "notes.txt"), "mine", 4)); /* no obstacle */
    assert_exit(0, "train %s --data " DATA " --out %s" QUICK, recipe, out);
    char line[2048];
    snprintf(line, sizeof line, "cp %s %s", in(out, "model.onnx"), copy);
    assert_int_equal(system(line), 0);
    const int before = entries(out);

    assert_exit(CLQ_CANNOT_CREATE, "train %s --data " DATA " --out %s" QUICK, recipe, out);
    assert_printed("(model.onnx, weights.safetensors, origin.json, history.csv, history.json, "
                   "steps.json, 1 checkpoint)");
    assert_printed("--resume continues it, --overwrite replaces it");
    assert_exit(CLQ_USAGE, "train %s --data " DATA " --out %s --resume --overwrite", recipe, out);
    /* Starts that fail take nothing away. */
    assert_exit(CLQ_NO_INPUT, "train %s --data /nowhere --out %s --overwrite", recipe, out);
    assert_exit(CLQ_DEVICE, "train %s --data " DATA " --out %s --overwrite -d nonesuch", recipe,
                out);
    assert_exit(CLQ_USAGE, "train %s --data " DATA " --out %s --overwrite --set train.batch=1000",
                recipe, out);
    assert_exit(CLQ_USAGE,
                "train %s --data " DATA " --out %s --overwrite --set train.freeze='[\"none\"]'",
                recipe, out);
    assert_int_equal(entries(out), before);
    assert_true(same_files(in(out, "model.onnx"), copy));

    assert_exit(0, "train %s --data " DATA " --out %s --overwrite --set train.epochs=2", recipe,
                out);
    assert_false(same_files(in(out, "model.onnx"), copy));
    assert_true(clq_file_exists(in(out, "notes.txt")));
    assert_int_equal(entries(out), before + 1); /* two epochs, two checkpoints */
}

static void nor_is_an_earlier_qat_or_job(void **state) {
    (void)state;
    char out[512], q[512];
    snprintf(out, sizeof out, "%s", clq_test_temp_path("qat"));
    snprintf(q, sizeof q, "%s", clq_test_temp_path("q.onnx"));
    assert_exit(0, "qat %s --data " DATA " -r %s --out %s -o %s", fp32, recipe, out, q);
    assert_exit(CLQ_CANNOT_CREATE, "qat %s --data " DATA " -r %s --out %s -o %s", fp32, recipe, out,
                q);
    assert_printed("history.csv, history.json, steps.json, 1 checkpoint");
    assert_exit(0, "qat %s --data " DATA " -r %s --out %s -o %s --overwrite", fp32, recipe, out, q);
    assert_exit(0, "qat %s --data " DATA " -r %s --out %s -o %s --resume", fp32, recipe, out, q);

    /* Nor is one of another kind replaced, which would leave a mixture. */
    const char *const another = "holds another kind of run (";
    const int before = entries(whole);
    assert_exit(CLQ_CANNOT_CREATE, "qat %s --data " DATA " --out %s -o %s --overwrite", fp32, whole,
                q);
    assert_printed(another);
    assert_exit(CLQ_CANNOT_CREATE, "run %s --data " DATA " --out %s --overwrite", recipe, whole);
    assert_printed(another);
    assert_exit(CLQ_CANNOT_CREATE, "train %s --data " DATA " --out %s --overwrite", recipe, out);
    assert_printed(another);
    assert_int_equal(entries(whole), before);

    snprintf(out, sizeof out, "%s", clq_test_temp_path("job"));
    static const char *const earlier[] = {"qat.onnx", "eval-qat.json", "qat/history.csv",
                                          "report/qat.csv"};
    assert_ok(clq_make_dirs(in(out, "qat")));
    assert_ok(clq_make_dirs(in(out, "report")));
    for (size_t i = 0; i < 4; i++) {
        assert_ok(clq_file_write_atomic(in(out, earlier[i]), "x", 1));
    }
    assert_exit(CLQ_CANNOT_CREATE, "run %s --data " DATA " --out %s" QUICK, recipe, out);
    assert_printed("(qat.onnx, eval-qat.json, qat/: history.csv)");
    /* What the new job does not make must not pass for its. */
    assert_exit(0, "run %s --data " DATA " --out %s --overwrite --set qat.epochs=0" QUICK, recipe,
                out);
    assert_true(clq_file_exists(in(out, "ptq.onnx")));
    for (size_t i = 0; i < 4; i++) {
        assert_false(clq_file_exists(in(out, earlier[i])));
    }
    assert_exit(CLQ_CANNOT_CREATE, "train %s --data " DATA " --out %s --overwrite", recipe, out);
    assert_printed(another);
}

/* The names of all files below the folder, sorted. */
static void list_files(const char *folder, char *text, size_t size) {
    char line[1024];
    snprintf(line, sizeof line, "cd %s && find . -type f | sort", folder);
    FILE *pipe = popen(line, "r");
    text[fread(text, 1, size - 1, pipe)] = '\0';
    pclose(pipe);
}

/* The second training of a job must not take away what the first one made. */
static void an_overwritten_job_is_whole(void **state) {
    (void)state;
    char out[512], first[4096], again[4096];
    snprintf(out, sizeof out, "%s", clq_test_temp_path("twice-run"));
    assert_exit(0, "run %s --data " DATA " --out %s --overwrite" QUICK, recipe, out);
    list_files(out, first, sizeof first);
    static const char *const kept[] = {"./fp32.onnx", "./ptq.onnx", "./weights.safetensors",
                                       "./train/history.csv", "./train/train-checkpoint-"};
    for (size_t i = 0; i < sizeof kept / sizeof *kept; i++) {
        assert_non_null(strstr(first, kept[i]));
    }
    assert_exit(0, "run %s --data " DATA " --out %s --overwrite" QUICK, recipe, out);
    assert_printed("the earlier run there is replaced; removed: fp32.onnx, ");
    list_files(out, again, sizeof again);
    assert_string_equal(again, first);
}

/* scripts/demo runs twice in a row; but the demo takes no other job's folder. */
static void a_demo_makes_room_for_the_next(void **state) {
    (void)state;
    char out[512];
    snprintf(out, sizeof out, "%s", clq_test_temp_path("demo"));
    assert_exit(
        0,
        "demo --out %s -q --set data.train_limit=128 --set data.test_limit=32 --set "
        "network.name=mlp --set train.epochs=1 --set bench.iterations=1 --set bench.peaks=false",
        out);
    assert_null(strstr(command_output, "replace"));
    assert_exit(CLQ_DEVICE, "demo --out %s -d nonesuch", out); /* past the check */
    assert_printed("replaces the finished demo in ");
    assert_exit(CLQ_CANNOT_CREATE, "demo --out %s", clq_test_temp_path("job"));
}

static void there_must_be_something_to_resume(void **state) {
    (void)state;
    char out[512];
    snprintf(out, sizeof out, "%s", clq_test_temp_path("empty"));
    assert_exit(CLQ_NO_INPUT, "train %s --data " DATA " --out %s --resume", recipe, out);
    assert_printed("no checkpoint to resume from");
    assert_false(clq_file_exists(out));
    assert_int_equal(mkdir(out, 0777), 0);
    assert_exit(CLQ_NO_INPUT, "train %s --data " DATA " --out %s --resume", recipe, out);
    assert_exit(CLQ_NO_INPUT, "run %s --data " DATA " --out %s --resume", recipe, out);
    assert_exit(CLQ_NO_INPUT, "qat %s --data " DATA " --out %s --resume -o %s", fp32, out,
                clq_test_temp_path("q.onnx"));
    assert_int_equal(entries(out), 0);
}

/* ---- processes that are disturbed ---- */

static bool says(const char *file, const char *part) {
    void *data = NULL;
    size_t size;
    assert_ok(clq_file_read(file, 1 << 20, &data, &size));
    const bool found = strstr(data, part) != NULL;
    clq_free(data);
    return found;
}

/* Starts a clquant command, output in NAME.txt, log in NAME.jsonl, and waits until the log has a
 * line with `sign`. */
static pid_t start_command(const char *name, const char *sign, const char *arguments) {
    char line[4096], log[600];
    const double began = clq_now_seconds();
    snprintf(log, sizeof log, "%s.jsonl", name);
    snprintf(line, sizeof line, "exec %s/clquant %s --log-file %s >%s.txt 2>&1", CLQ_BINARY_DIR,
             arguments, log, name);
    remove(log);
    const pid_t child = fork();
    if (child == 0) {
        signal(SIGINT, SIG_DFL); /* the tests may run in the background of a script */
        execl("/bin/sh", "sh", "-c", line, (char *)NULL);
        _exit(127);
    }
    while (!clq_file_exists(log) || !says(log, sign)) {
        assert_true(clq_now_seconds() - began < HANG);
        nanosleep(&(struct timespec){.tv_nsec = 2000000}, NULL);
    }
    return child;
}

/* The same with `clquant train` and more arguments, until its first step. */
static pid_t start(const char *out, const char *more) {
    char arguments[2048];
    snprintf(arguments, sizeof arguments, "train %s --data " DATA " --out %s %s", recipe, out,
             more);
    return start_command(out, "\"step\", ", arguments);
}

static int exit_of(pid_t child) {
    int ended;
    assert_int_equal(waitpid(child, &ended, 0), child);
    return WIFEXITED(ended) ? WEXITSTATUS(ended) : -WTERMSIG(ended);
}

/* What a stopped command says to go on with, from behind "clquant". */
static const char *way_on(const char *file) {
    static char text[4096];
    void *data = NULL;
    size_t size;
    assert_ok(clq_file_read(file, 1 << 20, &data, &size));
    const char *command_line = strstr(data, "; to go on: ");
    assert_non_null(command_line);
    command_line = strstr(command_line, "clquant ");
    assert_non_null(command_line);
    command_line += strlen("clquant ");
    snprintf(text, sizeof text, "%.*s", (int)strcspn(command_line, "\n"), command_line);
    clq_free(data);
    return text;
}

static void signals_leave_a_checkpoint(void **state) {
    (void)state;
    static const int signals[] = {SIGINT, SIGTERM};
    for (int i = 0; i < 2; i++) {
        char out[512], output[600], log[600];
        snprintf(out, sizeof out, "%s-%d", clq_test_temp_path("signal"), i);
        snprintf(output, sizeof output, "%s.txt", out);
        snprintf(log, sizeof log, "%s.jsonl", out);
        const pid_t child = start(out, "");
        kill(child, signals[i]);
        assert_int_equal(exit_of(child), 128 + signals[i]);
        assert_true(says(output, "interrupted after step "));
        assert_true(says(output, ", which is kept in "));
        assert_true(says(output, "/train-checkpoint-0000"));
        assert_true(says(log, "\"interrupted\""));
        assert_exit(0, "%s", way_on(output));
        assert_printed("resuming at epoch ");
        assert_true(same_files(in(out, "model.onnx"), in(whole, "model.onnx")));
        assert_true(same_files(in(out, "weights.safetensors"), in(whole, "weights.safetensors")));
        assert_int_equal(entries(out), entries(whole)); /* nothing hidden either */
    }
}

/* On a terminal: the loss of the epoch from its first step on, and never one that is not known. */
static void the_bar_shows_the_loss(void **state) {
    (void)state;
    char line[4096], screen[512];
    if (system("command -v script >/dev/null") != 0) {
        clq_test_skip("there is no `script` to make a terminal");
    }
    snprintf(screen, sizeof screen, "%s", clq_test_temp_path("screen.txt"));
    snprintf(line, sizeof line,
             "TERM=xterm script -qec 'stty cols 80; %s/clquant train %s "
             "--data synthetic:train=8000,test=64,size=8 " /* epochs longer than a redraw takes */
             "--out %s --set train.batch=2 --epochs 2' %s >/dev/null",
             CLQ_BINARY_DIR, recipe, clq_test_temp_path("bar"), screen);
    assert_int_equal(system(line), 0);
    assert_true(says(screen, "\033[Ktrain ")); /* was drawn, on 80 columns: without the bar */
    assert_true(says(screen, "  lr 0."));      /* the line's end */
    assert_true(says(screen, "epoch 1/2  loss "));
    assert_false(says(screen, "loss 0 "));
    assert_false(says(screen, "nan"));
}

/* And what does not fit is said by name. */
static void another_configuration_is_named(void **state) {
    (void)state;
    const char *const line = "train %s --data %s --out %s --resume %s";
    const int before = entries(whole);
    assert_exit(CLQ_USAGE, line, recipe, DATA, whole,
                "--set train.batch=32 --set train.schedule.lr=0.02 --set train.log_steps=7");
    assert_printed(": train.batch is 32, was 16, train.schedule.lr is 0.02, was 0.01; resume with");
    assert_exit(CLQ_USAGE, line, recipe, DATA, whole, "--epochs 31");
    assert_printed(": train.epochs is 31, was 30; ");
    assert_exit(CLQ_USAGE, line, recipe, "synthetic:train=256,test=64,size=8", whole, "");
    assert_printed(": data set is \"256 x 8x8x3, 10 classes\", was \"512 x 8x8x3, 10 classes\"; ");
    assert_exit(CLQ_USAGE, line, recipe, DATA, whole, "--set network.seed=9");
    assert_printed("began with other parameters");
    assert_printed(": network.seed is 9, was not set; ");
    assert_exit(CLQ_USAGE, line, recipe, DATA, whole, "--mean 0.5,0.5,0.5 --std 0.25,0.25,0.25");
    assert_printed("preprocessing is \"mean 0.5 0.5 0.5 std 0.25 0.25 0.25 range 1 rgb");
    assert_exit(CLQ_USAGE, line, recipe, DATA, whole, "--set 'network.hidden=[32]'");
    assert_printed("network.hidden is [32], was [64]");
    assert_int_equal(entries(whole), before);
}

/* What a stopped command says must be so. */
static void and_say_how_to_go_on(void **state) {
    (void)state;
    char out[512], output[600], arguments[2048];
    snprintf(out, sizeof out, "%s", clq_test_temp_path("again"));
    snprintf(output, sizeof output, "%s.txt", out);
    pid_t child = start(out, "--overwrite");
    kill(child, SIGINT);
    assert_int_equal(exit_of(child), 128 + SIGINT);
    assert_true(says(output, "clquant train: interrupted after step "));
    assert_false(says(output, "--overwrite"));
    assert_exit(0, "%s", way_on(output));

    /* Without a folder nothing is kept. */
    snprintf(out, sizeof out, "%s", clq_test_temp_path("lost"));
    snprintf(output, sizeof output, "%s.txt", out);
    snprintf(arguments, sizeof arguments,
             "qat %s --data " DATA " -r %s --set qat.epochs=1000 -o %s", fp32, recipe,
             clq_test_temp_path("lost.onnx"));
    child = start_command(out, "\"step\", ", arguments);
    kill(child, SIGINT);
    assert_int_equal(exit_of(child), 128 + SIGINT);
    assert_true(says(output, "without --out there are no checkpoints"));
    assert_true(says(output, "of which nothing is kept"));
    assert_true(says(output, "nothing of it is kept, for want of --out"));
    assert_false(says(output, "with a checkpoint"));
    assert_false(says(output, "--resume"));
}

static void a_job_goes_on_where_it_was(void **state) {
    (void)state;
    char out[512], arguments[2048], log[600];
    snprintf(out, sizeof out, "%s", clq_test_temp_path("stopped-job"));
    snprintf(log, sizeof log, "%s.jsonl", out);
    snprintf(arguments, sizeof arguments,
             "run %s --data " DATA " --out %s" QUICK " --set qat.epochs=40", recipe, out);
    char overwriting[2100], resuming[2100];
    snprintf(overwriting, sizeof overwriting, "%s --overwrite", arguments);
    snprintf(resuming, sizeof resuming, "%s --resume", arguments);
    const pid_t child = start_command(out, "\"epoch\", \"phase\": \"qat\"", overwriting);
    kill(child, SIGINT);
    assert_int_equal(exit_of(child), 128 + SIGINT);
    assert_true(clq_file_exists(in(out, "fp32.onnx")));
    assert_true(clq_file_exists(in(out, "train/history.csv")));
    assert_exit(0, "%s", resuming);
    assert_printed("train: was done, all ");
    assert_printed("qat: resuming at epoch ");
}

static void the_second_signal_ends_at_once(void **state) {
    (void)state;
    char out[512], log[600], output[600];
    snprintf(out, sizeof out, "%s", clq_test_temp_path("twice"));
    snprintf(output, sizeof output, "%s.txt", out);
    snprintf(log, sizeof log, "%s.jsonl", out);
    const pid_t child = start(out, "");
    kill(child, SIGINT);
    kill(child, SIGTERM);
    const int code = exit_of(child);
    assert_true(code == 128 + SIGTERM || code == 128 + SIGINT); /* whichever came second */
    assert_false(says(log, "\"interrupted\""));
    assert_true(says(output, "ended at once by the second signal"));
    assert_true(says(output, "checkpoints so far are in "));
    assert_true(says(output, " --resume\n"));
}

static void one_run_at_a_time_has_a_folder(void **state) {
    (void)state;
    char out[512];
    snprintf(out, sizeof out, "%s", clq_test_temp_path("shared"));
    const pid_t child = start(out, "--set train.epochs=1000 --set train.checkpoint_steps=1");
    kill(child, SIGSTOP);
    assert_exit(CLQ_CANNOT_CREATE, "train %s --data " DATA " --out %s --overwrite", recipe, out);
    assert_printed("another process holds this lock");
    assert_exit(CLQ_CANNOT_CREATE, "train %s --data " DATA " --out %s --resume", recipe, out);
    kill(child, SIGKILL);
    kill(child, SIGCONT);
    assert_int_equal(exit_of(child), -SIGKILL);
    assert_exit(0, "train %s --data " DATA " --out %s --overwrite" QUICK, recipe, out);
}

static void killed_before_the_first_checkpoint(void **state) {
    (void)state;
    char out[512];
    snprintf(out, sizeof out, "%s", clq_test_temp_path("early"));
    /* One long epoch: its first step is far from a checkpoint. */
    const char *const long_epoch = "--set train.batch=1 --set train.log_steps=1";
    const pid_t child = start(out, long_epoch);
    kill(child, SIGKILL);
    assert_int_equal(exit_of(child), -SIGKILL);
    assert_exit(0, "train %s --data " DATA " --out %s --resume", recipe, out);
    assert_printed("ended before its first checkpoint");
    assert_true(same_files(in(out, "model.onnx"), in(whole, "model.onnx")));
    assert_int_equal(entries(out), entries(whole));
}

static void other_commands_end_at_once(void **state) {
    (void)state;
    char line[2048], folder[512], words[512];
    struct stat said = {0};
    snprintf(folder, sizeof folder, "%s", clq_test_temp_path("evaluated"));
    snprintf(words, sizeof words, "%s", clq_test_temp_path("words"));
    assert_int_equal(mkdir(folder, 0777), 0);
    snprintf(line, sizeof line,
             "exec %s/clquant eval %s --data synthetic:test=200000,size=8 --logits %s/l.npy "
             ">/dev/null 2>%s",
             CLQ_BINARY_DIR, fp32, folder, words);
    const pid_t child = fork();
    if (child == 0) {
        execl("/bin/sh", "sh", "-c", line, (char *)NULL);
        _exit(127);
    }
    for (int i = 0; i < 3000 && said.st_size == 0; i++) { /* how the images are prepared */
        nanosleep(&(struct timespec){.tv_nsec = 20000000}, NULL);
        stat(words, &said);
    }
    kill(child, SIGTERM);
    assert_int_equal(exit_of(child), 128 + SIGTERM);
    assert_int_equal(entries(folder), 0);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_earlier_training_is_not_lost),
        cmocka_unit_test(nor_is_an_earlier_qat_or_job),
        cmocka_unit_test(an_overwritten_job_is_whole),
        cmocka_unit_test(a_demo_makes_room_for_the_next),
        cmocka_unit_test(there_must_be_something_to_resume),
        cmocka_unit_test(signals_leave_a_checkpoint),
        cmocka_unit_test(the_bar_shows_the_loss),
        cmocka_unit_test(another_configuration_is_named),
        cmocka_unit_test(and_say_how_to_go_on),
        cmocka_unit_test(a_job_goes_on_where_it_was),
        cmocka_unit_test(the_second_signal_ends_at_once),
        cmocka_unit_test(one_run_at_a_time_has_a_folder),
        cmocka_unit_test(killed_before_the_first_checkpoint),
        cmocka_unit_test(other_commands_end_at_once),
    };
    return cmocka_run_group_tests(tests, setup, clq_test_teardown_temp_dir);
}
