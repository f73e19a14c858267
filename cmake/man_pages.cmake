# Writes clquant.1 and a page for each of its commands, clquant-COMMAND.1, from their --help:
#   cmake -D CLQUANT=PROGRAM -D HELP2MAN=PROGRAM -D VERSION=1.2.3 -D OUT=FOLDER -P man_pages.cmake
cmake_minimum_required(VERSION 3.25)
set(ENV{LC_ALL} C)
set(ENV{ARGP_HELP_FMT} "opt-doc-col=60,rmargin=250") # help2man wants two blanks before each description
file(REMOVE_RECURSE ${OUT})
file(MAKE_DIRECTORY ${OUT})

file(READ ${CMAKE_CURRENT_LIST_DIR}/man_sections.txt sections)

# `command`: what comes behind `clquant`, nothing for the page of the command itself.
function(write_page command summary see_also)
    string(JOIN "-" page clquant ${command})
    file(WRITE ${OUT}/include "${sections}\n[SEE ALSO]\n${see_also}\n")
    execute_process(
        COMMAND ${HELP2MAN} --no-info "--name=${summary}" --version-string=${VERSION} "--source=clquant ${VERSION}"
            --manual=clquant --include=${OUT}/include "${CLQUANT} ${command}"
        OUTPUT_VARIABLE text COMMAND_ERROR_IS_FATAL ANY)
    file(REMOVE ${OUT}/include)
    # help2man knows of programs without commands, but not of argp's headings and of lines that are examples.
    string(TOUPPER ${page} title)
    string(REPLACE ".TH CLQUANT " ".TH ${title} " text "${text}")
    string(REPLACE "clquant ${command} \\- " "${page} \\- " text "${text}")
    string(REGEX REPLACE "\n[.]IP\n([A-Z][^\n]*):\n[.]TP\n" "\n.SS \"\\1:\"\n.TP\n" text "${text}")
    string(REGEX REPLACE "\n[.]IP\n((clquant [^\n]*\n)+)" "\n.IP\n.nf\n\\1.fi\n" text "${text}")
    file(WRITE ${OUT}/${page}.1 "${text}")
endfunction()

execute_process(COMMAND ${CLQUANT} --help OUTPUT_VARIABLE help COMMAND_ERROR_IS_FATAL ANY)
string(REGEX MATCHALL "\n  [a-z]+ " commands "${help}")
if(NOT commands)
    message(FATAL_ERROR "clquant --help lists no commands")
endif()
set(pages "")
foreach(command IN LISTS commands)
    string(STRIP "${command}" command)
    string(REGEX MATCH "\n  ${command} +([^\n]+)" row "${help}")
    string(APPEND pages ".BR clquant-${command} (1),\n")
    write_page(${command} "${CMAKE_MATCH_1}" ".BR clquant (1)")
endforeach()
write_page("" "int8 quantization of neural networks on any OpenCL device"
    "${pages}and share/doc/clquant")
