/* Leaks that are not ours: a compiler inside an OpenCL driver (PoCL's LLVM) keeps some of its C++
 * objects for ever, and fontconfig its font patterns. Ours, and the OpenCL objects that we forget
 * to release, come from malloc. */
const char *__lsan_default_suppressions(void);

const char *__lsan_default_suppressions(void) {
    return "leak:operator new\n"
           "leak:libfontconfig\n";
}
