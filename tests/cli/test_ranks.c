/* `mpirun clquant train` and `qat`: one set of files, the same ones every time; a rank that is
 * killed or falls silent ends the others, and the last checkpoint is good. */
#include <signal.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/files.h"
#include "cli/command.h"
#include "support/ranks_run.h"

#define DATA "synthetic:train=1024,test=32,size=8"
enum { HANG = 600 }; /* seconds after which a test gives up: machines may be busy */

static const char *recipe(void) {
    return text_file("recipe.json",
                     "{\"network\": {\"name\": \"mlp\", \"hidden\": [16]},"
                     " \"train\": {\"epochs\": 5, \"batch\": 16, \"checkpoint_steps\": 20,"
                     "  \"schedule\": {\"lr\": 0.01}}}");
}

static void rest(void) {
    nanosleep(&(struct timespec){.tv_nsec = 2000000}, NULL);
}

/* mpirun with two ranks of `clquant train ARGUMENTS`, output in the file `log`; its process. */
static pid_t start_training(const char *environment, const char *out, const char *log) {
    char line[4096];
    snprintf(line, sizeof line,
             "%s exec mpirun -np 2 %s/clquant train %s --data " DATA " --out %s >%s 2>&1",
             environment, CLQ_BINARY_DIR, recipe(), out, log);
    const pid_t process = fork();
    if (process == 0) {
        signal(SIGINT, SIG_DFL); /* the tests may run in the background of a script */
        execl("/bin/sh", "sh", "-c", line, (char *)NULL);
        _exit(127);
    }
    assert_true(process > 0);
    return process;
}

static bool has_checkpoint(const char *folder) {
    char **names = NULL;
    size_t count = 0;
    bool found = false;
    if (!clq_is_folder(folder)) {
        return false;
    }
    assert_ok(clq_folder_list(folder, &names, &count));
    for (size_t i = 0; i < count; i++) {
        found = found || strstr(names[i], ".safetensors") != NULL;
    }
    clq_folder_list_free(names, count);
    return found;
}

/* The children of mpirun are the ranks, in order; the second one's process. */
static pid_t second_rank(pid_t mpirun) {
    char path[64];
    int first = 0, second = 0;
    snprintf(path, sizeof path, "/proc/%d/task/%d/children", (int)mpirun, (int)mpirun);
    FILE *file = fopen(path, "r");
    assert_non_null(file);
    assert_int_equal(fscanf(file, "%d %d", &first, &second), 2);
    fclose(file);
    return second;
}

/* Sends the second rank a signal once there is a checkpoint; how mpirun ended. */
static int disturb(pid_t mpirun, const char *out, int signal_number) {
    const double start = clq_now_seconds();
    int ended = 0;
    while (!has_checkpoint(out)) {
        assert_true(clq_now_seconds() - start < HANG);
        rest();
    }
    assert_int_equal(kill(second_rank(mpirun), signal_number), 0);
    while (waitpid(mpirun, &ended, WNOHANG) == 0) {
        if (clq_now_seconds() - start > HANG) {
            kill(mpirun, SIGTERM);
            fail_msg("mpirun did not end");
        }
        rest();
    }
    return WIFEXITED(ended) ? WEXITSTATUS(ended) : 128 + WTERMSIG(ended);
}

static int train(const char *out, const char *more) {
    char line[4096];
    snprintf(line, sizeof line,
             "mpirun -np 2 %s/clquant train %s --data " DATA " --out %s %s >%s 2>&1",
             CLQ_BINARY_DIR, recipe(), out, more, clq_test_temp_path("log"));
    const int status = system(line);
    return WIFEXITED(status) ? WEXITSTATUS(status) : 1;
}

static void assert_same_file(const char *folder, const char *other, const char *name) {
    void *data[2];
    size_t size[2];
    const char *const folders[] = {folder, other};
    for (int i = 0; i < 2; i++) {
        char *path = clq_path_join(folders[i], name);
        assert_ok(clq_file_read(path, 1 << 26, &data[i], &size[i]));
        clq_free(path);
    }
    assert_int_equal(size[0], size[1]);
    assert_memory_equal(data[0], data[1], size[0]);
    clq_free(data[0]);
    clq_free(data[1]);
}

