#include "train/distill.h"

#include <clquant/passes.h>

#include <math.h>
#include <string.h>

#include "base/hash.h"
#include "train/output_error.h"

struct clq_distill {
    clq_graph *graph; /* the teacher folded, for the size of the student's images */
    clq_exec *exec;
};

bool clq_distill_wanted(const clq_train_job *job) {
    return job->teacher && job->config.distill.weight > 0;
}

uint64_t clq_distill_hash(const clq_train_job *job) {
    const double numbers[] = {job->config.distill.weight, job->config.distill.temperature};
    uint64_t hash = clq_hash64(numbers, sizeof numbers);
    for (int v = 0; v < job->teacher->value_count; v++) {
        const clq_value *value = &job->teacher->values[v];
        if (value->data) {
            const int64_t count = clq_shape_count(&value->shape);
            hash =
                clq_hash64_seeded(value->data, (size_t)clq_dtype_bytes(value->dtype, count), hash);
        }
    }
    return hash;
}

/* ---- what must fit ---- */

static clq_status same_shape(const char *what, const clq_shape *teacher, const clq_shape *student) {
    char theirs[64], ours[64];
    if (clq_shape_equal(teacher, student)) {
        return CLQ_OK;
    }
    clq_shape_text(teacher, theirs, sizeof theirs);
    clq_shape_text(student, ours, sizeof ours);
    return clq_fail(CLQ_USAGE, "the teacher's %s is %s, the trained network's is %s", what, theirs,
                    ours);
}

/* A table's: the numbers as they stand in both networks. */
static clq_status same_metadata(const clq_train_job *job, const char *key) {
    const char *theirs = clq_graph_get_metadata(job->teacher, key);
    const char *ours = clq_graph_get_metadata(job->graph, key);
    if (theirs && strcmp(theirs, ours ? ours : "") != 0) {
        return clq_fail(CLQ_USAGE, "the teacher was trained with another \"%s\"", key);
    }
    return CLQ_OK;
}

/* Both see the same normalized samples. A teacher from elsewhere may not say what it wants. */
static clq_status same_normalization(const clq_train_job *job) {
    clq_normalization theirs;
    const clq_normalization *ours = &job->normalization;
    if (clq_dataset_get_info(job->train)->features > 0) {
        CLQ_TRY(same_metadata(job, "clquant.mean"));
        return same_metadata(job, "clquant.std");
    }
    if (!clq_graph_get_metadata(job->teacher, "clquant.mean")) {
        return CLQ_OK;
    }
    CLQ_TRY(clq_graph_normalization(job->teacher, job->train, &theirs));
    if (theirs.bgr != ours->bgr || (theirs.range == 255) != (ours->range == 255)) {
        return clq_fail(CLQ_USAGE, "the teacher wants channels in another order, or pixels of "
                                   "another range, than the trained network; give data.channels "
                                   "and data.range");
    }
    for (int c = 0; c < clq_dataset_get_info(job->train)->channels; c++) {
        if (fabsf(theirs.mean[c] - ours->mean[c]) > 1e-5f ||
            fabsf(theirs.std[c] - ours->std[c]) > 1e-5f) {
            return clq_fail(CLQ_USAGE,
                            "the teacher wants channel %d normalized with mean %g and standard "
                            "deviation %g, the trained network with %g and %g; give data.mean and "
                            "data.std",
                            c, (double)theirs.mean[c], (double)theirs.std[c], (double)ours->mean[c],
                            (double)ours->std[c]);
        }
    }
    return CLQ_OK;
}

static clq_status check(const clq_train_job *job) {
    const clq_graph *teacher = job->teacher, *student = job->graph;
    if (clq_graph_form(teacher) != CLQ_FORM_FLOAT) {
        return clq_fail(CLQ_USAGE, "the teacher must be an FP32 network, %s is quantized",
                        teacher->name);
    }
    CLQ_TRY(clq_fail_in(clq_graph_check_single(teacher, "distillation takes"), "the teacher"));
    CLQ_TRY(same_shape("input", &teacher->values[clq_graph_input(teacher)].shape,
                       &student->values[clq_graph_input(student)].shape));
    CLQ_TRY(same_shape("output", &teacher->values[clq_graph_output(teacher)].shape,
                       &student->values[clq_graph_output(student)].shape));
    return same_normalization(job);
}

