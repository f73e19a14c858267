/* origin.json, which a run leaves in its folder: where its numbers come from. */
#ifndef CLQUANT_CLI_ORIGIN_H
#define CLQUANT_CLI_ORIGIN_H

#include <clquant/data.h>
#include <clquant/device.h>

#include "cli/recipe.h"

/* Of clquant's checkout when it was built, with "+" behind it where files differed; "unknown" when
 * it was built from no checkout. */
const char *clq_commit(void);

/* Of main, before any command changes argv: what a person would type to run it again. */
void clq_command_line_keep(int argc, char **argv);
/* The same (clq_free it; NULL: no memory) with --resume, and without --overwrite: what goes on with
 * an interrupted run. */
char *clq_command_line_to_resume(void);

typedef struct clq_origin {
    json_t *json; /* owned */
    double lap;   /* when the stage that runs now began */
} clq_origin;

/* The data of a run: both splits, `test` may be NULL, or arrays. */
typedef struct clq_origin_data {
    clq_dataset *train, *test;
    clq_arrays *arrays;
} clq_origin_data;

/* What is known at the start. Ends any earlier one. */
clq_status clq_origin_begin(clq_origin *origin, const clq_recipe *recipe, clq_device *device,
                            const clq_origin_data *data, int ranks, bool resumed);
/* A stage is over: adds what passed since the one before to the seconds of `stage`. */
void clq_origin_lap(clq_origin *origin, const char *stage);
/* FOLDER/origin.json (a folder of NULL: nothing); `finished` adds the time, for the run is over. */
clq_status clq_origin_write(clq_origin *origin, const char *folder, bool finished);
void clq_origin_clear(clq_origin *origin);

#endif
