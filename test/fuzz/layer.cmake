# test/fuzz/<name>_fuzz.cpp: a libFuzzer target each, bin/fuzz_<name>, in the build with clang and ASan. tools/test
# runs each for some seconds; for longer, by hand: build-debug/bin/fuzz_manifest CORPUS_DIRECTORY
if(NOT (CMAKE_CXX_COMPILER_ID STREQUAL Clang AND KEELSON_SANITIZE MATCHES address))
  return()
endif()
# What is fuzzed tells the fuzzer which branches it took.
foreach(room keelson-api keelson-agent-images-puller)
  target_compile_options(${room} PRIVATE -fsanitize=fuzzer-no-link)
endforeach()
file(GLOB fuzz_sources CONFIGURE_DEPENDS ${CMAKE_CURRENT_LIST_DIR}/*_fuzz.cpp)
foreach(source ${fuzz_sources})
  get_filename_component(name ${source} NAME_WE)
  string(REPLACE "_fuzz" "" name ${name})
  add_executable(fuzz_${name} ${source})
  target_compile_options(fuzz_${name} PRIVATE -fsanitize=fuzzer)
  target_link_options(fuzz_${name} PRIVATE -fsanitize=fuzzer)
endforeach()
target_link_libraries(fuzz_manifest PRIVATE keelson-api)
target_link_libraries(fuzz_layer PRIVATE keelson-agent-images-puller)
