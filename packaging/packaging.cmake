# cmake --install, and the .debs: cmake --build --preset release --target deb
#
# Two packages, each of them whole: keelson (a node) and keelson-master. `deb` builds what goes
# into them; CPack's own target, `package`, builds everything.
include(GNUInstallDirs)
set(packaged keelson-agent keelson-puller podshim keelsonctl)
install(TARGETS ${packaged} RUNTIME DESTINATION bin COMPONENT agent)
install(TARGETS keelson-master RUNTIME DESTINATION bin COMPONENT master)

# Units name programs by their full paths, which are known when the prefix is.
foreach(package agent master)
  set(name keelson)
  if(package STREQUAL master)
    set(name keelson-master)
  endif()
  install(FILES README.md packaging/debian/copyright DESTINATION share/doc/${name} COMPONENT ${package})
  install(DIRECTORY docs DESTINATION share/doc/${name} COMPONENT ${package} PATTERN docs/man EXCLUDE)
  install(CODE "set(BINDIR \${CMAKE_INSTALL_PREFIX}/bin)
configure_file(${CMAKE_SOURCE_DIR}/packaging/systemd/keelson-${package}.service.in
  ${CMAKE_BINARY_DIR}/packaging/keelson-${package}.service @ONLY)
execute_process(COMMAND gzip --best --no-name --stdout ${CMAKE_SOURCE_DIR}/packaging/debian/changelog
  OUTPUT_FILE ${CMAKE_BINARY_DIR}/packaging/changelog.gz COMMAND_ERROR_IS_FATAL ANY)" COMPONENT ${package})
  install(FILES ${CMAKE_BINARY_DIR}/packaging/changelog.gz DESTINATION share/doc/${name} COMPONENT ${package})
  install(FILES ${CMAKE_BINARY_DIR}/packaging/keelson-${package}.service DESTINATION lib/systemd/system
          COMPONENT ${package})
endforeach()
install(FILES packaging/systemd/keelson-pods.service DESTINATION lib/systemd/system COMPONENT agent)
foreach(page keelson-agent.8 keelsonctl.1 agent.yaml.5)
  install(CODE "execute_process(COMMAND gzip --best --no-name --stdout ${CMAKE_SOURCE_DIR}/docs/man/${page}
  OUTPUT_FILE ${CMAKE_BINARY_DIR}/packaging/${page}.gz COMMAND_ERROR_IS_FATAL ANY)" COMPONENT agent)
  string(REGEX MATCH "[0-9]$" section ${page})
  install(FILES ${CMAKE_BINARY_DIR}/packaging/${page}.gz DESTINATION share/man/man${section} COMPONENT agent)
endforeach()

# The agent's configuration may hold credentials (manifest-url-header), manifests hold Secrets.
# What an administrator has edited is not overwritten; in a package that is dpkg's care.
install(CODE "if(NOT EXISTS \$ENV{DESTDIR}/etc/keelson/agent.yaml)
  file(INSTALL DESTINATION /etc/keelson TYPE FILE PERMISSIONS OWNER_READ OWNER_WRITE
    FILES ${CMAKE_SOURCE_DIR}/packaging/agent.yaml)
endif()
file(INSTALL DESTINATION /etc/keelson/manifests TYPE DIRECTORY FILES \"\"
  DIRECTORY_PERMISSIONS OWNER_READ OWNER_WRITE OWNER_EXECUTE)" COMPONENT agent)
# The master runs as a user of its own, who reads this.
install(CODE "if(NOT EXISTS \$ENV{DESTDIR}/etc/keelson/master.yaml)
  file(INSTALL DESTINATION /etc/keelson TYPE FILE FILES ${CMAKE_SOURCE_DIR}/packaging/master.yaml)
endif()" COMPONENT master)

set(CPACK_GENERATOR DEB)
set(CPACK_PACKAGE_NAME keelson)
set(CPACK_PACKAGE_VERSION ${PROJECT_VERSION})
set(CPACK_PACKAGE_DESCRIPTION_SUMMARY "Kubernetes Pods and Services on the Linux kernel itself")
set(CPACK_PACKAGE_DESCRIPTION "One agent for a node does the work of kubelet, container runtime and
kube-proxy: it takes Pod manifests from files, URLs, etcd and HTTP push, launches the
Pods with the kernel's own means, and load-balances Services with eBPF programs. A
node by itself is complete: static Pods get Services, with no master.")
set(CPACK_PACKAGE_CONTACT "The Keelson authors <keelson@localhost>")
# As it will be on the machine: prefix /usr below a staging directory.
set(CPACK_SET_DESTDIR ON)
set(CPACK_INSTALL_PREFIX /usr)
set(CPACK_STRIP_FILES ON)
set(CPACK_DEB_COMPONENT_INSTALL ON)
set(CPACK_COMPONENTS_ALL agent master)
set(CPACK_DEBIAN_FILE_NAME DEB-DEFAULT)
set(CPACK_DEBIAN_PACKAGE_SHLIBDEPS ON)
set(CPACK_DEBIAN_PACKAGE_SECTION admin)
set(CPACK_DEBIAN_PACKAGE_CONTROL_STRICT_PERMISSION ON)

set(CPACK_DEBIAN_AGENT_PACKAGE_NAME keelson)
set(CPACK_DEBIAN_AGENT_PACKAGE_DEPENDS "init-system-helpers (>= 1.52)")
set(CPACK_DEBIAN_AGENT_PACKAGE_RECOMMENDS "bpftool, ca-certificates, systemd")
set(CPACK_DEBIAN_AGENT_PACKAGE_CONTROL_EXTRA
  ${CMAKE_SOURCE_DIR}/packaging/debian/postinst
  ${CMAKE_SOURCE_DIR}/packaging/debian/prerm
  ${CMAKE_SOURCE_DIR}/packaging/debian/postrm
  ${CMAKE_BINARY_DIR}/packaging/conffiles)
file(WRITE ${CMAKE_BINARY_DIR}/packaging/conffiles "/etc/keelson/agent.yaml\n")

set(CPACK_DEBIAN_MASTER_PACKAGE_NAME keelson-master)
set(CPACK_COMPONENT_MASTER_DESCRIPTION "The Kubernetes API over etcd, a scheduler and the controllers in one small
program: kubectl drives with it the nodes that run keelson. By default it starts an
etcd of its own, and makes the certificates of the cluster.")
set(CPACK_DEBIAN_MASTER_PACKAGE_DEPENDS "init-system-helpers (>= 1.52)")
set(CPACK_DEBIAN_MASTER_PACKAGE_RECOMMENDS "etcd-server, systemd")
set(CPACK_DEBIAN_MASTER_PACKAGE_SUGGESTS "kubernetes-client")
set(CPACK_DEBIAN_MASTER_PACKAGE_CONTROL_EXTRA
  ${CMAKE_SOURCE_DIR}/packaging/debian/master/postinst
  ${CMAKE_SOURCE_DIR}/packaging/debian/master/prerm
  ${CMAKE_SOURCE_DIR}/packaging/debian/master/postrm
  ${CMAKE_BINARY_DIR}/packaging/master/conffiles)
file(WRITE ${CMAKE_BINARY_DIR}/packaging/master/conffiles "/etc/keelson/master.yaml\n")
include(CPack)

add_custom_target(deb
  COMMAND ${CMAKE_CPACK_COMMAND} --config ${CMAKE_BINARY_DIR}/CPackConfig.cmake
  WORKING_DIRECTORY ${CMAKE_BINARY_DIR}
  COMMENT "The .debs"
  USES_TERMINAL
  VERBATIM)
add_dependencies(deb ${packaged} keelson-master)
