#include "train/log.h"

#include <jansson.h>
#include <string.h>

#include "base/clock.h"
#include "base/json.h"
#include "train/history.h"

/* Takes `line` over. */
static clq_status write_line(clq_train_log *log, json_t *line) {
    char *text = NULL;
    const clq_status status = line ? clq_json_dump_line(line, &text) : CLQ_NO_MEMORY;
    json_decref(line);
    CLQ_TRY(status);
    const clq_status written = clq_appender_line(log->file, "%s", text);
    clq_free(text);
    return written;
}

/* What every line begins with. */
static json_t *new_line(const clq_train_log *log, const char *event, int64_t step) {
    char now[CLQ_TIMESTAMP_SIZE];
    json_t *line = json_object();
    clq_timestamp(now);
    json_object_set_new(line, "event", clq_json_string(event));
    json_object_set_new(line, "phase", clq_json_string(log->job->phase));
    json_object_set_new(line, "time", clq_json_string(now));
    json_object_set_new(line, "seconds", clq_json_real(clq_now_seconds() - log->started));
    json_object_set_new(line, "step", json_integer(step));
    return line;
}

static clq_status write_start(clq_train_log *log) {
    const clq_train_job *job = log->job;
    json_t *line = new_line(log, "start", 0), *recipe = NULL;
    if (job->recipe_json) {
        const clq_status status =
            clq_json_parse("recipe", job->recipe_json, strlen(job->recipe_json), &recipe);
        if (status != CLQ_OK) {
            json_decref(line);
            return status;
        }
    }
    json_object_set_new(line, "schema", json_integer(1));
    json_object_set_new(line, "version", clq_json_string(clq_version()));
    json_object_set_new(line, "network", clq_json_string(job->graph->name));
    json_object_set_new(line, "device", clq_json_string(clq_device_get_info(job->device)->name));
    json_object_set_new(line, "seed", json_integer((json_int_t)job->config.seed));
    json_object_set_new(line, "epochs", json_integer(job->config.epochs));
    json_object_set_new(line, "batch", json_integer(job->config.batch));
    json_object_set_new(line, "images", json_integer(clq_train_rows(job)));
    json_object_set_new(line, "recipe", recipe ? recipe : json_null());
    return write_line(log, line);
}

clq_status clq_train_log_open(clq_train_log *log, const clq_train_job *job) {
    *log = (clq_train_log){.job = job, .started = clq_now_seconds()};
    if (!job->log_file) {
        return CLQ_OK;
    }
    CLQ_TRY(clq_appender_open(job->log_file, &log->file));
    return write_start(log);
}

clq_status clq_train_log_close(clq_train_log *log, clq_status status, int64_t step) {
    if (!log->file) {
        return status;
    }
    const char *event = status == CLQ_OK            ? "end"
                        : status == CLQ_INTERRUPTED ? "interrupted"
                                                    : "error";
    json_t *line = new_line(log, event, step);
    if (status != CLQ_OK) {
        json_object_set_new(line, "exit_code", json_integer(status));
        json_object_set_new(line, "message", clq_json_string(clq_last_error()));
        (void)write_line(log, line); /* the first failure is the one to report */
        (void)clq_appender_close(&log->file);
        return clq_fail(status, "%s", clq_last_error());
    }
    status = write_line(log, line);
    const clq_status closed = clq_appender_close(&log->file);
    return status == CLQ_OK ? closed : status;
}

clq_status clq_train_log_mark(clq_train_log *log, const char *event, int64_t step) {
    return log->file ? write_line(log, new_line(log, event, step)) : CLQ_OK;
}

void clq_train_log_time_from(clq_train_log *log, int64_t step) {
    log->timed_since = clq_now_seconds();
    log->timed_steps = step;
}

clq_status clq_train_log_step(clq_train_log *log, int64_t epoch, int64_t step, double lr,
                              clq_loss *loss) {
    clq_loss_totals batch;
    if (!log->file || step % log->job->config.log_steps != 0) {
        return CLQ_OK;
    }
    CLQ_TRY(clq_loss_read_batch(loss, &batch));
    const double seconds = clq_now_seconds() - log->timed_since;
    const double images = (double)(step - log->timed_steps) * log->job->config.batch;
    json_t *line = new_line(log, "step", step);
    json_object_set_new(line, "epoch", json_integer(epoch));
    json_object_set_new(line, "lr", clq_json_real(lr));
    json_object_set_new(line, "loss", clq_json_real(batch.loss / batch.samples));
    json_object_set_new(line, "top1", clq_json_real(batch.top1 / batch.samples));
    json_object_set_new(line, "images_per_second", clq_json_real(images / seconds));
    clq_train_log_time_from(log, step);
    return write_line(log, line);
}

clq_status clq_train_log_epoch(clq_train_log *log, const clq_epoch_record *record, int64_t step) {
    if (!log->file) {
        return CLQ_OK;
    }
    clq_epoch_record copy = *record;
    const clq_history one = {.records = &copy, .count = 1};
    json_t *line = new_line(log, "epoch", step);
    json_t *rows = clq_history_to_json(&one, true);
    json_object_update_missing(line, json_array_get(rows, 0)); /* "seconds" stays the line's */
    json_decref(rows);
    return write_line(log, line);
}
