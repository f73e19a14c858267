/* A locale whose numbers have a comma. */
#include <locale.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "support/clq_test.h"

/* glibc takes a locale's rules from LOCPATH too, so that one can be made where none is installed.
 */
static bool make_locale(void) {
    char command[2048];
    snprintf(command, sizeof command, "localedef -i de_DE -f UTF-8 '%s' >/dev/null 2>&1",
             clq_test_temp_path("de_DE.UTF-8"));
    char *folder = strdup(clq_test_temp_path("")); /* the ring's text changes */
    const bool made = folder && setenv("LOCPATH", folder, 1) == 0 && system(command) == 0;
    free(folder);
    return made;
}

bool clq_test_comma_locale(void) {
    static const char *const names[] = {"de_DE.UTF-8", "fr_FR.UTF-8", "es_ES.UTF-8", "it_IT.UTF-8",
                                        "pt_BR.UTF-8", "ru_RU.UTF-8", "de_DE",       "fr_FR"};
    for (int round = 0; round < 2; round++) {
        for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
            if (setlocale(LC_ALL, names[i]) && strcmp(localeconv()->decimal_point, ",") == 0) {
                return true;
            }
        }
        if (round == 0 && !make_locale()) {
            break;
        }
    }
    setlocale(LC_ALL, "C");
    return false;
}
