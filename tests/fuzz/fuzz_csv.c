/* CSV tables: any file gives a table whose values are finite and whose labels are in range, or an
 * error. The first byte chooses the kind of targets. */
#include <clquant/data.h>
#include <math.h>

#include "fuzz.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    clq_table *table = NULL;
    clq_table_options options = {.seed = 1};
    if (size > 0) {
        options.target = (clq_target)(data[0] % 3);
        options.target_columns = data[0] / 3 % 3;
        options.split = (clq_split)(data[0] / 9 % 2);
        data++;
        size--;
    }
    if (clq_table_open(fuzz_put("x.csv", data, size), &options, &table) == CLQ_OK) {
        fuzz_check(table->rows > 0 && table->features > 0, "has rows");
        for (int64_t i = 0; i < table->rows; i++) {
            for (int k = 0; k < table->features; k++) {
                fuzz_check(isfinite(table->x[i * table->features + k]), "is finite");
            }
            if (table->labels) {
                fuzz_check(table->labels[i] >= 0 && table->labels[i] < table->class_count, "label");
                fuzz_check(table->class_names[table->labels[i]][0] != '\0', "has a name");
            }
        }
    }
    clq_table_close(table);
    return 0;
}

void fuzz_seeds(void) {
    fuzz_add_text("0a,b,kind\n1,2,cat\n3,4,dog\n5,6,cat\n");
    fuzz_add_text("3w,h,y\r\n1,-2.5e3,0.5\r\n# note\r\n\"3\", 4 ,1\r\n.5,6,2\r\n");
    fuzz_add_text("0w;h;y\n1;2.5;\"a;b\"\n3;,5;c\n");
    fuzz_add_text("1w\th\ty\n1\t 2 \t3\n1,5\t\t4\n");
    fuzz_add_text("51,2,0\n3,4,1\n\"5\",\"6\",\"1\"\n");
    fuzz_add_text("0\xef\xbb\xbf\"a \"\"q\"\"\",\"b\nc\",y\r1,2,x\r3,4,z\r");
}
