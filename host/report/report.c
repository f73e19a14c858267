#include <clquant/report.h>

#include "base/arguments.h"
#include "base/files.h"
#include "report/page.h"
#include "report/tables.h"

static clq_status write_pngs(const clq_pictures *pictures, const char *folder) {
    clq_status status = CLQ_OK;
    for (int i = 0; i < pictures->count && status == CLQ_OK; i++) {
        clq_text png = {0};
        char *path = clq_format("%s/%s.png", folder, pictures->items[i].name);
        status =
            path ? clq_picture_png(&pictures->items[i], &clq_theme_light, &png) : CLQ_NO_MEMORY;
        if (status == CLQ_OK) {
            status = clq_file_write_atomic(path, png.data, png.size);
        }
        clq_free(path);
        clq_text_free(&png);
    }
    return status;
}

clq_status clq_report_write(const char *folder, char **html) {
    CLQ_NEEDS(folder);
    clq_run_data data = {0};
    clq_pictures pictures = {0};
    clq_text page = {0};
    char *report = NULL, *path = NULL;
    clq_status status;
    CLQ_GOTO(status, cleanup, clq_run_data_read(&data, folder));
    CLQ_GOTO(status, cleanup, clq_pictures_make(&pictures, &data));
    CLQ_GOTO(status, cleanup, clq_page_make(&data, &pictures, &page));
    report = clq_path_join(folder, "report");
    path = report ? clq_path_join(report, "index.html") : NULL;
    CLQ_GOTO(status, cleanup, path ? clq_make_dirs(report) : CLQ_NO_MEMORY);
    CLQ_GOTO(status, cleanup, write_pngs(&pictures, report));
    CLQ_GOTO(status, cleanup, clq_tables_write(&data, report));
    CLQ_GOTO(status, cleanup, clq_file_write_atomic(path, page.data, page.size));
    if (html) {
        *html = path;
        path = NULL;
    }
cleanup:
    clq_free(path);
    clq_free(report);
    clq_text_free(&page);
    clq_pictures_clear(&pictures);
    clq_run_data_clear(&data);
    return status;
}
