# keelsonctl: a library of all but main(), so that its parts are tested, and the program.
find_library(CPPREST cpprest REQUIRED)
if(CMAKE_CXX_COMPILER_ID STREQUAL Clang)
  # cpprest's json.h holds unique_ptrs of an incomplete type: clang instantiates what is constexpr at once.
  # vptr: its library has type information of its own for the same classes.
  set_source_files_properties(${CMAKE_SOURCE_DIR}/tools/keelsonctl/agent_client.cpp PROPERTIES
    SKIP_UNITY_BUILD_INCLUSION ON COMPILE_DEFINITIONS "_GLIBCXX23_CONSTEXPR=" COMPILE_OPTIONS "-fno-sanitize=vptr")
endif()
keelson_room(tools/keelsonctl USES agent/images agent/network http api host LINKS keelson-agent-options ${CPPREST} OpenSSL::SSL OpenSSL::Crypto)
add_executable(keelsonctl ${CMAKE_SOURCE_DIR}/tools/keelsonctl/main.cpp)
target_compile_definitions(keelsonctl PRIVATE KEELSON_VERSION="${PROJECT_VERSION}")
target_link_libraries(keelsonctl PRIVATE keelson-tools-keelsonctl)