static void text_of(const char *path, char *text, size_t size) {
    FILE *file = fopen(path, "r");
    assert_non_null(file);
    text[fread(text, 1, size - 1, file)] = '\0';
    fclose(file);
}

static int occurrences(const char *text, const char *part) {
    int count = 0;
    for (const char *at = text; (at = strstr(at, part)); at++) {
        count++;
    }
    return count;
}

static char whole[512];

static void one_rank_speaks(void **state) {
    (void)state;
    char text[1 << 16];
    snprintf(whole, sizeof whole, "%s", clq_test_temp_path("whole"));
    assert_int_equal(train(whole, ""), 0);
    text_of(clq_test_temp_path("log"), text, sizeof text);
    assert_int_equal(occurrences(text, "train: epoch 2/5 "), 1);
    assert_int_equal(occurrences(text, "model.onnx"), 1);
}

/* Killed by surprise; the checkpoint continues to what an undisturbed training gives. */
static void killed_rank(void **state) {
    (void)state;
    char out[512];
    snprintf(out, sizeof out, "%s", clq_test_temp_path("killed"));
    const pid_t mpirun = start_training("", out, clq_test_temp_path("log"));
    assert_int_not_equal(disturb(mpirun, out, SIGKILL), 0);
    assert_true(has_checkpoint(out));
    assert_int_equal(train(out, "--resume"), 0);
    assert_same_file(whole, out, "weights.safetensors");
}

/* A signal to one rank stops all behind one checkpoint. */
static void interrupted_rank(void **state) {
    (void)state;
    char out[512], log[512], text[1 << 16];
    snprintf(out, sizeof out, "%s", clq_test_temp_path("interrupted"));
    snprintf(log, sizeof log, "%s", clq_test_temp_path("interrupted.log"));
    const pid_t mpirun = start_training("", out, log);
    assert_int_equal(disturb(mpirun, out, SIGINT), CLQ_INTERRUPTED);
    text_of(log, text, sizeof text);
    assert_int_equal(occurrences(text, "clquant train: interrupted after step "), 1);
    assert_int_equal(train(out, "--resume"), 0);
    assert_same_file(whole, out, "weights.safetensors");
}

static void an_earlier_training_is_not_lost(void **state) {
    (void)state;
    char text[1 << 16];
    assert_int_equal(train(whole, ""), CLQ_CANNOT_CREATE);
    text_of(clq_test_temp_path("log"), text, sizeof text);
    assert_int_equal(occurrences(text, "holds an earlier run"), 1);
    assert_int_equal(train(clq_test_temp_path("none"), "--resume"), CLQ_NO_INPUT);
}

/* A stopped process is what a lost machine looks like: no word, and nobody who says so. On a busy
 * machine with no kernels built yet, ranks wait seconds for each other in any case. */
static void silent_rank(void **state) {
    (void)state;
    char out[512], log[512], text[1 << 16];
    snprintf(out, sizeof out, "%s", clq_test_temp_path("silent"));
    snprintf(log, sizeof log, "%s", clq_test_temp_path("silent.log"));
    const pid_t mpirun = start_training("CLQUANT_RANKS_TIMEOUT=6", out, log);
    assert_int_equal(disturb(mpirun, out, SIGSTOP), CLQ_IO);
    text_of(log, text, sizeof text);
    assert_non_null(strstr(text, "rank 0 of 2: no word from another rank for 6 s"));
}

static void errors_end_all(void **state) {
    (void)state;
    char text[1 << 16];
    assert_int_equal(train(clq_test_temp_path("uneven"), "--set train.batch=5"), CLQ_USAGE);
    text_of(clq_test_temp_path("log"), text, sizeof text);
    assert_non_null(strstr(text, "batch must be a multiple of the number of ranks, is 5 for 2"));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(one_rank_speaks),  cmocka_unit_test(killed_rank),
        cmocka_unit_test(interrupted_rank), cmocka_unit_test(an_earlier_training_is_not_lost),
        cmocka_unit_test(silent_rank),      cmocka_unit_test(errors_end_all),
    };
    if (!ranks_can_run()) {
        return RANKS_SKIPPED;
    }
    return cmocka_run_group_tests_name("ranks", tests, clq_test_setup_temp_dir,
                                       clq_test_teardown_temp_dir);
}
