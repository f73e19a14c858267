/* Results of the stages as text. */
#include <stdio.h>
#include <string.h>

#include "base/text.h"
#include "cli/pipeline.h"

void clq_print_name(const char *name) {
    for (; *name; name++) {
        putchar((unsigned char)*name < ' ' || *name == 0x7f ? '?' : *name);
    }
}

void clq_evaluation_print(const clq_evaluation *evaluation, const char *name,
                          clq_dataset *dataset) {
    const clq_evaluation *e = evaluation;
    char *const *names = dataset ? clq_target_names(dataset) : NULL;
    if (e->pixels > 0) {
        printf("%s: pixel accuracy %.2f %%  mean IoU %.4f  loss %.4f  on %lld pixel%s of %lld "
               "%.*s\n",
               name, 100 * e->top1, e->mean_iou, e->loss, (long long)e->pixels,
               clq_plural(e->pixels), (long long)e->images, clq_unit_length(e->unit, e->images),
               e->unit);
        return;
    }
    if (e->targets == 0) {
        printf("%s: top-1 %.2f %%  top-5 %.2f %%  loss %.4f  on %lld %.*s\n", name, 100 * e->top1,
               100 * e->top5, e->loss, (long long)e->images, clq_unit_length(e->unit, e->images),
               e->unit);
        return;
    }
    printf("%s: R2 %.4f  loss %.6f  on %lld %.*s\n", name, e->r2, e->loss, (long long)e->images,
           clq_unit_length(e->unit, e->images), e->unit);
    for (int t = 0; t < e->targets; t++) {
        if (names) {
            printf("  ");
            clq_print_name(names[t]);
            printf(": ");
        } else {
            printf("  output %d: ", t + 1);
        }
        printf("R2 %.4f  RMSE %.6g\n", e->fits[t].r2, e->fits[t].rmse);
    }
}

void clq_verification_print(const clq_verification *v) {
    printf("%lld of %lld codes differ between the fake-quantized evaluation and the integer "
           "network, on %lld %.*s\n",
           (long long)v->mismatched_codes, (long long)v->compared_codes, (long long)v->images,
           clq_unit_length(v->unit, v->images), v->unit);
    if (*v->first_mismatch) {
        printf("first: ");
        clq_print_name(v->first_mismatch);
        putchar('\n');
    }
    printf("logits SHA-256 by dot path:\n");
    for (int i = 0; i < v->path_count; i++) {
        printf("  %-11s %s%s\n", clq_dot_name(v->paths[i].dot), v->paths[i].sha256,
               strcmp(v->paths[i].sha256, v->logits_sha256) == 0 ? "" : "  DIFFERS");
    }
}
