# keelsonctl: a library of all but main(), so that its parts are tested, and the program.
find_library(CPPREST cpprest REQUIRED)
keelson_room(tools/keelsonctl USES agent/images http api host LINKS ${CPPREST} OpenSSL::SSL OpenSSL::Crypto)
add_executable(keelsonctl ${CMAKE_SOURCE_DIR}/tools/keelsonctl/main.cpp)
target_compile_definitions(keelsonctl PRIVATE KEELSON_VERSION="${PROJECT_VERSION}")
target_link_libraries(keelsonctl PRIVATE keelson-tools-keelsonctl)
