/* A recipe and a model for the tests of what commands leave behind. */
#ifndef CLQ_TEST_RUNS_CASE_H
#define CLQ_TEST_RUNS_CASE_H

#include <sys/stat.h>
#include <unistd.h>

#include "base/files.h"
#include "cli/command.h"

#define DATA "synthetic:train=512,test=64,size=8"

static const char text[] =
    "{\"name\": \"small\", \"network\": {\"name\": \"mlp\", \"hidden\": [64]},"
    " \"train\": {\"epochs\": 30, \"batch\": 16, \"log_steps\": 1, \"schedule\": {\"lr\": 0.01}},"
    " \"ptq\": {\"images\": 64}, \"qat\": {\"epochs\": 1, \"batch\": 64},"
    " \"bench\": {\"iterations\": 2, \"peaks\": false}}";
#define QUICK " --set train.epochs=1"

static char recipe[512], fp32[512];

static inline int make_files(void **state) {
    clq_test_setup_temp_dir(state);
    snprintf(recipe, sizeof recipe, "%s", text_file("recipe.json", text));
    snprintf(fp32, sizeof fp32, "%s", clq_test_temp_path("fp32.onnx"));
    assert_exit(0, "convert --network mlp --size 8 --input-channels 3 --classes 10 -o %s", fp32);
    return 0;
}

static inline bool same_files(const char *a, const char *b) {
    char line[2048];
    snprintf(line, sizeof line, "cmp -s %s %s", a, b);
    return system(line) == 0;
}

/* How many names the folder holds, hidden ones too. */
static inline int entries(const char *folder) {
    char line[1024];
    int count = -1;
    snprintf(line, sizeof line, "ls -A %s | wc -l", folder);
    FILE *pipe = popen(line, "r");
    assert_int_equal(fscanf(pipe, "%d", &count), 1);
    pclose(pipe);
    return count;
}

static inline const char *in(const char *folder, const char *name) {
    static char paths[4][1024];
    static int next;
    char *path = paths[next++ % 4];
    snprintf(path, sizeof paths[0], "%s/%s", folder, name);
    return path;
}

#endif
