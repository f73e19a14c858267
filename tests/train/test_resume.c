/* The same bits, with everything that has state switched on: from many places where training
 * stops, from where it is asked to stop, and with any number of loader threads. */
#include <math.h>
#include <signal.h>
#include <stdio.h>

#include "base/rng.h"
#include "train/history.h"
#include "train/small_training.h"

enum { STEPS = EPOCHS * STEPS_PER_EPOCH };

static clq_train_job everything(clq_graph *graph, const char *out, clq_optimizer_kind kind) {
    clq_train_job job = job_of(graph, out);
    clq_train_config *c = &job.config;
    c->optimizer.kind = kind;
    c->optimizer.decay_norm_and_bias = false;
    c->schedule.kind = CLQ_LR_COSINE_RESTARTS;
    c->schedule.lr = kind == CLQ_OPTIMIZER_SGD ? 0.05 : 0.005;
    c->schedule.warmup_epochs = 0.3;
    c->schedule.t_0 = 1;
    c->clip_norm = 0.5;
    c->ema.decay = 0.95;
    c->label_smoothing = 0.05;
    c->augment.flip = true;
    c->augment.rotation = 20;
    c->augment.translate = 0.1;
    c->augment.scale[0] = 0.9;
    c->augment.scale[1] = 1.1;
    c->augment.brightness = c->augment.contrast = c->augment.saturation = 0.3;
    c->augment.hue = 0.1;
    c->augment.erase.probability = 0.6;
    c->augment.mixup.alpha = c->augment.cutmix.alpha = 0.2;
    c->augment.mixup.probability = 0.5;
    c->augment.cutmix.probability = 0.3;
    return job;
}

/* Hashes of the averaged network, and of the last checkpoint: parameters, states, moments,
 * averages, step and history. */
typedef struct bits {
    uint64_t network, checkpoint;
} bits;

static bits whole_run(clq_optimizer_kind kind) {
    const char *folder = clq_test_temp_path(kind == CLQ_OPTIMIZER_SGD ? "sgd" : "adamw");
    clq_graph *graph = conv_net();
    clq_train_job job = everything(graph, folder, kind);
    job.overwrite = true;
    assert_ok(run(&job, NULL));
    const bits result = {hash_of(graph), checkpoint_hash(folder)};
    clq_graph_destroy(graph);
    return result;
}

/* One start of a training that is stopped after `steps` steps (0: not). */
static uint64_t run_part(clq_optimizer_kind kind, const char *folder, int checkpoint_steps,
                         int steps) {
    clq_graph *graph = conv_net();
    clq_train_job job = everything(graph, folder, kind);
    job.config.checkpoint_steps = checkpoint_steps;
    job.stop_after_steps = steps;
    job.resume = true;
    assert_ok(run(&job, NULL));
    const uint64_t network = hash_of(graph);
    clq_graph_destroy(graph);
    return network;
}

/* The curve too: no point knows that there was a stop before it. */
static void assert_same_curve(const char *folder, const char *other) {
    const char *const folders[] = {folder, other};
    void *data[2];
    size_t size[2];
    for (int i = 0; i < 2; i++) {
        char *path = clq_path_join(folders[i], "steps.json");
        assert_ok(clq_file_read(path, 1 << 20, &data[i], &size[i]));
        clq_free(path);
    }
    assert_int_equal(size[0], size[1]);
    assert_memory_equal(data[0], data[1], size[0]);
    clq_free(data[0]);
    clq_free(data[1]);
}

static void any_stop_resumes_to_the_same_bits(void **state) {
    (void)state;
    const bits whole[] = {whole_run(CLQ_OPTIMIZER_SGD), whole_run(CLQ_OPTIMIZER_ADAMW)};
    clq_rng rng = clq_rng_start(clq_test_seed(), 50);
    printf("seed %llu\n", (unsigned long long)clq_test_seed());
    const int points = clq_test_all() ? 50 : 12;
    for (int i = 0; i < points; i++) {
        const bool sgd = i % 2;
        const clq_optimizer_kind kind = sgd ? CLQ_OPTIMIZER_SGD : CLQ_OPTIMIZER_ADAMW;
        const int stop = 1 + (int)clq_bounded(clq_rng_next(&rng), STEPS - 1);
        const int checkpoints = 1 + (int)clq_bounded(clq_rng_next(&rng), 6);
        char folder[512];
        snprintf(folder, sizeof folder, "%s-%d", clq_test_temp_path("point"), i);
        run_part(kind, folder, checkpoints, stop);
        const uint64_t network = run_part(kind, folder, 0, 0);
        const uint64_t checkpoint = checkpoint_hash(folder);
        if (network != whole[sgd ? 0 : 1].network || checkpoint != whole[sgd ? 0 : 1].checkpoint) {
            fail_msg("%s stopped after step %d of %d, with a checkpoint every %d: the resumed "
                     "training's %s differs",
                     sgd ? "sgd" : "adamw", stop, STEPS, checkpoints,
                     network != whole[sgd ? 0 : 1].network ? "network" : "checkpoint");
        }
        char *reference = clq_strdup(clq_test_temp_path(sgd ? "sgd" : "adamw"));
        assert_same_curve(reference, folder);
        clq_free(reference);
    }
}

/* Long trainings have a row every few steps, which is the mean over all of them: together they are
 * the epoch's. */
