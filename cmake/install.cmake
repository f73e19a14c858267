# What `cmake --install` puts where. All of it is built by `cmake --build` alone, without a target.
include(CMakePackageConfigHelpers)
set(PACKAGE ${CMAKE_INSTALL_LIBDIR}/cmake/clquant)

install(TARGETS clquant RUNTIME DESTINATION ${CMAKE_INSTALL_BINDIR})
install(TARGETS clquant_shared EXPORT clquant LIBRARY DESTINATION ${CMAKE_INSTALL_LIBDIR}
    INCLUDES DESTINATION ${CMAKE_INSTALL_INCLUDEDIR})
# Of the Python package (pyproject.toml), which has the library under one name beside its modules.
install(FILES $<TARGET_FILE:clquant_shared> RENAME libclquant.so DESTINATION clquant COMPONENT python EXCLUDE_FROM_ALL)
if(SKBUILD)
    install(PROGRAMS $<TARGET_FILE:clquant> DESTINATION ${SKBUILD_SCRIPTS_DIR} COMPONENT python)
endif()
install(DIRECTORY include/clquant DESTINATION ${CMAKE_INSTALL_INCLUDEDIR} FILES_MATCHING PATTERN *.h)
install(DIRECTORY models/recipes DESTINATION ${CMAKE_INSTALL_DATADIR}/clquant FILES_MATCHING PATTERN *.json)
install(FILES README.md CHANGELOG.md LICENSE DESTINATION ${CMAKE_INSTALL_DOCDIR})
install(DIRECTORY docs DESTINATION ${CMAKE_INSTALL_DOCDIR})
install(DIRECTORY examples DESTINATION ${CMAKE_INSTALL_DOCDIR} PATTERN build* EXCLUDE)
install(FILES host/cli/completion.bash RENAME clquant DESTINATION ${CMAKE_INSTALL_DATADIR}/bash-completion/completions)

# For find_package(clquant) and pkg-config. The library brings what it needs along, so neither names other packages.
# Of versions 0.x each second number is an interface of its own, as in the SONAME.
install(EXPORT clquant NAMESPACE clquant:: FILE clquantConfig.cmake DESTINATION ${PACKAGE})
write_basic_package_version_file(${GENERATED}/clquantConfigVersion.cmake COMPATIBILITY SameMinorVersion)
install(FILES ${GENERATED}/clquantConfigVersion.cmake DESTINATION ${PACKAGE})
# Paths relative to the file itself, so that what was installed can be moved; those that were given as absolute stay.
cmake_path(RELATIVE_PATH CMAKE_INSTALL_PREFIX BASE_DIRECTORY ${CMAKE_INSTALL_FULL_LIBDIR}/pkgconfig OUTPUT_VARIABLE up)
set(pc_prefix "\${pcfiledir}/${up}")
cmake_path(APPEND pc_libdir "\${prefix}" "${CMAKE_INSTALL_LIBDIR}")
cmake_path(APPEND pc_includedir "\${prefix}" "${CMAKE_INSTALL_INCLUDEDIR}")
configure_file(cmake/clquant.pc.in ${GENERATED}/clquant.pc @ONLY)
install(FILES ${GENERATED}/clquant.pc DESTINATION ${CMAKE_INSTALL_LIBDIR}/pkgconfig)

# Man pages, from the --help of the command that was just built.
find_program(HELP2MAN help2man)
if(HELP2MAN AND NOT CMAKE_CROSSCOMPILING)
    set(man ${GENERATED}/man)
    add_custom_command(
        OUTPUT ${man}/clquant.1
        COMMAND ${CMAKE_COMMAND} -D CLQUANT=$<TARGET_FILE:clquant> -D HELP2MAN=${HELP2MAN} -D VERSION=${PROJECT_VERSION}
            -D OUT=${man} -P ${CMAKE_CURRENT_SOURCE_DIR}/cmake/man_pages.cmake
        DEPENDS clquant cmake/man_pages.cmake cmake/man_sections.txt
        COMMENT "Generating the man pages")
    add_custom_target(man_pages ALL DEPENDS ${man}/clquant.1)
    install(DIRECTORY ${man}/ DESTINATION ${CMAKE_INSTALL_MANDIR}/man1)
else()
    install(CODE "message(STATUS \"Left out: the man pages, as help2man was not found when clquant was built\")")
endif()

add_custom_target(uninstall
    COMMAND ${CMAKE_COMMAND} -D MANIFEST=${CMAKE_BINARY_DIR}/install_manifest.txt
        -P ${CMAKE_CURRENT_SOURCE_DIR}/cmake/uninstall.cmake
    VERBATIM)
