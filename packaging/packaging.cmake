# cmake --install, and the .deb: cmake --build --preset release --target package
include(GNUInstallDirs)
foreach(program keelson-agent podshim keelsonctl)
  if(TARGET ${program})
    install(TARGETS ${program} RUNTIME DESTINATION bin)
  endif()
endforeach()
install(FILES README.md LICENSE DESTINATION share/doc/keelson)
install(DIRECTORY docs/ DESTINATION share/doc/keelson)
install(FILES packaging/systemd/keelson-agent.service packaging/systemd/keelson-pods.service
  DESTINATION lib/systemd/system)
install(FILES packaging/agent.yaml DESTINATION /etc/keelson)

set(CPACK_GENERATOR DEB)
set(CPACK_PACKAGE_NAME keelson)
set(CPACK_PACKAGE_VERSION ${PROJECT_VERSION})
set(CPACK_PACKAGE_DESCRIPTION_SUMMARY "Kubernetes Pods and Services on the Linux kernel itself")
set(CPACK_PACKAGE_CONTACT "The Keelson authors <keelson@localhost>")
set(CPACK_PACKAGING_INSTALL_PREFIX /usr)
set(CPACK_STRIP_FILES ON)
set(CPACK_DEB_COMPONENT_INSTALL OFF)
set(CPACK_DEBIAN_FILE_NAME DEB-DEFAULT)
set(CPACK_DEBIAN_PACKAGE_SHLIBDEPS ON)
set(CPACK_DEBIAN_PACKAGE_DEPENDS "init-system-helpers")
set(CPACK_DEBIAN_PACKAGE_RECOMMENDS "bpftool, ca-certificates")
set(CPACK_DEBIAN_PACKAGE_SECTION admin)
set(CPACK_DEBIAN_PACKAGE_CONTROL_STRICT_PERMISSION ON)
set(CPACK_DEBIAN_PACKAGE_CONTROL_EXTRA
  ${CMAKE_SOURCE_DIR}/packaging/debian/postinst
  ${CMAKE_SOURCE_DIR}/packaging/debian/prerm
  ${CMAKE_SOURCE_DIR}/packaging/debian/postrm
  ${CMAKE_BINARY_DIR}/conffiles)
file(WRITE ${CMAKE_BINARY_DIR}/conffiles "/etc/keelson/agent.yaml\n")
include(CPack)
