# test/conformance/*_test.cpp: one program each, build/bin/conformance_<name>: Kubernetes' own
# conformance tests by their own names, ported as behaviour.
file(GLOB conformance_sources CONFIGURE_DEPENDS ${CMAKE_SOURCE_DIR}/test/conformance/*_test.cpp)
foreach(source ${conformance_sources})
  get_filename_component(name ${source} NAME_WE)
  string(REPLACE "_test" "" name ${name})
  add_executable(conformance_${name} ${source})
  target_link_libraries(conformance_${name} PRIVATE test-main test-api-rig)
endforeach()
target_link_libraries(conformance_master PRIVATE test-master-box)
add_dependencies(conformance_master keelson-master)
