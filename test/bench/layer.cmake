# test/bench/*_bench.cpp: one program each, build/bin/bench_<name>, run by tools/bench.
file(GLOB bench_sources CONFIGURE_DEPENDS ${CMAKE_SOURCE_DIR}/test/bench/*_bench.cpp)
foreach(source ${bench_sources})
  get_filename_component(name ${source} NAME_WE)
  string(REPLACE "_bench" "" name ${name})
  add_executable(bench_${name} EXCLUDE_FROM_ALL ${source})
  target_link_libraries(bench_${name} PRIVATE test-main test-sandbox test-yard)
endforeach()
target_link_libraries(bench_master PRIVATE keelson-apiclient keelson-etcd)
