#include "base/ranges.h"

clq_status clq_in_range(const char *name, double value, double low, double high) {
    if (!(value >= low && value <= high)) { /* NaN too */
        return clq_fail(CLQ_USAGE, "%s must be in %.9g..%.9g, is %.9g", name, low, high, value);
    }
    return CLQ_OK;
}
