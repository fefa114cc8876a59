# SPDX-License-Identifier: Apache-2.0
# What `cmake --install` puts besides the programs, and the Debian package (cpack -G DEB).

# Manual pages: compressed, as Debian wants them.
find_program(GZIP_PROGRAM gzip REQUIRED)
file(GLOB man_pages CONFIGURE_DEPENDS ${CMAKE_CURRENT_SOURCE_DIR}/docs/man/*.[1-8])
set(man_outputs)
foreach(page ${man_pages})
  get_filename_component(name ${page} NAME)
  string(REGEX REPLACE ".*\\.([1-8])$" "\\1" section ${name})
  set(output ${CMAKE_CURRENT_BINARY_DIR}/man/${name}.gz)
  add_custom_command(OUTPUT ${output}
    COMMAND ${CMAKE_COMMAND} -E make_directory ${CMAKE_CURRENT_BINARY_DIR}/man
    COMMAND ${GZIP_PROGRAM} -9nc ${page} > ${output}
    DEPENDS ${page} VERBATIM)
  list(APPEND man_outputs ${output})
  install(FILES ${output} DESTINATION ${CMAKE_INSTALL_MANDIR}/man${section})
endforeach()
set(changelog ${CMAKE_CURRENT_BINARY_DIR}/man/changelog.Debian.gz)
add_custom_command(OUTPUT ${changelog}
  COMMAND ${CMAKE_COMMAND} -E make_directory ${CMAKE_CURRENT_BINARY_DIR}/man
  COMMAND ${GZIP_PROGRAM} -9nc ${CMAKE_CURRENT_SOURCE_DIR}/packaging/debian/changelog > ${changelog}
  DEPENDS ${CMAKE_CURRENT_SOURCE_DIR}/packaging/debian/changelog VERBATIM)
add_custom_target(compressed_documents ALL DEPENDS ${man_outputs} ${changelog})

install(FILES README.md packaging/debian/copyright ${changelog} DESTINATION ${CMAKE_INSTALL_DOCDIR})
install(FILES packaging/completion/xenolith.bash RENAME xenolith
  DESTINATION ${CMAKE_INSTALL_DATADIR}/bash-completion/completions)
install(FILES packaging/completion/_xenolith DESTINATION ${CMAKE_INSTALL_DATADIR}/zsh/vendor-completions)
install(FILES packaging/completion/xenolith.fish DESTINATION ${CMAKE_INSTALL_DATADIR}/fish/vendor_completions.d)

set(CPACK_GENERATOR DEB)
set(CPACK_PACKAGE_NAME xenolith)
set(CPACK_PACKAGE_VENDOR "Xenolith")
set(CPACK_PACKAGE_DESCRIPTION_SUMMARY "deduplicating, encrypted backup for XenServer and XCP-ng disks")
set(CPACK_PACKAGING_INSTALL_PREFIX /usr)
set(CPACK_STRIP_FILES ON)
set(CPACK_VERBATIM_VARIABLES ON)
set(CPACK_DEB_COMPONENT_INSTALL OFF)
set(CPACK_INSTALL_DEFAULT_DIRECTORY_PERMISSIONS
  OWNER_READ OWNER_WRITE OWNER_EXECUTE GROUP_READ GROUP_EXECUTE WORLD_READ WORLD_EXECUTE)
set(CPACK_DEBIAN_FILE_NAME DEB-DEFAULT)
set(CPACK_DEBIAN_PACKAGE_RELEASE 1)
set(CPACK_DEBIAN_PACKAGE_MAINTAINER "Xenolith maintainers <maintainers@xenolith.invalid>")
set(CPACK_DEBIAN_PACKAGE_SECTION admin)
set(CPACK_DEBIAN_PACKAGE_PRIORITY optional)
set(CPACK_DEBIAN_PACKAGE_SHLIBDEPS ON)
set(CPACK_DEBIAN_PACKAGE_RECOMMENDS "qemu-utils")
set(CPACK_DEBIAN_PACKAGE_DESCRIPTION
"Xenolith backs up the disks of virtual machines: raw images and block devices,
VHDs, XVA exports, everything that QEMU reads, and NBD servers. Their blocks
are stored once, compressed and encrypted, in an append-only store, and are
checked against a keyed hash when they are restored.")
include(CPack)
