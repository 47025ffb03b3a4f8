# keelson-etcd: the client. Its messages are protobuf's, from rpc.proto; gRPC is HTTP/2 from http/.
set(etcd_generated ${CMAKE_BINARY_DIR}/etcd)
file(MAKE_DIRECTORY ${etcd_generated})
find_program(PROTOC protoc REQUIRED)
add_custom_command(
  OUTPUT ${etcd_generated}/rpc.pb.cc ${etcd_generated}/rpc.pb.h
  COMMAND ${PROTOC} -I ${CMAKE_SOURCE_DIR}/etcd --cpp_out=${etcd_generated} ${CMAKE_SOURCE_DIR}/etcd/rpc.proto
  DEPENDS ${CMAKE_SOURCE_DIR}/etcd/rpc.proto
  COMMENT "Generating etcd/rpc.pb.h"
  VERBATIM)
# The generator's code answers to its generator's warnings, not to ours.
set_source_files_properties(${etcd_generated}/rpc.pb.cc PROPERTIES COMPILE_OPTIONS "-w" SKIP_UNITY_BUILD_INCLUSION ON)

file(GLOB etcd_sources CONFIGURE_DEPENDS ${CMAKE_SOURCE_DIR}/etcd/*.cpp)
add_library(keelson-etcd STATIC ${etcd_sources} ${etcd_generated}/rpc.pb.cc)
target_link_libraries(keelson-etcd PUBLIC keelson-host keelson-http PRIVATE protobuf::libprotobuf-lite)
