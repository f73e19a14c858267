#include <clquant/base.h>

const char *clq_version(void) {
    return CLQ_VERSION;
}
