# test/bpf/*_test.cpp: the data plane on a real kernel, one program each, build/bin/bpf_<name>.
# They need root, make network namespaces and a cgroup of their own and leave nothing.
add_library(test-yard STATIC EXCLUDE_FROM_ALL ${CMAKE_SOURCE_DIR}/test/bpf/yard.cpp)
target_compile_definitions(test-yard PUBLIC BOOST_TEST_DYN_LINK KEELSON_SOURCE_DIR="${CMAKE_SOURCE_DIR}")
target_link_libraries(test-yard PUBLIC keelson-agent-proxy Boost::unit_test_framework)
add_custom_target(bpf-tests)
file(GLOB bpf_test_sources CONFIGURE_DEPENDS ${CMAKE_SOURCE_DIR}/test/bpf/*_test.cpp)
foreach(source ${bpf_test_sources})
  get_filename_component(name ${source} NAME_WE)
  string(REPLACE "_test" "" name ${name})
  add_executable(bpf_${name} ${source})
  target_link_libraries(bpf_${name} PRIVATE test-main test-yard)
  add_dependencies(bpf-tests bpf_${name})
endforeach()
