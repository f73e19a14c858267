# At each build: OUTPUT gets CLQ_COMMIT, the commit of the checkout in SOURCE, with "+" behind it where files differ from
# it, and "unknown" where SOURCE is no checkout. It is written only when that changes.
set(commit unknown)
find_program(GIT git)
if(GIT)
    execute_process(COMMAND ${GIT} rev-parse --show-toplevel WORKING_DIRECTORY ${SOURCE}
        OUTPUT_VARIABLE top OUTPUT_STRIP_TRAILING_WHITESPACE ERROR_QUIET)
    get_filename_component(top "${top}" REALPATH)
    get_filename_component(source "${SOURCE}" REALPATH)
    if(top STREQUAL source) # not a copy inside somebody else's checkout
        execute_process(COMMAND ${GIT} describe --always --dirty=+ --abbrev=12 --exclude=*
            WORKING_DIRECTORY ${SOURCE} RESULT_VARIABLE failed OUTPUT_VARIABLE described
            OUTPUT_STRIP_TRAILING_WHITESPACE ERROR_QUIET)
        if(NOT failed AND described)
            set(commit ${described})
        endif()
    endif()
endif()
set(text "#define CLQ_COMMIT \"${commit}\"\n")
set(before "")
if(EXISTS ${OUTPUT})
    file(READ ${OUTPUT} before)
endif()
if(NOT before STREQUAL text)
    file(WRITE ${OUTPUT} "${text}")
endif()