/* ---- life ---- */

static clq_status make_graph(const clq_graph *teacher, const clq_shape *x, clq_graph **out) {
    clq_graph *graph = NULL;
    CLQ_TRY(teacher->folded ? clq_graph_clone(teacher, &graph) : clq_graph_fold(teacher, &graph));
    const clq_shape *own = &graph->values[clq_graph_input(graph)].shape;
    if (x->rank != 4 || (x->dim[1] == own->dim[1] && x->dim[2] == own->dim[2])) {
        *out = graph;
        return CLQ_OK;
    }
    const clq_status status = clq_graph_resize(graph, (int)x->dim[1], (int)x->dim[2], out);
    clq_graph_destroy(graph);
    return clq_fail_in(status, "the teacher");
}

clq_status clq_distill_create(const clq_train_job *job, clq_exec *student, clq_distill **out) {
    clq_status status = CLQ_OK;
    *out = NULL;
    CLQ_TRY(check(job));
    clq_distill *distill = clq_calloc(1, sizeof *distill);
    if (!distill) {
        return CLQ_NO_MEMORY;
    }
    const clq_exec_options options = {
        .mode = CLQ_EXEC_FLOAT, .logits = true, .batch = clq_exec_get_options(student)->batch};
    CLQ_GOTO(status, cleanup,
             make_graph(job->teacher, &clq_exec_input(student)->shape, &distill->graph));
    CLQ_GOTO(status, cleanup,
             clq_exec_create(job->device, distill->graph, &options, &distill->exec));
    *out = distill;
    distill = NULL;
cleanup:
    clq_distill_destroy(distill);
    return status;
}

clq_exec *clq_distill_exec(clq_distill *distill) {
    return distill->exec;
}

void clq_distill_destroy(clq_distill *distill) {
    if (!distill) {
        return;
    }
    clq_exec_destroy(distill->exec);
    clq_graph_destroy(distill->graph);
    clq_free(distill);
}

clq_status clq_distill_run(clq_distill *distill, clq_buffer *x) {
    if (!distill) {
        return CLQ_OK;
    }
    const clq_tensor *input = clq_exec_input(distill->exec);
    const size_t bytes = (size_t)clq_shape_count(&input->shape) * sizeof(float);
    CLQ_TRY(clq_buffer_copy(input->buffer, 0, x, 0, bytes));
    return clq_exec_forward(distill->exec);
}

clq_status clq_distill_compare(clq_distill *distill, clq_exec *student, clq_feed *feed,
                               double *error) {
    const clq_tensor *real = clq_exec_output(distill->exec), *other = clq_exec_output(student);
    const size_t count = (size_t)clq_shape_count(&real->shape);
    const size_t outputs = count / (size_t)real->shape.dim[0];
    clq_output_error sums = {0};
    clq_feed_batch batch = {0};
    clq_status status = CLQ_NO_MEMORY;
    float *x = clq_calloc(count, sizeof *x), *y = clq_calloc(count, sizeof *y);
    if (!x || !y) {
        goto cleanup;
    }
    CLQ_GOTO(status, cleanup, clq_feed_seek(feed, 0, 0));
    for (;;) {
        CLQ_GOTO(status, cleanup, clq_feed_fill(feed, student, &batch));
        const size_t valid = (size_t)batch.count * outputs;
        if (valid == 0) {
            break;
        }
        CLQ_GOTO(status, cleanup, clq_distill_run(distill, clq_exec_input(student)->buffer));
        CLQ_GOTO(status, cleanup, clq_exec_forward(student));
        CLQ_GOTO(status, cleanup, clq_buffer_read(real->buffer, 0, valid * sizeof *x, x));
        CLQ_GOTO(status, cleanup, clq_buffer_read(other->buffer, 0, valid * sizeof *y, y));
        clq_output_error_add(&sums, x, y, valid);
    }
    *error = clq_output_error_of(&sums);
cleanup:
    clq_free(x);
    clq_free(y);
    return status;
}
