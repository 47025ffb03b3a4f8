# test/bpf/*_test.cpp: the data plane on a real kernel, one program each, build/bin/bpf_<name>.
# They need root, make network namespaces and a cgroup of their own and leave nothing.
add_custom_target(bpf-tests)
file(GLOB bpf_test_sources CONFIGURE_DEPENDS ${CMAKE_SOURCE_DIR}/test/bpf/*_test.cpp)
foreach(source ${bpf_test_sources})
  get_filename_component(name ${source} NAME_WE)
  string(REPLACE "_test" "" name ${name})
  add_executable(bpf_${name} ${source} ${CMAKE_SOURCE_DIR}/test/bpf/yard.cpp ${CMAKE_SOURCE_DIR}/test/unit/main.cpp)
  target_compile_definitions(bpf_${name} PRIVATE BOOST_TEST_DYN_LINK KEELSON_SOURCE_DIR="${CMAKE_SOURCE_DIR}")
  target_link_libraries(bpf_${name} PRIVATE keelson-agent-proxy Boost::unit_test_framework)
  add_dependencies(bpf_${name} bpf-objects)
  add_dependencies(bpf-tests bpf_${name})
endforeach()
