/* The log file of a training that has left no steps.json yet. */
#include <math.h>
#include <string.h>

#include "base/files.h"
#include "report/run_data.h"

enum { MAX_LOG_BYTES = 1 << 28 };

static clq_status add_step(clq_json_reader *reader, int step, clq_steps *steps) {
    clq_step_record record = {.step = step, .lr = NAN, .loss = NAN, .top1 = NAN};
    CLQ_TRY(clq_json_read_int(reader, "epoch", 0, INT32_MAX, &record.epoch));
    CLQ_TRY(clq_run_read_real(reader, "lr", 0, CLQ_RUN_LARGE, &record.lr));
    CLQ_TRY(clq_run_read_real(reader, "loss", -CLQ_RUN_LARGE, CLQ_RUN_LARGE, &record.loss));
    CLQ_TRY(clq_run_read_real(reader, "top1", 0, 1, &record.top1));
    if (steps->count == CLQ_RUN_MAX_EPOCHS) {
        return clq_json_fail(reader, "step", "is one of more than %d steps", CLQ_RUN_MAX_EPOCHS);
    }
    return clq_steps_add(steps, &record);
}

/* A training that is resumed computes steps once more. */
static clq_status read_line(const char *file, const json_t *line, clq_steps phases[2]) {
    clq_json_reader reader;
    const char *event = "", *phase = "";
    int step = 0;
    CLQ_TRY(clq_json_reader_init(&reader, file, line));
    CLQ_TRY(clq_json_read_string(&reader, "event", &event));
    CLQ_TRY(clq_json_read_string(&reader, "phase", &phase));
    CLQ_TRY(clq_json_read_int(&reader, "step", 0, INT32_MAX, &step));
    clq_steps *steps = &phases[strcmp(phase, "qat") == 0];
    if (strcmp(event, "resume") == 0) {
        clq_steps_cut(steps, step);
    } else if (strcmp(event, "step") == 0) {
        clq_steps_cut(steps, step - 1);
        return add_step(&reader, step, steps);
    }
    return CLQ_OK;
}

static clq_status read_lines(const char *file, char *text, clq_steps steps[2]) {
    for (char *end; (end = strchr(text, '\n')) != NULL; text = end + 1) {
        json_t *line = NULL;
        *end = '\0';
        clq_status status = clq_json_parse(file, text, (size_t)(end - text), &line);
        if (status == CLQ_BAD_DATA) {
            continue; /* a kill tore it */
        }
        CLQ_TRY(status);
        status = read_line(file, line, steps);
        json_decref(line);
        CLQ_TRY(status);
    }
    return CLQ_OK;
}

clq_status clq_run_read_log(clq_run_data *data, const char *folder) {
    clq_run_curve *curves[2] = {&data->train, &data->qat};
    clq_steps steps[2] = {{0}};
    char *path = clq_path_join(folder, "log.jsonl");
    void *text = NULL;
    size_t size = 0;
    clq_status status = path ? CLQ_OK : CLQ_NO_MEMORY;
    if (path && clq_file_exists(path)) {
        CLQ_GOTO(status, cleanup, clq_file_read(path, MAX_LOG_BYTES, &text, &size));
        CLQ_GOTO(status, cleanup, read_lines(path, text, steps));
    }
    for (int i = 0; i < 2; i++) {
        if (curves[i]->steps.count == 0) {
            curves[i]->steps = steps[i];
            steps[i] = (clq_steps){0};
        }
    }
cleanup:
    clq_steps_clear(&steps[0]);
    clq_steps_clear(&steps[1]);
    clq_free(text);
    clq_free(path);
    return status;
}
