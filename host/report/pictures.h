/* Which pictures a run gives. */
#ifndef CLQUANT_REPORT_PICTURES_H
#define CLQUANT_REPORT_PICTURES_H

#include "report/plot.h"
#include "report/run_data.h"

typedef enum clq_picture_group {
    CLQ_PICTURE_COMPARISON,
    CLQ_PICTURE_ANALYSIS,
    CLQ_PICTURE_TRAIN,
    CLQ_PICTURE_QAT,
    CLQ_PICTURE_CONFUSION,
} clq_picture_group;

enum { CLQ_CURVES = 3 };                       /* of a training */
enum { CLQ_BY_LAYER = 3, CLQ_HISTOGRAMS = 4 }; /* of an analysis */
enum { CLQ_MAX_PICTURES = 10 + CLQ_BY_LAYER + CLQ_HISTOGRAMS };

typedef struct clq_pictures {
    clq_picture items[CLQ_MAX_PICTURES];
    clq_picture_group groups[CLQ_MAX_PICTURES];
    int count;
    /* what they draw */
    clq_line_plot curves[2 * CLQ_CURVES + CLQ_BY_LAYER + CLQ_HISTOGRAMS];
    int curve_count;
    clq_matrix_plot matrices[CLQ_RUN_VARIANTS];
    clq_bar_plot comparison;
    char titles[CLQ_MAX_PICTURES][96];
    double *analysis;   /* what the pictures of an analysis go through; owned */
    double *columns[4]; /* what the curves of training and QAT go through, and their rates; owned */
} clq_pictures;

/* `data` must outlive the pictures, which must not move. Clear after a failure too. */
clq_status clq_pictures_make(clq_pictures *pictures, const clq_run_data *data);
void clq_pictures_clear(clq_pictures *pictures);

/* ---- between pictures.c and pictures_analysis.c ---- */

/* One more picture, for the caller to name. */
clq_picture *clq_pictures_add(clq_pictures *pictures, clq_picture_group group, int width,
                              int height);
bool clq_any_finite(const double *values, size_t count);
clq_status clq_pictures_add_analysis(clq_pictures *pictures, const clq_run_data *data);

#endif