static void the_curve_is_of_all_batches(void **state) {
    enum { MANY = 500 / STEPS_PER_EPOCH + 1 };
    const char *folder = clq_test_temp_path("curve");
    clq_graph *graph = new_graph();
    clq_train_job job = job_of(graph, folder);
    clq_epoch_record *history = NULL;
    clq_steps steps = {0};
    int count = 0;
    (void)state;
    job.config.epochs = MANY;
    job.test = NULL;
    assert_ok(clq_train(&job, &history, &count));
    clq_steps_read(&steps, folder, MANY * STEPS_PER_EPOCH);
    assert_int_equal(steps.count, MANY * STEPS_PER_EPOCH / 2);
    for (int e = 0; e < MANY; e++) {
        double loss = 0, top1 = 0;
        for (int i = 0; i < STEPS_PER_EPOCH / 2; i++) {
            const clq_step_record *row = &steps.records[e * STEPS_PER_EPOCH / 2 + i];
            assert_int_equal(row->epoch, e + 1);
            loss += row->loss * 2 / STEPS_PER_EPOCH;
            top1 += row->top1 * 2 / STEPS_PER_EPOCH;
        }
        assert_float_equal(loss, history[e].train_loss, 1e-6);
        assert_float_equal(top1, history[e].train_top1, 1e-6);
    }
    clq_steps_clear(&steps);
    clq_free(history);
    clq_graph_destroy(graph);
}

/* What the first part of an epoch took is not known to the process that ends it. */
static void timing_is_never_a_part_for_the_whole(void **state) {
    (void)state;
    char folder[512];
    snprintf(folder, sizeof folder, "%s", clq_test_temp_path("timed"));
    run_part(CLQ_OPTIMIZER_SGD, folder, 5, STEPS_PER_EPOCH + 5);
    clq_graph *graph = conv_net();
    clq_train_job job = everything(graph, folder, CLQ_OPTIMIZER_SGD);
    clq_epoch_record *history = NULL;
    int count = 0;
    job.resume = true;
    assert_ok(clq_train(&job, &history, &count));
    assert_int_equal(count, EPOCHS);
    for (int e = 0; e < EPOCHS; e++) {
        assert_true(e == 1 ? isnan(history[e].seconds) : history[e].seconds > 0);
        assert_true(history[e].images_per_second > 0);
    }
    clq_free(history);
    clq_graph_destroy(graph);
}

/* ---- asked to stop ---- */

/* Asks in one step: before it, so that it is the last one, or behind it. Behind an epoch's last
 * step that is before the evaluation. */
typedef struct asker {
    int64_t step; /* from 1 */
    bool behind;
    volatile sig_atomic_t stop;
} asker;

static clq_status ask_before(void *context, int64_t step) {
    asker *a = context;
    a->stop = a->stop || (!a->behind && step + 1 == a->step);
    return CLQ_OK;
}

static clq_status ask_behind(void *context, int64_t step) {
    asker *a = context;
    a->stop = a->stop || (a->behind && step == a->step);
    return CLQ_OK;
}

static void interrupted_trainings_resume_to_the_same_bits(void **state) {
    (void)state;
    enum { E = STEPS_PER_EPOCH };
    static const asker points[] = {{1, false, 0},     {5, false, 0},    {E, false, 0},
                                   {E, true, 0},      {2 * E, true, 0}, {2 * E + 1, false, 0},
                                   {STEPS, false, 0}, {STEPS, true, 0}};
    const bits whole = whole_run(CLQ_OPTIMIZER_ADAMW);
    for (size_t i = 0; i < sizeof points / sizeof *points; i++) {
        asker a = points[i];
        const clq_train_hooks hooks = {
            .context = &a, .before_step = ask_before, .after_step = ask_behind};
        char folder[512], text[32];
        snprintf(folder, sizeof folder, "%s-%zu", clq_test_temp_path("interrupted"), i);
        clq_graph *graph = conv_net();
        clq_train_job job = everything(graph, folder, CLQ_OPTIMIZER_ADAMW);
        job.hooks = &hooks;
        job.stop = &a.stop;
        job.resume = true;
        assert_status(run(&job, NULL), CLQ_INTERRUPTED);
        snprintf(text, sizeof text, "after step %d of %d", (int)(a.step + (a.behind && a.step % E)),
                 STEPS);
        assert_error_has(text);
        clq_graph_destroy(graph);
        assert_true(run_part(CLQ_OPTIMIZER_ADAMW, folder, 0, 0) == whole.network);
        assert_true(checkpoint_hash(folder) == whole.checkpoint);
    }
}

static void loader_threads_change_nothing(void **state) {
    (void)state;
    uint64_t first = 0;
    for (int threads = 1; threads <= 4; threads *= 2) {
        clq_graph *graph = conv_net();
        clq_train_job job = everything(graph, NULL, CLQ_OPTIMIZER_ADAMW);
        job.config.loader_threads = threads;
        assert_ok(run(&job, NULL));
        first = first ? first : hash_of(graph);
        assert_true(hash_of(graph) == first);
        clq_graph_destroy(graph);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_curve_is_of_all_batches),
        cmocka_unit_test(timing_is_never_a_part_for_the_whole),
        cmocka_unit_test(any_stop_resumes_to_the_same_bits),
        cmocka_unit_test(interrupted_trainings_resume_to_the_same_bits),
        cmocka_unit_test(loader_threads_change_nothing),
    };
    return cmocka_run_group_tests(tests, open_all, close_all);
}
