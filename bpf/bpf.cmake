# The kernel half: build/bpf/*.skel.h from bpf/*.bpf.c, by Makefile.bpf.
file(GLOB bpf_sources CONFIGURE_DEPENDS ${CMAKE_SOURCE_DIR}/bpf/*.bpf.c)
file(GLOB bpf_headers CONFIGURE_DEPENDS ${CMAKE_SOURCE_DIR}/bpf/*.h)
set(bpf_skeletons "")
foreach(source ${bpf_sources})
  get_filename_component(name ${source} NAME)
  string(REPLACE ".bpf.c" "" name ${name})
  list(APPEND bpf_skeletons ${CMAKE_BINARY_DIR}/bpf/${name}.skel.h)
endforeach()
add_custom_command(
  OUTPUT ${bpf_skeletons}
  COMMAND ${CMAKE_COMMAND} -E env --unset=MAKEFLAGS make --silent -f ${CMAKE_SOURCE_DIR}/Makefile.bpf
          OUT=${CMAKE_BINARY_DIR}/bpf
  DEPENDS ${bpf_sources} ${bpf_headers} ${CMAKE_SOURCE_DIR}/Makefile.bpf
  COMMENT "BPF programs"
  VERBATIM)
add_custom_target(bpf-objects DEPENDS ${bpf_skeletons})
# The proxy room is declared after this file is read.
cmake_language(DEFER CALL add_dependencies keelson-agent-proxy bpf-objects)
