#include "train/distill.h"

#include <clquant/passes.h>

#include <math.h>
#include <string.h>

#include "base/hash.h"
#include "base/text.h"
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
    if (teacher->input_count != student->input_count ||
        teacher->output_count != student->output_count) {
        return clq_fail(
            CLQ_USAGE, "the teacher has %d input%s and %d output%s, the trained network %d and %d",
            teacher->input_count, clq_plural(teacher->input_count), teacher->output_count,
            clq_plural(teacher->output_count), student->input_count, student->output_count);
    }
    for (int i = 0; i < teacher->input_count; i++) {
        CLQ_TRY(same_shape("input", &teacher->values[teacher->inputs[i]].shape,
                           &student->values[student->inputs[i]].shape));
    }
    for (int i = 0; i < teacher->output_count; i++) {
        CLQ_TRY(same_shape("output", &teacher->values[teacher->outputs[i].value].shape,
                           &student->values[student->outputs[i].value].shape));
    }
    return job->train ? same_normalization(job) : CLQ_OK;
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

clq_status clq_distill_run(clq_distill *distill, clq_exec *student) {
    if (!distill) {
        return CLQ_OK;
    }
    for (int i = 0; i < distill->graph->input_count; i++) {
        const clq_tensor *input = clq_exec_input_at(distill->exec, i);
        const size_t bytes = (size_t)clq_shape_count(&input->shape) * sizeof(float);
        CLQ_TRY(clq_buffer_copy(input->buffer, 0, clq_exec_input_at(student, i)->buffer, 0, bytes));
    }
    return clq_exec_forward(distill->exec);
}

/* ---- comparing ---- */

typedef struct comparison {
    clq_exec *teacher, *student;
    clq_output_error sums[CLQ_MAX_ENDS];
    float *x, *y; /* one batch of the largest output, of both */
} comparison;

static clq_status take_memory(comparison *c, int outputs) {
    size_t largest = 0;
    for (int i = 0; i < outputs; i++) {
        const size_t count = (size_t)clq_shape_count(&clq_exec_output_at(c->teacher, i)->shape);
        largest = count > largest ? count : largest;
    }
    c->x = clq_calloc(largest, sizeof *c->x);
    c->y = clq_calloc(largest, sizeof *c->y);
    return c->x && c->y ? CLQ_OK : CLQ_NO_MEMORY;
}

static clq_status add_output(comparison *c, int output, int samples) {
    const clq_tensor *real = clq_exec_output_at(c->teacher, output);
    const clq_tensor *other = clq_exec_output_at(c->student, output);
    const size_t each = (size_t)clq_shape_count(&real->shape) / (size_t)real->shape.dim[0];
    const size_t count = (size_t)samples * each;
    CLQ_TRY(clq_buffer_read(real->buffer, 0, count * sizeof *c->x, c->x));
    CLQ_TRY(clq_buffer_read(other->buffer, 0, count * sizeof *c->y, c->y));
    clq_output_error_add(&c->sums[output], c->x, c->y, count);
    return CLQ_OK;
}

clq_status clq_distill_compare(clq_distill *distill, clq_exec *student, clq_feed *feed,
                               double *error) {
    const int outputs = distill->graph->output_count;
    comparison c = {.teacher = distill->exec, .student = student};
    clq_feed_batch batch = {0};
    clq_status status = CLQ_OK;
    double squares = 0;
    CLQ_GOTO(status, cleanup, take_memory(&c, outputs));
    CLQ_GOTO(status, cleanup, clq_feed_seek(feed, 0, 0));
    for (;;) {
        CLQ_GOTO(status, cleanup, clq_feed_fill(feed, student, &batch));
        if (batch.count == 0) {
            break;
        }
        CLQ_GOTO(status, cleanup, clq_distill_run(distill, student));
        CLQ_GOTO(status, cleanup, clq_exec_forward(student));
        for (int i = 0; i < outputs; i++) {
            CLQ_GOTO(status, cleanup, add_output(&c, i, batch.count));
        }
    }
    for (int i = 0; i < outputs; i++) {
        const double one = clq_output_error_of(&c.sums[i]);
        squares += one * one;
    }
    *error = sqrt(squares / outputs);
cleanup:
    clq_free(c.x);
    clq_free(c.y);
    return status;
}
