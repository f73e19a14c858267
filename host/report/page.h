/* The report's HTML page: one file that needs no other and no network. */
#ifndef CLQUANT_REPORT_PAGE_H
#define CLQUANT_REPORT_PAGE_H

#include "report/pictures.h"

clq_status clq_page_make(const clq_run_data *data, const clq_pictures *pictures, clq_text *html);

/* ---- between page.c, page_sections.c and page_style.c ---- */

extern const char clq_page_style[]; /* CSS */

/* Text with <, >, &, quotes and control characters made harmless, for content and attributes. */
void clq_page_puts(clq_text *html, const char *text);
/* "<td class=n>" with the number, or a dash when it is not finite. */
void clq_page_number(clq_text *html, double value, int decimals, const char *suffix);
/* The number (>= 0), digits in groups of three. */
void clq_page_count(clq_text *html, int64_t count);

void clq_page_headline(const clq_run_data *data, clq_text *html);
void clq_page_comparison(const clq_run_data *data, clq_text *html);
void clq_page_verification(const clq_run_data *data, clq_text *html);
void clq_page_bench(const clq_run_data *data, clq_text *html);
void clq_page_environment(const clq_run_data *data, clq_text *html);

#endif
