/* The report's HTML page: one file that needs no other and no network. */
#ifndef CLQUANT_REPORT_PAGE_H
#define CLQUANT_REPORT_PAGE_H

#include "report/files.h"
#include "report/pictures.h"

/* A run on the page. */
typedef struct clq_page_run {
    const clq_run_data *data;
    const clq_pictures *pictures;
    const char *folder; /* as it was named */
    const char *link;   /* to it from the report's folder: "../" */
    const char *prefix; /* of its files in the report's folder */
    int level;          /* of its headings: 2, or 3 below the run's own among several */
} clq_page_run;

/* One run, or several (count) with a table of them all first. `files`: what lies beside the page.
 */
clq_status clq_page_make(const clq_page_run *runs, size_t count, const clq_report_files *files,
                         clq_text *html);

/* ---- between page.c and page_*.c ---- */

enum { CLQ_PAGE_STYLES = 2 };
extern const char *const clq_page_style[CLQ_PAGE_STYLES]; /* CSS, to be put one behind the other */

/* Text with <, >, &, quotes and control characters made harmless, for content and attributes. */
void clq_page_puts(clq_text *html, const char *text);
/* "<td class=n>" with the number, or a dash when it is not finite. */
void clq_page_number(clq_text *html, double value, int decimals, const char *suffix);
/* "<td>" with the text, or a dash when it is empty. */
void clq_page_cell(clq_text *html, const char *text);
/* The number (>= 0), digits in groups of three. */
void clq_page_count(clq_text *html, int64_t count);
void clq_page_heading(const clq_page_run *run, const char *text, clq_text *html);
/* What the reader calls the run: its name, else that of its folder. */
const char *clq_page_name(const clq_page_run *run);

/* page_sections.c: accuracy, size, speed, and whether to trust them */
void clq_page_headline(const clq_page_run *run, clq_text *html);
void clq_page_comparison(const clq_page_run *run, clq_text *html);
void clq_page_verification(const clq_page_run *run, clq_text *html);
/* The head and a row of the table that compares networks; `mixed`: of runs that are compared by
 * accuracy and others that are by R2. */
void clq_page_comparison_head(bool regression, bool mixed, bool with_run, clq_text *html);
void clq_page_comparison_cells(const clq_run_data *data, clq_run_variant v, bool mixed,
                               clq_text *html);
/* Whether a network's results are those of its training, and what to say then. */
bool clq_page_has_training(const clq_run_data *data);
extern const char clq_page_in_training[];
/* page_bench.c: where the time goes */
void clq_page_bench(const clq_page_run *run, clq_text *html);
/* The layer that takes longest of the network that the run is about, or NULL, and its share. */
const clq_run_layer *clq_page_slowest(const clq_run_data *data, double *share);
/* page_analysis.c: which layer loses accuracy; the table of layers stands behind the pictures */
void clq_page_analysis(const clq_page_run *run, clq_text *html);
void clq_page_analyzed_layers(const clq_page_run *run, clq_text *html);
/* page_origin.c: where the numbers come from */
clq_status clq_page_origin(const clq_page_run *run, clq_text *html);
void clq_page_files(const clq_page_run *run, const clq_report_files *files, clq_text *html);
/* page_runs.c: several runs */
clq_status clq_page_runs(const clq_page_run *runs, size_t count, clq_text *html);

#endif
